"""The switch: what was built takes the place of what is there, in a transaction with the lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from sessions.errors import StoreBusy
from sessions.sql.connection import query_on
from sessions.sql.database import StillRead
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build

T = TypeVar("T")

_LET_WRITE_SECONDS = 0.3
"""How long writers go on before they wait once more for those who read."""


def clear(
    database: Database,
    change: Callable[[Connection], T],
    meanwhile: Callable[[], object] = bool,
) -> T:
    """Rename and drop relations, in a transaction with the lock of everything.

    Somebody's transaction may read them for long, as a backup does, and all writers would wait for
    it too. So they go on in between, and it is tried again.

    Args:
        database: The database.
        change: Does it, in each attempt; what it answers at last is the answer.
        meanwhile: Is called before each further attempt.

    Raises:
        StoreBusy: They are read for longer than a writer waits for others.
    """
    deadline = time.monotonic() + database.lock_timeout
    while True:
        try:
            with database.clearing() as connection:
                return change(connection)
        except StillRead as error:
            if time.monotonic() > deadline:
                raise StoreBusy(path=database.path, seconds=database.lock_timeout) from error
        time.sleep(_LET_WRITE_SECONDS)
        meanwhile()


def switch_claims(database: Database, connection: Connection, build: Build) -> None:
    """Let the claims be those that were built; the ones of before do not stay."""
    query = query_on(connection)
    tables = kept.relations(query, build)
    replaced = [table for table in tables if table in database.relations(query)]
    with database.handing_on(connection, replaced):
        for table in replaced:
            database.rename(connection, table, f"{table}_replaced")
        kept.take_names(database, connection, build)
    for table in replaced:
        connection.execute(f"DROP TABLE {table}_replaced")
    kept.remove(connection, build)


def retire_unknown(
    database: Database, connection: Connection, known: Collection[str]
) -> list[Build]:
    """Let no writer keep what is not known here: those who do not have it would be refused."""
    current = kept.builds(query_on(connection), "current").values()
    names = {kept.COPY, *known}
    unknown = [each for each in current if each.mode == "inline" and each.name not in names]
    for each in unknown:
        kept.retire(database, connection, each.name)
    return unknown


def close(database: Database, confirm: Callable[[Query], object]) -> None:
    """Let nobody write to a store that is copied to, nor build anything there, yet.

    Args:
        database: The store's.
        confirm: May refuse, when nobody can write any more: then all is as before.
    """
    with database.writing() as connection:
        confirm(query_on(connection))
        current = kept.builds(query_on(connection), "current")
        for name in current.keys() - {kept.COPY}:
            kept.retire(database, connection, name)
        if kept.COPY not in current:
            kept.register(connection, (kept.COPY, 1, "inline"), "current", ())


def open_to_all(connection: Connection) -> None:
    """Let people write: the copy is whole, once this transaction is committed."""
    kept.remove(connection, kept.builds(query_on(connection), "current")[kept.COPY])
