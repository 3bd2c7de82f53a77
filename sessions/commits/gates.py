"""Gates: locks that are handed over closed, for one to wait at until another opens it.

What they are made of is given, so that the tests can search all interleavings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Lock(Protocol):
    """What callers wait for."""

    def acquire(self, blocking: bool = ..., timeout: float = ..., /) -> bool:  # noqa: FBT001  as threading's
        """Wait until it is free, and take it."""

    def release(self) -> None:
        """Set it free, from whatever thread."""

    def __enter__(self) -> object:
        """Take it: no signal is handled between that and the block which it is taken for."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Set it free."""


def closed_gate(lock: Callable[[], Lock]) -> Lock:
    """A new lock that is taken: who acquires it waits until somebody releases it."""
    gate = lock()
    gate.acquire()
    return gate


def opens_within(gate: Lock, seconds: float) -> bool:
    """Wait at a gate; whether it was opened in time."""
    return gate.acquire(True, seconds)  # noqa: FBT003  as threading's
