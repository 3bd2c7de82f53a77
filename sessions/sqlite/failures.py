"""What SQLite's errors mean to the store."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from sessions.errors import Duplicate, NotAStore, StorageFailed, StoreBusy
from sessions.sql.failures import Failures
from sessions.sqlite.files import NO_DATABASE

_DUPLICATE = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}

_NOT_MADE = "it does not exist yet, and its directory is not writable"
_BESIDE = "its directory is not writable, but SQLite keeps two files there while a store is read"


class SqliteFailures(Failures):
    """Turns SQLite's errors into the store's."""

    kind = sqlite3.Error
    database = "SQLite"
    least = (3, 34)

    def of(self, error: sqlite3.Error) -> Exception:
        """The store's error for one of SQLite's."""
        full_code = getattr(error, "sqlite_errorcode", 0)
        code = full_code & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreBusy(path=self._path, seconds=self._lock_timeout)
        if code == sqlite3.SQLITE_NOTADB:
            return NotAStore(path=self._path, reason=NO_DATABASE)
        if full_code in _DUPLICATE:
            return Duplicate(path=self._path, reason=error)
        if full_code == sqlite3.SQLITE_READONLY_DIRECTORY:
            return StorageFailed(path=self._path, reason=_BESIDE)
        if code == sqlite3.SQLITE_CANTOPEN:
            return StorageFailed(path=self._path, reason=self._refused() or error)
        return StorageFailed(path=self._path, reason=error)

    def _refused(self) -> str | None:
        refused = refused_by_system(self._path, os.R_OK)
        if os.access(Path(self._path).parent, os.W_OK):
            return refused
        if not os.path.lexists(self._path):
            return _NOT_MADE
        return refused or _BESIDE


def refused_by_system(path: str, mode: int) -> str | None:
    """What the system says about a file that SQLite is "unable to open" (`os.R_OK`, `os.W_OK`).

    It must not be opened to find out: as it is closed, the system drops all locks that this process
    has on it, those of SQLite's other connections too.
    """
    is_made = mode == os.W_OK and not os.path.exists(path)  # noqa: PTH110  Path's may raise
    asked = Path(path).parent if is_made else Path(path)
    try:
        Path(os.devnull).open("rb").close()
    except OSError as refused:
        if refused.errno in {errno.EMFILE, errno.ENFILE}:
            return refused.strerror
    try:
        found, system = asked.stat(), os.statvfs(asked)
    except OSError as refused:
        return refused.strerror
    if stat.S_ISDIR(found.st_mode) and not is_made:
        return os.strerror(errno.EISDIR)
    if mode == os.W_OK and system.f_flag & os.ST_RDONLY:
        return os.strerror(errno.EROFS)
    return None if os.access(asked, mode) else os.strerror(errno.EACCES)
