"""One runner runs once at a time."""

from __future__ import annotations

import threading

from sessions import forks
from sessions.errors import RunnerAtWork


class AtWork:
    """Whether somebody runs a runner; in a forked child nobody does."""

    def __init__(self) -> None:
        self.begin_again_in_child()
        forks.watch(self)

    def begin_again_in_child(self) -> None:
        """Whoever runs it is the parent's."""
        self._right = threading.Lock()

    def begin(self) -> None:
        """Run it from now on.

        Raises:
            RunnerAtWork: It runs already.
        """
        if not self._right.acquire(blocking=False):
            raise RunnerAtWork

    def end(self) -> None:
        """Run it no longer; a child may leave a block that its parent has begun."""
        if self._right.locked():
            self._right.release()
