"""A lock between processes that lasts as long as its holder: a file beside SQLite's."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.database import StillHeld

_NO_NAME = re.compile(r"[^a-z0-9_]+")


@contextmanager
def held_file(path: str, what: str) -> Iterator[StillHeld | None]:
    """Hold something of a database that one of all processes can hold.

    The file is a database of its own, and stays empty. What locks it is SQLite, so that the lock
    works wherever the database does; the system frees it when the holder ends, however it ends.
    Who removes the file takes it away: the next one makes another file.
    """
    name = f"{path}-{_NO_NAME.sub('-', what)}.lock"
    with closing(sqlite3.connect(name, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            yield None
        else:
            locked = _number(name)
            yield lambda: _number(name) == locked


def _number(name: str) -> int | None:
    """What tells a file from another one that gets its name later."""
    try:
        return Path(name).stat().st_ino
    except OSError:
        return None


@contextmanager
def held_name(names: set[str], what: str) -> Iterator[StillHeld | None]:
    """Hold something that one of those can hold who share the names."""
    if what in names:
        yield None
        return
    names.add(what)
    try:
        yield lambda: what in names
    finally:
        names.discard(what)
