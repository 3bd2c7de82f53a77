"""The relations of a store, once for every database, and the statements on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sessions import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["text", "integer", "flag", "money", "time", "json"]

SCHEMA_VERSION = 1
"""The number of the newest migration that this library knows."""

_SQLITE_TYPES: dict[Kind, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "flag": "INTEGER",
    "money": "NUMERIC",
    "time": "TEXT",
    "json": "TEXT",
}

_SQLITE_VALUES: dict[Kind, Callable[[Any], object]] = {"money": str, "time": clock.text}


class Column(msgspec.Struct, frozen=True):
    """A column: its name and the kind of its values.

    Values are given as str, int, bool, Decimal, datetime (UTC) and, for `json`, JSON text.
    """

    name: str
    kind: Kind = "text"
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A relation. A table's columns may only be added to, and only by a migration.

    Attributes:
        name: As it stands in the database.
        columns: In order.
        key: The names of the primary key's columns.
        unique: Further unique keys.
        indexes: The columns of each index; the last of them names it.
        clustered: Whether rows lie in the order of the key: for short rows, read by their key.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    clustered: bool = False

    @cached_property
    def column_list(self) -> str:
        """The columns' names, for a SELECT."""
        return ", ".join(column.name for column in self.columns)

    def create(self) -> list[str]:
        """The statements that make the relation."""
        indexes = [
            f"CREATE INDEX {self.name}_by_{names[-1]} ON {self.name} ({', '.join(names)})"
            for names in self.indexes
        ]
        order = " WITHOUT ROWID" if self.clustered else ""
        return [f"CREATE TABLE {self.name} ({self._definition}){order}", *indexes]

    def create_temporary(self) -> str:
        """The statement that makes the relation for the connection alone."""
        return f"CREATE TEMPORARY TABLE {self.name} ({self._definition})"

    @cached_property
    def _definition(self) -> str:
        columns = [
            f"{column.name} {_SQLITE_TYPES[column.kind]}{'' if column.nullable else ' NOT NULL'}"
            for column in self.columns
        ]
        unique = [f"UNIQUE ({', '.join(names)})" for names in self.unique]
        return ", ".join([*columns, f"PRIMARY KEY ({', '.join(self.key)})", *unique])

    def insert(self) -> str:
        """INSERT of a whole row."""
        return (
            f"INSERT INTO {self.name} ({self.column_list}) "
            f"VALUES ({', '.join('?' * len(self.columns))})"
        )

    def upsert(self) -> str:
        """INSERT of a whole row, in place of the one that has its key."""
        changed = [c.name for c in self.columns if c.name not in self.key]
        values = ", ".join(f"{name} = excluded.{name}" for name in changed)
        return f"{self.insert()} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {values}"

    def update(self) -> str:
        """UPDATE of the columns that no index has, by the key: no index is touched."""
        values = ", ".join(f"{name} = ?" for name in self._plain)
        return f"UPDATE {self.name} SET {values} WHERE {self.where_key}"

    def update_values(self, row: Sequence[object]) -> list[object]:
        """What `update` takes of an adapted row."""
        return [row[i] for i in self._update_order]

    def indexed_values(self, row: Sequence[object]) -> tuple[object, ...]:
        """What the indexes have of an adapted row: where it is as before, `update` will do."""
        return tuple([row[i] for i in self._indexed])

    @cached_property
    def where_key(self) -> str:
        """The condition that names one row."""
        return " AND ".join(f"{name} = ?" for name in self.key)

    @cached_property
    def _names(self) -> list[str]:
        return [column.name for column in self.columns]

    @cached_property
    def _indexed(self) -> list[int]:
        names = {name for index in (*self.indexes, *self.unique) for name in index}
        return [self._names.index(name) for name in sorted(names - set(self.key))]

    @cached_property
    def _plain(self) -> list[str]:
        indexed = {self._names[i] for i in self._indexed}
        return [name for name in self._names if name not in indexed and name not in self.key]

    @cached_property
    def _update_order(self) -> list[int]:
        return [self._names.index(name) for name in (*self._plain, *self.key)]

    def select(self, where: str = "", order: str = "", limit: int | None = None) -> str:
        """SELECT of whole rows."""
        clauses = [f"SELECT {self.column_list} FROM {self.name}"]
        if where:
            clauses.append(f"WHERE {where}")
        if order:
            clauses.append(f"ORDER BY {order}")
        if limit is not None:
            clauses.append(f"LIMIT {limit}")
        return " ".join(clauses)

    def values(self, row: Sequence[object]) -> list[object]:
        """A row as the database takes it."""
        adapted = list(row)
        for index, adapt in self._adapted:
            if adapted[index] is not None:
                adapted[index] = adapt(adapted[index])
        return adapted

    @cached_property
    def _adapted(self) -> Sequence[tuple[int, Callable[[Any], object]]]:
        kinds = [(i, _SQLITE_VALUES.get(column.kind)) for i, column in enumerate(self.columns)]
        return [(index, adapt) for index, adapt in kinds if adapt is not None]


APPLICATION_ID = Column("application_id", "integer")

MIGRATIONS = Table(
    "migrations",
    (Column("version", "integer"), Column("applied_at", "time")),
    key=("version",),
)
"""The migrations that made the store what it is; the newest is its schema's version."""

APPLICATIONS = Table(
    "applications",
    (APPLICATION_ID, Column("position", "integer")),
    key=("application_id",),
)
"""Each application's newest position; it outlives every event, so that none is given out twice."""

INLINE_VIEWS = Table(
    "inline_views",
    (Column("name"), Column("version", "integer")),
    key=("name",),
)
"""The views that every writer keeps in its transactions, and their versions."""

EVENTS = Table(
    "events",
    (
        APPLICATION_ID,
        Column("position", "integer"),
        Column("category"),
        Column("stream_id"),
        Column("version", "integer"),
        Column("type"),
        Column("type_version", "integer"),
        Column("at", "time"),
        Column("recorded_at", "time"),
        Column("command_id"),
        Column("metadata", "json"),
        Column("data", "json"),
    ),
    key=("application_id", "position"),
    unique=(("application_id", "category", "stream_id", "version"),),
)
"""The log. `type_version` is the version of the shape that `data` is written in."""

CLAIMS = Table(
    "claims",
    (APPLICATION_ID, Column("limit_name"), Column("holder")),
    key=("application_id", "limit_name", "holder"),
    clustered=True,
)
"""Which stream holds a claim on which limit."""

LIMITS = Table(
    "limits",
    (APPLICATION_ID, Column("limit_name"), Column("used", "integer")),
    key=("application_id", "limit_name"),
    clustered=True,
)
"""How many holders each limit has."""

ANSWERS = Table(
    "answers",
    (
        APPLICATION_ID,
        Column("idempotency_key"),
        Column("request"),
        Column("answer", "json"),
        Column("recorded_at", "time"),
    ),
    key=("application_id", "idempotency_key"),
    clustered=True,
)
"""The answers that idempotency keys are kept for; `request` is the SHA-256 of what was asked."""

TABLES = (MIGRATIONS, INLINE_VIEWS, APPLICATIONS, EVENTS, CLAIMS, LIMITS, ANSWERS)
