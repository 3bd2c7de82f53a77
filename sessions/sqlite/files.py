"""The files of a SQLite database: whether they are still those that were opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sessions.errors import NotAStore, StorageFailed

if TYPE_CHECKING:
    from os import stat_result

NO_DATABASE = "the file is not a SQLite database"
_GONE = "its file was deleted, moved or replaced while it was open; open the store again"
_LOG_GONE = (
    "the file of its newest commits (-wal) was deleted, moved or replaced while it was open; close "
    "the store in all processes, which saves what they have of it, and open it again"
)
_LINKED = (
    "its file has {} names (hard links), and SQLite keeps the newest commits (-wal) of each apart; "
    "remove all but one"
)


def file_number(path: str) -> int | None:
    """What tells a file from another one that gets its name later; None if there is no file."""
    found = _stat(path)
    return found and found.st_ino


class Files:
    """The file of a database and that of its newest commits, under their names.

    SQLite does not check this: it goes on writing into a file that has lost its name.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.begin_again()

    def begin_again(self) -> None:
        """Accept the files that are there from now on."""
        self._file: int | None = None
        self._log: int | None = None

    def check(self, *, is_open: bool) -> bool:
        """Raise if the files are not the same as before.

        Args:
            is_open: Whether a connection is open, and stays open: SQLite then does not delete its
                log.

        Returns:
            Whether both are known from now on: a new database has no log before its first commit.

        Raises:
            StorageFailed: One was deleted, moved or replaced, or the database has several names.
            NotAStore: It holds a single byte, and is no database.
        """
        self._file = self._same(self._path, self._file, _GONE)
        if is_open:
            self._log = self._same(f"{self._path}-wal", self._log, _LOG_GONE)
        return is_open and self._log is not None

    def _same(self, path: str, before: int | None, reason: str) -> int | None:
        found = _stat(path)
        number = found and found.st_ino
        if before is None:
            if found is not None and found.st_nlink > 1:
                reason = _LINKED.format(found.st_nlink)
                raise StorageFailed(path=self._path, reason=reason)
            if found is not None and found.st_size == 1:  # to SQLite it is as good as empty
                raise NotAStore(path=self._path, reason=NO_DATABASE)
        elif number != before:
            raise StorageFailed(path=self._path, reason=reason)
        return number


def _stat(path: str) -> stat_result | None:
    try:
        return Path(path).stat()
    except OSError:
        return None
