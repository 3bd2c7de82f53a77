"""The files of a SQLite database: whether they are still those that were opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sessions.errors import StorageFailed

if TYPE_CHECKING:
    from os import stat_result

_GONE = "its file was deleted, moved or replaced while it was open; open it anew"
_LOG_GONE = (
    "the file of its newest commits (-wal) was deleted, moved or replaced while it was open; close "
    "it in all processes, which saves what they have of it, and open it anew"
)
_LINKED = "its file has {} names (hard links), and SQLite keeps newest commits (-wal) for each name"


def file_number(path: str) -> int | None:
    """What tells a file from another one that gets its name later; None where there is none."""
    found = _stat(path)
    return found and found.st_ino


class Files:
    """The file of a database and that of its newest commits, under their names.

    SQLite does not look: what has lost its name, it goes on writing into nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.begin_again()

    def begin_again(self) -> None:
        """Take the files that are there from now on."""
        self._file: int | None = None
        self._log: int | None = None

    def check(self, *, is_open: bool) -> None:
        """Refuse files that are not those of before.

        Args:
            is_open: Whether a connection is open, and will be: its log is not deleted by SQLite.

        Raises:
            StorageFailed: One was deleted, moved or replaced, or the database has several names.
        """
        found = _stat(self._path)
        if self._file is None and found is not None and found.st_nlink > 1:
            raise StorageFailed(path=self._path, reason=_LINKED.format(found.st_nlink))
        self._file = self._file or (found and found.st_ino)
        if (found and found.st_ino) != self._file:
            raise StorageFailed(path=self._path, reason=_GONE)
        if is_open:
            log = file_number(f"{self._path}-wal")
            self._log = self._log or log
            if log != self._log:
                raise StorageFailed(path=self._path, reason=_LOG_GONE)


def _stat(path: str) -> stat_result | None:
    try:
        return Path(path).stat()
    except OSError:
        return None
