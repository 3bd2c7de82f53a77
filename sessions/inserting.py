"""Writing many rows at once, in the way that is fastest on a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.database import Connection, Copying
    from sessions.dialect import Dialect
    from sessions.tables import Table

Write: TypeAlias = "Callable[[Connection], object]"
"""What writes something that is ready, on whatever connection, perhaps later."""

_MANY = 50
"""So many rows at least are copied: it takes round trips of its own."""


class Insert:
    """INSERT of many rows, with what is to be done where a row is there already.

    On SQLite a row costs least by itself. PostgreSQL has work with each statement and each
    parameter: it takes several rows best as one JSON text, at a third of the cost; and many as a
    COPY, at half of that, which nobody can have while a pipeline is open.

    Args:
        table: The relation.
        dialect: The database's.
        conflict: What is to be done where a row is there already.
        copies: Whether many rows that are new may be copied.
    """

    def __init__(
        self, table: Table, dialect: Dialect, conflict: str = "", *, copies: bool = False
    ) -> None:
        self._table = table
        self._packs = dialect.packs
        self._copies = copies and dialect.packs
        self._row = f"{table.insert()} {conflict}"
        columns, typed = table.column_list, table.typed_columns(dialect)
        self._rows = (
            f"INSERT INTO {table.name} ({columns}) SELECT {columns} "
            f"FROM json_to_recordset(?) AS given ({typed}) {conflict}"
        )

    def __call__(
        self,
        connection: Connection,
        rows: Sequence[Sequence[object]] = (),
        new: Sequence[Sequence[object]] = (),
    ) -> None:
        """Write adapted rows, and such as are hardly there already: it costs more if one is."""
        if new and not (self._copies and len(new) >= _MANY and self._copy(connection, new)):
            rows = [*rows, *new]
        if len(rows) == 1:
            connection.execute(self._row, rows[0])
        elif rows and self._packs:
            connection.execute(self._rows, (self._table.as_json(rows),))
        elif rows:
            connection.executemany(self._row, rows)

    def _copy(self, connection: Connection, rows: Sequence[Sequence[object]]) -> bool:
        into = f"{self._table.name} ({self._table.column_list})"
        return cast("Copying", connection).copied(into, rows)


def each(sql: str, rows: Sequence[Sequence[object]]) -> Write:
    """Executes a statement for each row."""
    return lambda connection: connection.executemany(sql, rows)
