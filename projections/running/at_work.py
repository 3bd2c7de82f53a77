"""Keeps a runner from being run twice at the same time."""

from __future__ import annotations

import threading

from sessions import forks
from sessions.errors import RunnerAtWork


class AtWork:
    """Whether a runner is being run; in a forked child it is not."""

    def __init__(self) -> None:
        self.begin_again_in_child()
        forks.watch(self)

    def begin_again_in_child(self) -> None:
        """The thread that runs it belongs to the parent."""
        self._right = threading.Lock()

    def begin(self) -> None:
        """Mark it as running.

        Raises:
            RunnerAtWork: It is running already.
        """
        if not self._right.acquire(blocking=False):
            raise RunnerAtWork

    def end(self) -> None:
        """Mark it as not running; a forked child may leave a block that its parent has begun."""
        if self._right.locked():
            self._right.release()
