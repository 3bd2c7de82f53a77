"""The switch: what was built takes the place of what is there, in a transaction with the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions import kept
from sessions.database import query_on

if TYPE_CHECKING:
    from collections.abc import Collection

    from sessions.database import Connection, Current, Database


def switch_claims(database: Database, connection: Connection, build: Current) -> None:
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
) -> list[Current]:
    """Let no writer keep what is not known here: those who do not have it would be refused."""
    current = kept.builds(query_on(connection), "current").values()
    unknown = [each for each in current if each.mode == "inline" and each.name not in known]
    for each in unknown:
        kept.retire(database, connection, each.name)
    return unknown


def retire_all(database: Database) -> None:
    """Let nobody write: nothing is current that a writer would have to keep."""
    with database.writing() as connection:
        for name in kept.builds(query_on(connection), "current"):
            kept.retire(database, connection, name)
