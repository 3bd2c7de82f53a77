"""The threads that are inside SQLite. A fork waits for them: its child would inherit their locks.

SQLite has locks of its own for a whole process. A lock that a thread of the parent holds at a fork
is never released in the child, which then waits for ever when it opens a file.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.0005
_HANGS = "the child may hang in SQLite"
_MOST_SECONDS = 60.0
"""How long at most a fork waits for a statement of another thread."""


class Inside:
    """Within it, a thread is inside SQLite; if another thread is forking, it waits first."""

    def __init__(self) -> None:
        self.begin_again()

    def begin_again(self) -> None:
        """Begin with nobody inside: at the start, and in a forked child."""
        self._threads: set[int] = set()
        self._is_open = True
        self._closer: int | None = None
        self._opens = threading.Event()

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def enter(self) -> None:
        """Enter, in a thread that is not inside; `leave` must follow in the same thread."""
        thread = threading.get_ident()
        while True:
            self._threads.add(thread)  # first, so that `close` sees the thread
            if self._is_open or self._closer == thread:
                return
            self._threads.discard(thread)
            self._opens.wait()

    def leave(self) -> None:
        """Leave; a thread that an interrupt has kept from it does so the next time."""
        self._threads.discard(threading.get_ident())

    def close(self, seconds: float = _MOST_SECONDS) -> None:
        """Let no other thread in, and wait until all others are out, for `seconds` at most."""
        self._closer = threading.get_ident()  # its own hooks of the fork may read
        own, deadline = {self._closer}, time.monotonic() + seconds
        self._opens.clear()
        self._is_open = False
        try:
            while self._threads - own:
                if time.monotonic() > deadline:
                    logger.warning("the process forks while another thread reads: %s", _HANGS)
                    return
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            self.open()
            raise

    def open(self) -> None:
        """Let threads in again."""
        self._is_open, self._closer = True, None
        self._opens.set()
