"""The rows of views in a further relation of their projection, beside the views' own rows.

`MadeRows` makes them, and refuses what a database would not take; `ViewRows` writes them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from sessions.sql.inserting import Insert, Write, each

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sessions.keys import Key
    from sessions.sql.dialect import Dialect
    from sessions.sql.tables import Table
    from sessions.views.storage import Rows

V = TypeVar("V")

KeyedRows: TypeAlias = dict[tuple[object, ...], tuple[object, ...]]
"""Rows of one view, as the database takes them, by their keys."""


class MadeRows(Generic[V]):
    """Makes the rows of views in one relation."""

    def __init__(self, rows: Rows[V], table: Table) -> None:
        self._table = table
        self._rows = rows
        kinds = {column.name: column.kind for column in table.columns}
        self._amounts = [at for at, name in enumerate(table.key) if kinds[name] == "money"]

    def of(self, key: Key, view: V, application_id: int = 0) -> KeyedRows:
        """The rows of a view.

        Raises:
            ValueError: A value is not of its column's kind, or two rows have the same key, so that
                one would replace the other.
        """
        rows: KeyedRows = {}
        for made in self._rows.of(view):
            self._table.check((key, *made), known=1)
            row = self._table.values((application_id, key, *made))
            own = self._table.key_of(row)
            if rows.setdefault(own, row) is not row:
                raise self._not_distinct(own)
        if self._amounts:
            self._check_amounts(rows)
        return rows

    def _check_amounts(self, rows: KeyedRows) -> None:
        """Raise if the amounts in two keys are one number to a database, such as 1.1 and 1.10.

        SQLite compares them as floats.
        """
        seen: set[tuple[object, ...]] = set()
        for key in rows:
            as_numbers = list(key)
            for at in self._amounts:
                as_numbers[at] = float(str(key[at]))
            if tuple(as_numbers) in seen:
                raise self._not_distinct(key)
            seen.add(tuple(as_numbers))

    def _not_distinct(self, key: tuple[object, ...]) -> ValueError:
        rule = "a different key for each row of a view"
        return ValueError(f"{self._rows.name}: {rule}, not twice {key[2:]!r}")


class ViewRows:
    """Writes the rows of one relation."""

    def __init__(self, table: Table, dialect: Dialect, *, copies: bool = False) -> None:
        self._insert = Insert(table, dialect, table.upsert(dialect), copies=copies)
        self._delete = f"DELETE FROM {table.name} WHERE {table.where_key(dialect)}"

    def writes(self, changes: Iterable[tuple[KeyedRows, KeyedRows]]) -> Sequence[Write]:
        """Writes that bring the rows of views from what they were before to what they are now."""
        gone: list[Sequence[object]] = []
        other: list[Sequence[object]] = []
        new: list[Sequence[object]] = []
        for old, now in changes:
            gone += [key for key in old if key not in now]
            new += [row for key, row in now.items() if key not in old]
            other += [row for key, row in now.items() if old.get(key, row) != row]
        deleted = [each(self._delete, gone)] if gone else []
        return [*deleted, partial(self._insert, rows=other, new=new)]
