"""The switch: new builds replace the current ones, in one transaction with the lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from sessions.errors import StoreBusy
from sessions.sql.connection import query_on
from sessions.sql.database import StillRead
from sessions.sql.head import COPY
from sessions.views import kept
from sessions.views.current import retire, take_names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build

T = TypeVar("T")

_LET_WRITE_SECONDS = 0.3
"""How long writers go on before they have to wait once more for open readers."""


def clear(
    database: Database,
    change: Callable[[Connection], T],
    meanwhile: Callable[[], object] = bool,
) -> T:
    """Rename and drop relations, in a transaction with the lock of everything.

    Somebody's transaction may have read them for long, as a backup does, and all writers would wait
    for it too. So each attempt waits only briefly, and writers go on in between.

    Args:
        database: The database.
        change: Makes the changes in each attempt; the answer of the last one is the answer.
        meanwhile: Called before each further attempt.

    Raises:
        StoreBusy: They were read for longer than a writer waits for the lock (`lock_timeout`).
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
    """Make the rebuilt claims current; the old ones do not stay."""
    query = query_on(connection)
    tables = kept.relations(query, build)
    replaced = [table for table in tables if table in database.relations(query)]
    with database.handing_on(connection, replaced):
        for table in replaced:
            database.rename(connection, table, f"{table}_replaced")
        take_names(database, connection, build)
    for table in replaced:
        connection.execute(f"DROP TABLE {table}_replaced")
    kept.remove(connection, build)


def unknown_to(query: Query, known: Collection[str]) -> list[Build]:
    """The inline builds of projections that are not known: writers without them are refused."""
    current, names = kept.builds(query, "current").values(), {COPY, *known}
    return [each for each in current if each.mode == "inline" and each.name not in names]


def close(database: Database, confirm: Callable[[Query], object]) -> None:
    """Bar all others from writing to a store that is being copied to, and from building there.

    Args:
        database: The store's database.
        confirm: Called when nobody can write any more; if it raises, all is as before.
    """
    with database.writing() as connection:
        confirm(query_on(connection))
        current = kept.builds(query_on(connection), "current")
        for name in current.keys() - {COPY}:
            retire(database, connection, name)
        if COPY not in current:
            kept.register(connection, (COPY, 1, "inline"), "current", ())


def open_to_all(connection: Connection) -> None:
    """Let writers in: once this transaction is committed, the copy is complete."""
    kept.remove(connection, kept.builds(query_on(connection), "current")[COPY])
