"""A lock between processes that lasts as long as its holder: a file beside SQLite's."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sessions import forks
from sessions.errors import StorageFailed
from sessions.sqlite.failures import refused_by_system
from sessions.sqlite.files import file_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.sql.database import StillHeld
    from sessions.sqlite.inside import Inside

_NO_NAME = re.compile(r"[^a-z0-9_]+")


class _Leases:
    """The connections that hold leases. A child closes them, or SQLite would take them for its own.

    Their databases are empty: to close one there changes nothing for the parent.
    """

    def __init__(self) -> None:
        self._held: set[sqlite3.Connection] = set()
        forks.watch(self)

    @contextmanager
    def closing(self, connection: sqlite3.Connection, inside: Inside) -> Iterator[None]:
        self._held.add(connection)
        try:
            yield
        finally:
            with inside:
                connection.close()
            self._held.discard(connection)

    def begin_again_in_child(self) -> None:
        while self._held:
            self._held.pop().close()


_leases = _Leases()


@contextmanager
def held_file(path: str, what: str, inside: Inside) -> Iterator[StillHeld | None]:
    """Hold a lease of a database, which only one of all processes can hold.

    The lock file is a database of its own, and stays empty. SQLite locks it, so that the lock works
    wherever the database does; the system releases it when the holder ends, however it ends.
    Removing the file takes the lease away: the next process makes another file.

    Raises:
        StorageFailed: The file cannot be made or locked.
    """
    name = f"{path}-{_NO_NAME.sub('-', what)}.lock"
    with _refused(path, name), inside:
        connection = sqlite3.connect(name, timeout=0, isolation_level=None, check_same_thread=False)
    with _leases.closing(connection, inside):
        with _refused(path, name), inside:
            is_mine = _lock(connection)
        if is_mine and not os.access(name, os.W_OK):  # readers can share a read-only file
            raise _cannot_be_written(path, name, "it is read-only")
        locked = file_number(name)
        yield (lambda: file_number(name) == locked) if is_mine else None


def _lock(connection: sqlite3.Connection) -> bool:
    """Lock a file, unless somebody else has; tell whether it is locked."""
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


@contextmanager
def _refused(path: str, name: str) -> Iterator[None]:
    """Turns SQLite's error for a file that cannot be locked into the store's."""
    try:
        yield
    except sqlite3.Error as error:
        raise _cannot_be_written(path, name, _why(name, error)) from error


def _cannot_be_written(path: str, name: str, why: object) -> StorageFailed:
    reason = f"the lock file {name} cannot be written: {why}"
    return StorageFailed(path=path, reason=reason)


def _why(name: str, error: sqlite3.Error) -> object:
    """Why SQLite cannot lock a file."""
    if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return refused_by_system(name, os.W_OK) or error
    return error


@contextmanager
def held_name(names: set[str], what: str) -> Iterator[StillHeld | None]:
    """Hold a lease that only one of those can hold that share `names`."""
    if what in names:
        yield None
        return
    names.add(what)
    try:
        yield lambda: what in names
    finally:
        names.discard(what)
