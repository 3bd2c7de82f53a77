"""The locks that a forked child has to take for itself.

SQLite notes for a whole process which files it has locked, and does not ask the system again. A
child inherits the note, but not the locks: its connections would be safe only for as long as its
parent's are, and then another process would take its own for the last one, and remove the newest
commits from under it. So the child takes what SQLite believes to have, on descriptors of its own,
for as long as it lives. So do its own children, whatever stores it has closed by then.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sessions import forks
from sessions.errors import StorageFailed
from sessions.sqlite.files import file_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SHARED = (0x40000002, 510)
"""What each connection to a file has locked for reading: the first byte, and how many."""

_IN_USE = (128, 1)
"""What each process has locked of the file (-shm) that tells where commits are."""

_READ_MARKS = range(123, 128)
"""The bytes there of which a transaction that reads has locked one."""

_LOCK = fcntl.LOCK_SH | fcntl.LOCK_NB
_TAKEN = (BlockingIOError, PermissionError)
"""What the system says if another process has a lock."""

_SECONDS, _PAUSE = 5.0, 0.001
"""How long others may have what is to be locked, and how often it is tried."""

_REFUSED = "this process was forked from one that had it open, and could not lock it: {}"


class _Locks:
    """The files of which this process has inherited connections, each with descriptors of it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int | None], list[int]] = {}
        self._refused: dict[str, str] = {}
        forks.watch(self)

    def begin_again_in_child(self) -> None:
        """Lock in a child what this process had inherited."""
        for (path, _), kept in list(self._kept.items()):
            with self._noted(path):
                _share_all(kept)

    def lock(self, path: str, check: Callable[[], object], *, reads: bool = False) -> None:
        """Lock a file of which the parent has connections; see `check` for what comes of it.

        As one descriptor of a file is closed, the system drops all locks on it: none ever is.

        Args:
            path: The file.
            check: Called then; it raises if the file is not the one that the parent had open.
            reads: Whether a connection of the parent sees what it saw before: SQLite's log then
                cannot begin again before the child ends.
        """
        index = f"{path}-shm"
        if not os.path.exists(index):  # noqa: PTH110  without a log, who is idle has no lock
            return
        with self._noted(path):
            kept = self._kept.setdefault((path, file_number(path)), [])
            for name in (path, index)[len(kept) :]:
                kept.append(os.open(name, os.O_RDONLY))
            _share_all(kept)
            if reads:
                with suppress(OSError):  # it may only be read: then nobody writes to it here
                    kept.append(os.open(index, os.O_RDWR))
                    _share_what_is_read(kept[-1])
            check()

    @contextmanager
    def _noted(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._refused.setdefault(path, error.strerror or str(error))
        except StorageFailed as error:
            self._refused.setdefault(path, f"{error.reason}")

    def check(self, path: str) -> None:
        """Raise if the locks that are needed to open a file could not be taken.

        Raises:
            StorageFailed: They could not.
        """
        reason = self._refused.get(path)
        if reason is not None:
            raise StorageFailed(path=path, reason=_REFUSED.format(reason))


def _share_all(kept: Sequence[int]) -> None:
    for descriptor, place in zip(kept, (_SHARED, _IN_USE), strict=False):
        _share(descriptor, *place)


def _share(descriptor: int, first: int, count: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            fcntl.lockf(descriptor, _LOCK, count, first)
        except _TAKEN:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(_PAUSE)


def _share_what_is_read(descriptor: int) -> None:
    """Lock what others read by, and so the parent; if all were locked, nobody could begin to."""
    for mark in _READ_MARKS:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, mark)
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, mark)
        except _TAKEN:
            with suppress(*_TAKEN):  # somebody is about to begin to read by it
                fcntl.lockf(descriptor, _LOCK, 1, mark)


LOCKS = _Locks()
