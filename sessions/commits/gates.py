"""Gates: locks that are made closed, so that one caller waits until another opens the gate.

The kind of lock is a parameter, so that the tests can search all interleavings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Lock(Protocol):
    """The lock that a gate is made of, such as `threading.Lock`."""

    def acquire(self, blocking: bool = ..., timeout: float = ..., /) -> bool:  # noqa: FBT001  as threading's
        """Wait until it is free, and take it."""

    def release(self) -> None:
        """Release it, from any thread."""

    def __enter__(self) -> object:
        """Take it; no signal is handled between this and the `with` block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Release it."""


def closed_gate(lock: Callable[[], Lock]) -> Lock:
    """A new lock that is taken already: to acquire it is to wait until somebody releases it."""
    gate = lock()
    gate.acquire()
    return gate


def opens_within(gate: Lock, seconds: float) -> bool:
    """Wait at a gate; tell whether it was opened in time."""
    return gate.acquire(True, seconds)  # noqa: FBT003  as threading's
