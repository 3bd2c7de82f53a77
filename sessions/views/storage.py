"""How the views of a projection are stored: one row each, and rows for people to query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from sessions import documents
from sessions.sql.tables import APPLICATION_ID, Column, Table

if TYPE_CHECKING:
    from sessions.keys import Key

V = TypeVar("V")

_DOCUMENT = Column("document", "json")


class Storage(msgspec.Struct, Generic[V], frozen=True):
    """How views are stored, one row each.

    Attributes:
        table: The relation: a column `application_id`, the key's column, and more.
        to_row: The row of a key and its view, without the application's id. If the row does not fit
            the columns, the key is parked.
        from_row: The view of such a row.
        always_fits: Whether every row fits the columns, so that none is checked.
        settled: A view as it will be when it is read again, if that may differ from what a fold
            made: a 0 in a field for floats is then 0.0. It raises if the view cannot be read again.
    """

    table: Table
    to_row: Callable[[Any, V], Sequence[object]]
    from_row: Callable[[Sequence[Any]], V]
    always_fits: bool = False
    settled: Callable[[V], V] | None = None

    def checked(self) -> Storage[V]:
        """The same, but it raises for a row that does not fit the columns."""
        if self.always_fits:
            return self

        def to_row(key: Key, view: V) -> Sequence[object]:
            row = self.to_row(key, view)
            self.table.check(row)
            return row

        return replace(self, to_row=to_row)


class Rows(msgspec.Struct, Generic[V], frozen=True):
    """A further relation for people to query, with any number of rows for each view.

    Attributes:
        name: The relation's name. Its columns are `application_id`, the view's key, and `columns`.
        columns: The columns that a row has besides.
        key: The names of those columns that tell the rows of one view apart. A view with two rows
            of the same key is parked, as if its fold had failed.
        of: The rows of a view; pure.
        indexes: The columns of further indexes, as those of `Projection`.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    of: Callable[[V], Iterable[Sequence[object]]]
    indexes: tuple[tuple[str, ...], ...] = ()

    def table(self, key: Column) -> Table:
        """The relation, for views with that key."""
        return Table(
            self.name,
            (APPLICATION_ID, key, *self.columns),
            key=(APPLICATION_ID.name, key.name, *self.key),
            indexes=self.indexes,
        )


def as_json(
    name: str,
    key: Column,
    view: type[V],
    columns: Sequence[Column],
    indexes: tuple[tuple[str, ...], ...],
) -> Storage[V]:
    """How views are stored as JSON, beside those of their fields that are columns."""
    names = [column.name for column in columns]
    write = documents.writes(view)
    decode = msgspec.json.Decoder(view).decode
    table = Table(
        name,
        (APPLICATION_ID, key, *columns, _DOCUMENT),
        key=(APPLICATION_ID.name, key.name),
        indexes=indexes,
    )

    def to_row(key: Key, view: V) -> Sequence[object]:
        row = (key, *[getattr(view, name) for name in names], write(view))
        table.check(row)
        return row

    def settled(view: V) -> V:
        return decode(write(view))

    return Storage(table, to_row, lambda row: decode(row[-1]), settled=settled)
