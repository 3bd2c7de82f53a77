"""Tables and their columns, the same for every database, and the statements on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from sessions.cached import cached_property
from sessions.kinds import ADAPT, VARYING, Kind, as_given, fits, most_in_index, size_in_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.sql.dialect import Dialect

    Pick = Callable[[Sequence[object]], tuple[object, ...]]

_MOST_INDEXED = 2704 - 16
"""How many bytes of values a row of PostgreSQL's index has room for, beside what heads it."""

_ASKED = "_asked"
"""The values by which rows are looked up. No projection's relation or column begins like this."""

GIVEN_LIMIT = "? + 0"
"""A limit that is a parameter. SQLite 3.53 plans by the value of a bare `?`, and so prepares the
statement again whenever one is given, which took a third as long as reading a session's past."""


class Column(msgspec.Struct, frozen=True):
    """A column: its name and the kind of its values.

    Attributes:
        name: Its name.
        kind: `id` (a str of up to 1000 characters, even if that is too long for an index), `text`
            (str), `integer` (int), `flag` (bool), `money` (Decimal), `time` (datetime with a
            timezone, stored in UTC) or `json` (a str of JSON).
        nullable: Whether a value may be None.
    """

    name: str
    kind: Kind = "text"
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A relation. Columns may only be added to a table, and only by a migration.

    Attributes:
        name: Its name in the database.
        columns: Its columns, in order.
        key: The names of the primary key's columns.
        unique: Further unique keys.
        indexes: The columns of each index.
        lookups: Ids by which alone people look rows up.
        clustered: Whether rows are stored in key order: for short rows that are read by their key.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    lookups: tuple[str, ...] = ()
    clustered: bool = False

    def beside(self, suffix: str) -> Table:
        """The same relation, with a suffix after its name."""
        return replace(self, name=self.name + suffix)

    @cached_property
    def column_list(self) -> str:
        """The columns' names, for a SELECT."""
        return ", ".join(column.name for column in self.columns)

    @cached_property
    def ids(self) -> frozenset[str]:
        """The names of the columns of the kind `id`."""
        return frozenset(column.name for column in self.columns if column.kind == "id")

    def distinct(self, names: Sequence[str], dialect: Dialect) -> str:
        """Columns of a key, as its unique index holds them."""
        return ", ".join(dialect.key(name) if name in self.ids else name for name in names)

    def insert(self, count: int = 1) -> str:
        """INSERT of whole rows."""
        row = f"({', '.join('?' * len(self.columns))})"
        return f"INSERT INTO {self.name} ({self.column_list}) VALUES {', '.join([row] * count)}"

    def upsert(self, dialect: Dialect) -> str:
        """The end of an INSERT that replaces the row with the same key, if there is one."""
        changed = [c.name for c in self.columns if c.name not in self.key]
        values = ", ".join(f"{name} = excluded.{name}" for name in changed)
        what = f"UPDATE SET {values}" if changed else "NOTHING"
        return f"ON CONFLICT ({self.distinct(self.key, dialect)}) DO {what}"

    def update(self, dialect: Dialect) -> str:
        """UPDATE, by the key, of the columns that are in no index: no index is written."""
        values = ", ".join(f"{name} = ?" for name in self._plain)
        return f"UPDATE {self.name} SET {values} WHERE {self.where_key(dialect)}"

    @cached_property
    def update_values(self) -> Pick:
        """The values of an adapted row that `update` takes."""
        return _picked([self._names.index(name) for name in (*self._plain, *self.key)])

    @cached_property
    def indexed_values(self) -> Pick:
        """The indexed values of an adapted row: if they are as before, `update` will do."""
        return _picked(self._indexed)

    def where_key(self, dialect: Dialect) -> str:
        """The condition that finds one row, by an index."""
        return " AND ".join(self._same(name, "?", dialect) for name in self.key)

    @cached_property
    def key_of(self) -> Pick:
        """The key of an adapted row."""
        return _picked([self._names.index(name) for name in self.key])

    @cached_property
    def _names(self) -> list[str]:
        return [column.name for column in self.columns]

    @cached_property
    def _indexed(self) -> list[int]:
        names = {name for index in (*self.indexes, *self.unique) for name in index}
        return [self._names.index(name) for name in sorted(names - set(self.key))]

    @cached_property
    def _may_be_too_long(self) -> list[list[tuple[int, Column]]]:
        """The keys and indexes whose rows may have no room: their columns, and where these are."""
        by_name = {column.name: place for place, column in enumerate(self.columns)}
        found = [
            [(by_name[name], self.columns[by_name[name]]) for name in names]
            for names in (self.key, *self.unique, *self.indexes)
        ]
        return [
            columns
            for columns in found
            if sum([most_in_index(column.kind) for _, column in columns]) > _MOST_INDEXED
        ]

    @cached_property
    def _plain(self) -> list[str]:
        indexed = {self._names[i] for i in self._indexed}
        return [name for name in self._names if name not in indexed and name not in self.key]

    def select(
        self,
        where: str = "",
        order: str = "",
        limit: int | str | None = None,
        columns: str | None = None,
    ) -> str:
        """SELECT of whole rows, or of some columns."""
        clauses = [f"SELECT {columns or self.column_list} FROM {self.name}"]
        if where:
            clauses.append(f"WHERE {where}")
        if order:
            clauses.append(f"ORDER BY {order}")
        if limit is not None:
            clauses.append(f"LIMIT {limit}")
        return " ".join(clauses)

    def select_each(  # noqa: PLR0913  what a SELECT may say
        self,
        names: Sequence[str],
        count: int,
        dialect: Dialect,
        where: str,
        *,
        columns: str | None = None,
        order: str = "",
    ) -> str:
        """SELECT of the rows that have one of `count` values in indexed columns.

        Each value is looked up by itself: one that is given twice is found twice. The parameters
        are the values, and then those of `where`, in which no column may tempt SQLite to another
        index.
        """
        asked = ", ".join([f"_{name}" for name in names])
        values = ", ".join([f"({', '.join('?' * len(names))})"] * count)
        same = " AND ".join([self._same(name, f"_{name}", dialect) for name in names])
        made = (
            f"WITH {_ASKED} ({asked}) AS (VALUES {values}) SELECT {columns or self.column_list} "
            f"FROM {_ASKED} {dialect.each.format(table=self.name, where=f'{same} AND {where}')}"
        )
        return f"{made} ORDER BY {order}" if order else made

    def each_or_none(self, where: str, dialect: Dialect) -> str:
        """Joins to each row before it the row of this relation, or NULLs if there is none."""
        return dialect.each_or_none.format(table=self.name, where=where)

    def _same(self, name: str, value: str, dialect: Dialect) -> str:
        return dialect.is_id(name, value) if name in self.ids else f"{name} = {value}"

    def check(self, row: Sequence[object], *, known: int = 0) -> None:
        """Raise if a database would not take a row, which is given without the application's id.

        Args:
            row: The row.
            known: How many of its first values are the library's own: an error does not count them.

        Raises:
            ValueError: A value is not of its column's kind, or there are too few or too many.
        """
        if len(row) != len(self.columns) - 1:
            named = ", ".join([column.name for column in self.columns[1 + known :]])
            message = f"{self.name}: a value for each of {named}, not {len(row) - known} values"
            raise ValueError(message)
        for column, value in zip(self.columns[1:], row, strict=True):
            if not (column.nullable if value is None else fits(column.kind, value)):
                message = f"{self.name}.{column.name}: {column.kind}, not {value!r}"
                raise ValueError(message)
        for columns in self._may_be_too_long:
            whole = (0, *row)
            if sum([size_in_index(each.kind, whole[at]) for at, each in columns]) > _MOST_INDEXED:
                named = ", ".join([e.name for _, e in columns if e.kind in VARYING])
                message = f"{self.name}.{named}: too long for an index; use the kind id"
                raise ValueError(message)

    def values(self, row: Sequence[object]) -> tuple[object, ...]:
        """A row as the database takes it; it costs the garbage collector nothing."""
        adapted = list(row)
        for index, adapt in self._adapted:
            if adapted[index] is not None:
                adapted[index] = adapt(adapted[index])
        return tuple(adapted)

    def given(self, row: Sequence[Any]) -> list[Any]:
        """A row of the database as it was given, so that another database can take it."""
        return [
            as_given(column.kind, value) for column, value in zip(self.columns, row, strict=True)
        ]

    @cached_property
    def _adapted(self) -> Sequence[tuple[int, Callable[[Any], object]]]:
        kinds = [(i, ADAPT.get(column.kind)) for i, column in enumerate(self.columns)]
        return [(index, adapt) for index, adapt in kinds if adapt is not None]


def _picked(places: Sequence[int]) -> Pick:
    """Picks the values at some places of a row."""
    if len(places) > 1:
        return itemgetter(*places)
    place = places[0] if places else 0
    return itemgetter(slice(place, place + len(places)))  # with one place, it would not be a tuple


APPLICATION_ID = Column("application_id", "integer")
"""The application that a row belongs to: the first column of most tables."""
