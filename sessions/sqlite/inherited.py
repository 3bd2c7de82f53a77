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

_READ_MARKS = (123, 5)
"""What a transaction that reads has locked there."""

_kept: list[int] = []
"""The descriptors: as one of a file is closed, the system drops all locks on that file."""


def lock(path: str, *, reads: bool) -> None:
    """Lock a file of which the parent has connections.

    If one of them `reads`, so that it sees what it saw before, SQLite's log cannot begin again
    before the child ends.

    Raises:
        OSError: The system refuses it.
    """
    _lock(path, *_SHARED)
    _lock(f"{path}-shm", *_IN_USE)
    if reads:
        _lock(f"{path}-shm", *_READ_MARKS)


def _lock(path: str, first: int, count: int) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    _kept.append(descriptor)
    fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, count, first)
