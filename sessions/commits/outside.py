"""Callers outside of a full queue: memory is bounded, and who waits for too long is told."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from sessions.commits.gates import Lock, closed_gate, opens_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.errors import QueueFull

_ASYNC_PAUSE = 0.005
"""Seconds between two looks of a coroutine at a full queue."""


class Place(NamedTuple):
    """A caller's place outside: it waits until the gate is opened."""

    gate: Lock


class Outside:
    """Those who wait until there is room.

    Args:
        mutex: Guards the queue; `come` and `admit` are for those who have it.
        lock: What makes a lock.
        full: Makes the error for those who waited for too long.
    """

    def __init__(
        self, mutex: Lock, lock: Callable[[], Lock], full: Callable[[], QueueFull]
    ) -> None:
        self._mutex = mutex
        self._lock = lock
        self._full = full
        self._places: deque[Place] = deque()

    def come(self) -> Place:
        """A place behind all others."""
        place = Place(closed_gate(self._lock))
        self._places.append(place)
        return place

    def admit(self, number: int) -> None:
        """Let so many look for room, who came first."""
        while number > 0 and self._places:
            place = self._places[0]
            del self._places[0]  # no signal is handled between this and what opens the gate
            place.gate.release()
            number -= 1

    def admit_all(self) -> None:
        """Let all look, each of whom is told then what is the matter."""
        self.admit(len(self._places))

    def wait(self, place: Place, deadline: float) -> None:
        """Wait until one may look for room again.

        Raises:
            QueueFull: It took too long.
        """
        admitted = False
        try:
            admitted = opens_within(place.gate, max(0.0, deadline - monotonic()))
        finally:
            if not admitted:
                self._leave(place)
        if not admitted:
            raise self._full()

    async def pause(self, place: Place, deadline: float) -> None:
        """Let a while pass before one looks for room again: a coroutine waits at no gate.

        Raises:
            QueueFull: It took too long.
        """
        self._leave(place)
        if monotonic() > deadline:
            raise self._full()
        import asyncio  # noqa: PLC0415  who awaits has imported it, and to others it costs a start

        await asyncio.sleep(_ASYNC_PAUSE)

    def _leave(self, place: Place) -> None:
        with self._mutex:
            if place in self._places:
                self._places.remove(place)
            else:  # it was admitted after all: let another come in its place
                self.admit(1)
