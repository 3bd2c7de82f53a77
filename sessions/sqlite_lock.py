"""A lock between processes that lasts as long as its holder: a file beside SQLite's."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_NAME = re.compile(r"[^a-z0-9_]+")


@contextmanager
def held_file(path: str, what: str) -> Iterator[bool]:
    """Whether this is the only one, of all processes, that holds something of a database.

    The file is a database of its own, and stays empty. What locks it is SQLite, so that the lock
    works wherever the database does; the system frees it when the holder ends, however it ends.
    """
    name = f"{path}-{_NO_NAME.sub('-', what)}.lock"
    with closing(sqlite3.connect(name, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            yield False
        else:
            yield True


@contextmanager
def held_name(names: set[str], what: str) -> Iterator[bool]:
    """Whether this is the only one that holds something, among those who share the names."""
    if what in names:
        yield False
        return
    names.add(what)
    try:
        yield True
    finally:
        names.discard(what)
