"""Callers outside of a full queue: memory is bounded, and a caller that waits too long is told."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from sessions.commits.gates import Lock, closed_gate, opens_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.errors import QueueFull

_ASYNC_PAUSE = 0.005
"""Seconds after which a coroutine looks at a full queue again."""


class Place(NamedTuple):
    """A caller's place outside: it waits until the gate is opened."""

    gate: Lock


class Outside:
    """The callers that wait until there is room.

    Args:
        mutex: Guards the queue; hold it to call `come` or `admit`.
        lock: Makes a lock.
        full: Makes the error for a caller that waited too long.
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
        """Let as many callers look for room, those that came first."""
        while number > 0 and self._places:
            place = self._places[0]
            del self._places[0]  # no signal is handled between this and what opens the gate
            place.gate.release()
            number -= 1

    def admit_all(self) -> None:
        """Let all callers look again; each is then told what is the matter."""
        self.admit(len(self._places))

    def wait(self, place: Place, deadline: float) -> None:
        """Wait until the caller may look for room again.

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
        """Let a while pass before a coroutine looks for room again: it cannot wait at a gate.

        Raises:
            QueueFull: It took too long.
        """
        self._leave(place)
        if monotonic() > deadline:
            raise self._full()
        import asyncio  # noqa: PLC0415  callers that await have it; others start faster

        await asyncio.sleep(_ASYNC_PAUSE)

    def _leave(self, place: Place) -> None:
        with self._mutex:
            if place in self._places:
                self._places.remove(place)
            else:  # it was admitted after all: let another come in its place
                self.admit(1)
