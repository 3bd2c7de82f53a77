"""Making a store, and telling whether a database holds one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions import clock, schema
from sessions.errors import NotAStore, StoreTooNew
from sessions.sqlite import query_on

if TYPE_CHECKING:
    import sqlite3

    from sessions.sqlite import Query


def statements() -> list[str]:
    """The statements that make a new store."""
    return [statement for table in schema.TABLES for statement in table.create()]


def make(connection: sqlite3.Connection, path: str) -> bool:
    """Make the store if it is new, in a transaction; whether it was there already.

    Raises:
        NotAStore: It is a database of something else.
        StoreTooNew: A newer library made it.
    """
    if is_store(query_on(connection), path):
        return True
    for statement in statements():
        connection.execute(statement)
    applied = schema.MIGRATIONS.values((schema.SCHEMA_VERSION, clock.now()))
    connection.execute(schema.MIGRATIONS.insert(), applied)
    return False


def is_store(query: Query, path: str) -> bool:
    """Whether the database holds a store that this library knows; False where it is empty.

    Raises:
        NotAStore: It is a database of something else.
        StoreTooNew: A newer library made it.
    """
    found = {name for (name,) in query("SELECT name FROM sqlite_master", ())}
    if not found:
        return False
    if not {table.name for table in schema.TABLES} <= found:
        raise NotAStore(path=path, reason="it holds other tables")
    ((version,),) = query("SELECT max(version) FROM migrations", ())
    if version > schema.SCHEMA_VERSION:
        raise StoreTooNew(path=path, found=version, known=schema.SCHEMA_VERSION)
    return True
