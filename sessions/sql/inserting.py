"""Writing many rows at once, in the way that is fastest on each database."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sessions.sql.connection import Connection, Copying
    from sessions.sql.dialect import Dialect
    from sessions.sql.tables import Table

Write: TypeAlias = "Callable[[Connection], object]"
"""A write that is ready to be executed, on any connection, perhaps later."""

_MANY = 50
"""The least number of rows for a COPY, which takes round trips of its own."""

_TOGETHER = (256, 64, 16, 8)
"""The sizes of statements for many rows; for fewer than the last there is one of each size. There
are not too many of them, because a server plans each once and keeps it."""

_MOST_VALUES = 65_535
"""How many values PostgreSQL takes with a statement."""


class Insert:
    """INSERT of many rows, with what to do if a row is there already.

    On SQLite a row costs least by itself. PostgreSQL has work with each statement: several rows are
    cheapest in one statement, at three quarters of the cost, and many as a COPY, at half of that;
    but a COPY cannot be sent together with other statements.

    Args:
        table: The relation.
        dialect: The database's.
        conflict: What to do if a row is there already.
        copies: Whether many new rows may be copied.
    """

    def __init__(
        self, table: Table, dialect: Dialect, conflict: str = "", *, copies: bool = False
    ) -> None:
        self._table = table
        self._joins = dialect.joins_rows
        self._copies = copies and dialect.joins_rows
        self._conflict = conflict
        most = _MOST_VALUES // len(table.columns)
        self._sizes = [size for size in _TOGETHER if size <= most]
        self._row = f"{table.insert()} {conflict}"
        self._joined: dict[int, str] = {}

    def __call__(
        self,
        connection: Connection,
        rows: Sequence[Sequence[object]] = (),
        new: Sequence[Sequence[object]] = (),
    ) -> None:
        """Write adapted rows; those in `new` should not be there yet: it costs more if one is."""
        if new and not (self._copies and len(new) >= _MANY and self._copy(connection, new)):
            rows = [*rows, *new]
        if self._joins:
            for part in self._parts(rows):
                connection.execute(self._of(len(part)), list(chain.from_iterable(part)))
        elif rows:
            connection.executemany(self._row, rows)

    def _parts(self, rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
        while rows:
            size = next((size for size in self._sizes if size <= len(rows)), len(rows))
            yield rows[:size]
            rows = rows[size:]

    def _of(self, count: int) -> str:
        """INSERT of `count` rows."""
        sql = self._joined.get(count)
        if sql is None:
            sql = self._joined[count] = f"{self._table.insert(count)} {self._conflict}"
        return sql

    def _copy(self, connection: Connection, rows: Sequence[Sequence[object]]) -> bool:
        into = f"{self._table.name} ({self._table.column_list})"
        return cast("Copying", connection).copied(into, rows)


def each(sql: str, rows: Sequence[Sequence[object]]) -> Write:
    """Executes a statement for each row."""
    return lambda connection: connection.executemany(sql, rows)
