"""The locks that a forked child has to take for itself.

SQLite notes for a whole process which files it has locked, and does not ask the system again. A
child inherits the note, but not the locks: its connections would be safe only for as long as its
parent's are, and then another process would take its own for the last one, and remove the newest
commits from under it. So the child takes, on descriptors of its own, what SQLite believes to have.
"""

from __future__ import annotations

import os
from contextlib import suppress

with suppress(ImportError):  # where there is none, there are no forks
    import fcntl

_SHARED = (0x40000002, 510)
"""What each connection to a file has locked for reading: the first byte, and how many."""

_IN_USE = (128, 1)
"""What each process has locked of the file (-shm) that tells where commits are."""

_READ_MARKS = range(123, 128)
"""The bytes there of which a transaction that reads has locked one."""

_kept: list[int] = []
"""The descriptors: as one of a file is closed, the system drops all locks on that file."""


def lock(path: str, *, reads: bool) -> None:
    """Lock a file of which the parent has connections.

    If one of them `reads`, so that it sees what it saw before, SQLite's log cannot begin again
    before the child ends.

    Raises:
        OSError: The system refuses it.
    """
    index = f"{path}-shm"
    if not os.path.exists(index):  # noqa: PTH110  there is no log yet: who is idle has locked nothing
        return
    _share(_opened(path, os.O_RDONLY), *_SHARED)
    _share(_opened(index, os.O_RDONLY), *_IN_USE)
    if reads:
        _share_what_is_read(_opened(index, os.O_RDWR))


def _opened(path: str, how: int) -> int:
    descriptor = os.open(path, how)
    _kept.append(descriptor)
    return descriptor


def _share(descriptor: int, first: int, count: int = 1) -> None:
    fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, count, first)


def _share_what_is_read(descriptor: int) -> None:
    """Lock what others read by, and so the parent; if all were locked, nobody could begin to."""
    for mark in _READ_MARKS:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, mark)
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, mark)
        except (BlockingIOError, PermissionError):
            with suppress(BlockingIOError, PermissionError):  # somebody is about to begin to read
                _share(descriptor, mark)
