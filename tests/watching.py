"""Follows a store in a thread, to see what comes and when."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions import Follower

AT_ONCE = 0.15
"""Seconds within which what this process does is seen: less than PostgreSQL's poll interval."""


class Seen:
    """What a follower in a thread of its own has yielded, and when."""

    def __init__(self, follower: Follower) -> None:
        self.positions: list[int] = []
        self.times: list[float] = []
        self.follower = follower
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._follow)
        self.thread.start()

    def _follow(self) -> None:
        for recorded in self.follower:
            with self._changed:
                self.positions.append(recorded.position)
                self.times.append(time.monotonic())
                self._changed.notify_all()

    def wait_for(self, position: int) -> None:
        with self._changed:
            came = self._changed.wait_for(lambda: position in self.positions[-1:], SOON)
        assert came, f"{position} does not come, after {self.positions[-3:]}"


@contextmanager
def watching(follower: Follower) -> Iterator[Seen]:
    """Follow in another thread, to the end of the block."""
    seen = Seen(follower)
    try:
        yield seen
    finally:
        follower.stop()
        seen.thread.join(SOON)
    assert not seen.thread.is_alive()
