"""Parked keys: a fold could not handle an event, and the key's later events wait behind it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from sessions import clock
from sessions.sql import schema
from sessions.sql.inserting import Insert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.sql.connection import Connection, Query
    from sessions.sql.dialect import Dialect
    from sessions.sql.head import Build
    from sessions.sql.tables import Table


class Parked(msgspec.Struct, frozen=True, rename="camel"):
    """A parked key: its view stays as it was before an event, and its later events wait.

    Attributes:
        projection: The projection's name.
        key: The view's key, as text.
        position: The log position of the event that its fold could not handle.
        type: That event's type.
        error: What the fold raised.
        parked_at: When it was parked (UTC).
    """

    projection: str
    key: str
    position: int
    type: str
    error: str
    parked_at: datetime


_OF_BUILD = "application_id = ? AND projection = ? AND build = ?"
_SHOWN = "projection, key, position, type, error, parked_at"


class ParkedKeys:
    """The parked keys of one build of a projection, in one application."""

    def __init__(
        self,
        application_id: int,
        projection: str,
        build: int,
        dialect: Dialect,
        table: Table = schema.PARKED,
    ) -> None:
        self._table = table
        self._build: tuple[object, ...] = (application_id, projection, build)
        self._of_key = f"{_OF_BUILD} AND {dialect.is_id('key')}"
        self._insert = Insert(table, dialect, table.upsert(dialect))

    def waiting(self, query: Query) -> dict[str, int]:
        """Each parked key, and the position of the event that it waits for."""
        sql = self._table.select(f"{_OF_BUILD} AND NOT skipped", columns="key, position")
        return dict(query(sql, self._build))

    def skipped(self, query: Query) -> set[tuple[str, int]]:
        """The skipped events, by key and position."""
        sql = self._table.select(f"{_OF_BUILD} AND skipped", columns="key, position")
        return set(query(sql, self._build))

    def shown(self, query: Query, only: Key | None = None) -> list[Parked]:
        """The parked keys, or one key if it is parked, to be shown to people."""
        where, parameters = f"{_OF_BUILD} AND NOT skipped", self._build
        if only is not None:
            where, parameters = f"{self._of_key} AND NOT skipped", (*self._build, str(only))
        rows = query(self._table.select(where, "position", columns=_SHOWN), parameters)
        return [
            Parked(of, key, position, kind, error, datetime.fromisoformat(since))
            for of, key, position, kind, error, since in rows
        ]

    def write(self, connection: Connection, parked: Sequence[tuple[Key, Recorded, str]]) -> None:
        """Park keys."""
        now = clock.now()
        rows = [
            self._table.values(
                (*self._build, str(key), event.position, event.type, error, now, False)
            )
            for key, event, error in parked
        ]
        self._insert(connection, rows)

    def release(self, connection: Connection, key: str) -> None:
        """Release a parked key."""
        sql = f"DELETE FROM {self._table.name} WHERE {self._of_key} AND NOT skipped"
        connection.execute(sql, (*self._build, key))

    def skip(self, connection: Connection, key: str) -> None:
        """Skip the event that a key waits for, from now on."""
        sql = f"UPDATE {self._table.name} SET skipped = TRUE WHERE {self._of_key}"
        connection.execute(sql, (*self._build, key))


def waits(dialect: Dialect, projection: str, key: str, application: str) -> str:
    """The SQL condition that the key of a view is parked; key and application are SQL too."""
    same_key = dialect.is_id("parked.key", key)
    return (
        f"EXISTS (SELECT 1 FROM parked WHERE parked.application_id = {application} "
        f"AND parked.projection = '{projection}' AND {same_key} AND NOT parked.skipped AND "
        f"parked.build = (SELECT build FROM projections WHERE name = '{projection}' "
        "AND status = 'current'))"
    )


def row_waits(dialect: Dialect, table: Table) -> str:
    """The SQL condition that the key of a row is parked, in a relation named as its projection."""
    application, key = [f"{table.name}.{name}" for name in table.key]
    return waits(dialect, table.name, key, application)


Skip: TypeAlias = tuple[int, str, int, str, str, datetime]
"""An event that is skipped for a key: application, key, position, type, error, since when."""


def skips(query: Query, build: Build) -> list[Skip]:
    """The events that a build skips, in all applications, in order."""
    columns = "application_id, key, position, type, error, parked_at"
    where = "projection = ? AND build = ? AND skipped"
    rows = query(schema.PARKED.select(where, columns=columns), (build.name, build.number))
    return sorted((*row[:5], datetime.fromisoformat(row[5])) for row in rows)


def leave_out(
    connection: Connection, skipped: Iterable[Skip], build: Build, dialect: Dialect
) -> None:
    """Let a build skip what another one skips, perhaps in another database."""
    table = schema.PARKED
    rows = [
        table.values((application, build.name, build.number, *skip, True))
        for application, *skip in skipped
    ]
    Insert(table, dialect)(connection, rows)


def parked_in(query: Query, build: Build) -> int:
    """How many keys are parked in a build, in all applications."""
    where = "projection = ? AND build = ? AND NOT skipped"
    sql = schema.PARKED.select(where, columns="count(*)")
    counted: int = query(sql, (build.name, build.number))[0][0]
    return counted
