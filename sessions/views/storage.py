"""How the views of a projection are kept: a row each, and rows that people can query."""

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
    """How views are kept, a row each.

    Attributes:
        table: Where: a column `application_id`, the key's column, and more.
        to_row: The row of a key and its view, without the application's id. A view waits whose row
            is not what the columns take.
        from_row: The view of such a row.
        always_fits: Whether any row is what the columns take, so that none is checked.
        settled: A view as it is when it is read again, if that may be another than the one that a
            fold made: 0 is a float then, where the field is one. It raises for a view that cannot
            be read again.
    """

    table: Table
    to_row: Callable[[Any, V], Sequence[object]]
    from_row: Callable[[Sequence[Any]], V]
    always_fits: bool = False
    settled: Callable[[V], V] | None = None

    def checked(self) -> Storage[V]:
        """The same, which raises for a row that the columns do not take."""
        if self.always_fits:
            return self

        def to_row(key: Key, view: V) -> Sequence[object]:
            row = self.to_row(key, view)
            self.table.check(row)
            return row

        return replace(self, to_row=to_row)


class Rows(msgspec.Struct, Generic[V], frozen=True):
    """Rows that people can query, any number of them for a view.

    Attributes:
        name: The relation's. Its columns are `application_id`, the view's key, and these:
        columns: What a row has of its own.
        key: The names of those columns that tell the rows of one view apart. A view that makes
            two rows with one key waits, as where its fold fails.
        of: The rows of a view; pure.
        indexes: The columns of further indexes; each begins with `application_id`.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    of: Callable[[V], Iterable[Sequence[object]]]
    indexes: tuple[tuple[str, ...], ...] = ()

    def table(self, key: Column) -> Table:
        """The relation, for views that have such a key."""
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
    """How views are kept as JSON, beside those of their fields that are columns."""
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
