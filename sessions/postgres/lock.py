"""Advisory locks of PostgreSQL: only one of all processes can hold one."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.sql.connection import Connection, Statement
    from sessions.sql.database import StillHeld

IS_HELD = (
    "SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) = ? AND database = "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
)
"""Whether somebody holds a lock: to try it instead would take it for a moment."""


class Locks:
    """The advisory locks of the store in a schema, which PostgreSQL knows by numbers.

    The holder of the lock of one thing, or of an application's log, shares the lock of the store.
    """

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self.store = self.of(0)

    def of(self, what: int | str) -> int:
        """The lock of an application's log, or of something named."""
        return _number_of(f"customer-sessions/{self._schema}/{what}")

    def of_lease(self, what: str) -> int:
        """The lock of a lease."""
        return self.of(f"held/{what}")

    def taken_for(self, what: str | None) -> list[Statement]:
        """The SELECTs that take the lock of the whole store, or of something named."""
        if what is None:
            return [("SELECT pg_advisory_xact_lock(?)", (self.store,))]
        return [
            ("SELECT pg_advisory_xact_lock_shared(?)", (self.store,)),
            ("SELECT pg_advisory_xact_lock(?)", (self.of(what),)),
        ]


@lru_cache(maxsize=256)
def _number_of(name: str) -> int:
    return int.from_bytes(digest(name)[:8], "big", signed=True)


def digest(text: str) -> bytes:
    """The SHA-256 of a text, which another text hardly has."""
    return hashlib.sha256(text.encode()).digest()


@contextmanager
def held_by(connection: Connection, lock: int) -> Iterator[StillHeld | None]:
    """Hold a lock by a connection, if nobody else does."""
    ((held,),) = connection.execute("SELECT pg_try_advisory_lock(?)", (lock,))
    try:
        yield partial(_answers, connection) if held else None
    finally:  # a server is late to notice that a connection is closed
        if held:
            with suppress(psycopg.OperationalError):  # one that is lost holds nothing
                connection.execute("SELECT pg_advisory_unlock(?)", (lock,))


def _answers(connection: Connection) -> bool:
    """Whether a connection still works: a server or a firewall may close an idle one."""
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
