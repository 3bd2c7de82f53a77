"""Inline projections: views that are kept in the transaction that appends the events.

This is the write side's half: what a projection has to bring (`Projection`), where projections
are found (the entry point group `customer_sessions.inline`), and how a writer runs them
(`InlineViews`). The projections themselves stand on the read side.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from sessions.errors import FoldFailed
from sessions.events import Recorded
from sessions.inserting import Insert
from sessions.schema import INLINE_VIEWS, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sessions.database import Connection
    from sessions.dialect import Dialect


GROUP = "customer_sessions.inline"

_CACHED_VIEWS = 1024
_READ_TOGETHER = 500

V = TypeVar("V")
Key = tuple[str | int, ...]


class Projection(msgspec.Struct, Generic[V], frozen=True):
    """A fold of the log into one view for each key.

    Attributes:
        name: What it is called, in the database too.
        version: Raise it when the fold or the table changes: its views are then rebuilt.
        table: Where its views are: a column `application_id`, the columns of the key, and more.
        keys: The keys of the views that an event changes.
            The key's columns must stand behind `application_id` in the table, in this order.
        fold: The view after an event; pure. The view is None before the first.
        to_row: A view's row, without the application's id.
        from_row: The view of such a row.
        begins: Whether an event is the first of its keys, so that there is no view to read.
    """

    name: str
    version: int
    table: Table
    keys: Callable[[Recorded], Sequence[Key]]
    fold: Callable[[V | None, Recorded], V]
    to_row: Callable[[V], Sequence[object]]
    from_row: Callable[[Sequence[Any]], V]
    begins: Callable[[Recorded], bool]


@lru_cache
def installed() -> tuple[Projection[Any], ...]:
    """The inline projections of all installed packages, by name."""
    found = [entry.load() for entry in entry_points(group=GROUP)]
    return tuple(sorted(found, key=lambda projection: projection.name))


def names(projections: Iterable[Projection[Any]]) -> str:
    """Projections and their versions as one text, such as "attachments 1, customer_sessions 1"."""
    return ", ".join(f"{projection.name} {projection.version}" for projection in projections)


def create(
    connection: Connection, projections: Iterable[Projection[Any]], dialect: Dialect
) -> None:
    """Make the relations of projections, and name them to the store's writers."""
    for projection in projections:
        for statement in projection.table.create(dialect):
            connection.execute(statement)
    name_to_writers(connection, projections)


def name_to_writers(connection: Connection, projections: Iterable[Projection[Any]]) -> None:
    """Say which views every writer keeps from now on."""
    for projection in projections:
        row = (projection.name, projection.version)
        connection.execute(INLINE_VIEWS.insert(), row)


class InlineViews:
    """The views of one application, as a writer keeps them; a prefix names other relations."""

    def __init__(
        self,
        projections: Sequence[Projection[Any]],
        application_id: int,
        dialect: Dialect,
        prefix: str = "",
    ) -> None:
        self._views = [_Views(each, application_id, dialect, prefix) for each in projections]

    def fold(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Take events into the views."""
        for views in self._views:
            views.fold(connection, events)

    def write(self, connection: Connection) -> None:
        """Write the views that changed."""
        for views in self._views:
            views.write(connection)

    def catch_up(self, recorded: Recorded) -> None:
        """Take an event that another writer has folded into the views that are held."""
        for views in self._views:
            views.catch_up(recorded)

    def forget(self) -> None:
        """Read the views again before the next event: others may have changed them."""
        for views in self._views:
            views.forget()


class _Views:
    def __init__(
        self, projection: Projection[Any], application_id: int, dialect: Dialect, prefix: str
    ) -> None:
        table = replace(projection.table, name=prefix + projection.table.name)
        self._projection = projection
        self._application_id = application_id
        self._table = table
        self._dialect = dialect
        self._upsert = Insert(table, dialect, table.replace(dialect))
        self._updates_alone = not dialect.packs
        self._update = table.update()
        self._held: OrderedDict[Key, Any] = OrderedDict()
        self._indexed: dict[Key, tuple[object, ...]] = {}
        self._changed: dict[Key, Any] = {}

    def fold(self, connection: Connection, events: Sequence[Recorded]) -> None:
        touched = [(key, event) for event in events for key in self._projection.keys(event)]
        self._bring(connection, touched)
        changed, fold = self._changed, self._projection.fold
        for key, event in touched:
            try:
                changed[key] = fold(changed[key], event)
            except Exception as error:
                where = {"type": event.type, "position": event.position}
                view = self._projection.name
                raise FoldFailed(**where, view=view, reason=repr(error)) from error

    def _bring(self, connection: Connection, touched: Sequence[tuple[Key, Recorded]]) -> None:
        missing = []
        for key, event in touched:
            if key not in self._changed:
                view = self._changed[key] = self._held.get(key)
                if view is None and not self._projection.begins(event):
                    missing.append(key)
        for start in range(0, len(missing), _READ_TOGETHER):
            self._read(connection, missing[start : start + _READ_TOGETHER])

    def _read(self, connection: Connection, keys: Sequence[Key]) -> None:
        columns = self._table.key[1:]
        where = self._table.where_keys(len(keys), self._dialect)
        parameters = (self._application_id, *[part for key in keys for part in key])
        for row in connection.execute(self._table.select(where), parameters):
            self._changed[row[1 : 1 + len(columns)]] = self._projection.from_row(row[1:])

    def write(self, connection: Connection) -> None:
        if not self._changed:
            return
        table, to_row, application = self._table, self._projection.to_row, self._application_id
        upserts, updates = [], []
        for key, view in self._changed.items():
            row = table.values((application, *to_row(view)))
            indexed = table.indexed_values(row)
            if self._updates_alone and self._indexed.get(key) == indexed:
                updates.append(table.update_values(row))
            else:
                upserts.append(row)
            self._hold(key, view, indexed)
        self._upsert(connection, upserts)
        if updates:
            connection.executemany(self._update, updates)
        self._changed = {}

    def catch_up(self, recorded: Recorded) -> None:
        for key in self._projection.keys(recorded):
            view = self._held.get(key)
            if view is not None:
                self._held[key] = self._projection.fold(view, recorded)
                self._indexed.pop(key, None)

    def _hold(self, key: Key, view: Any, indexed: tuple[object, ...]) -> None:  # noqa: ANN401
        self._held[key], self._indexed[key] = view, indexed
        self._held.move_to_end(key)
        if len(self._held) > _CACHED_VIEWS:
            oldest, _ = self._held.popitem(last=False)
            self._indexed.pop(oldest, None)

    def forget(self) -> None:
        self._held.clear()
        self._indexed.clear()
        self._changed = {}
