"""The rows that views become in a further relation of their projection, beside their own row."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sessions.inserting import Insert, Write, each

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sessions.dialect import Dialect
    from sessions.projection import Key, Rows
    from sessions.tables import Table

V = TypeVar("V")


class ViewRows(Generic[V]):
    """Makes and writes the rows of one relation, in one application."""

    def __init__(
        self,
        rows: Rows[V],
        table: Table,
        application_id: int,
        dialect: Dialect,
        *,
        copies: bool = False,
    ) -> None:
        self._table = table
        self._rows = rows
        self._application_id = application_id
        self._insert = Insert(table, dialect, table.replace(dialect), copies=copies)
        self._delete = f"DELETE FROM {table.name} WHERE {table.where_key(dialect)}"

    def of(self, key: Key, view: V) -> list[tuple[object, ...]]:
        """The rows of a view."""
        made = [(key, *row) for row in self._rows.of(view)]
        for row in made:
            self._table.check(row)
        return [self._table.values((self._application_id, *row)) for row in made]

    def writes(self, changes: Iterable[tuple[Sequence[Any], Sequence[Any]]]) -> Sequence[Write]:
        """What writes the rows that views have and had not before, and deletes those they had."""
        gone: list[Sequence[object]] = []
        other: list[Sequence[object]] = []
        new: list[Sequence[object]] = []
        for before, after in changes:
            old = {self._table.key_of(row): row for row in before}
            now = {self._table.key_of(row): row for row in after}
            gone += [key for key in old if key not in now]
            new += [row for key, row in now.items() if key not in old]
            other += [row for key, row in now.items() if old.get(key, row) != row]
        deleted = [each(self._delete, gone)] if gone else []
        return [*deleted, partial(self._insert, rows=other, new=new)]
