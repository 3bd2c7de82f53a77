"""Inline projections: views that are kept in the transaction that appends the events.

This is the write side's half: what a projection has to bring (`Projection`), where projections
are found (the entry point group `customer_sessions.inline`), and how a writer runs them
(`InlineViews`). The projections themselves stand on the read side.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from sessions.events import Recorded
from sessions.schema import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


GROUP = "customer_sessions.inline"

_CACHED_VIEWS = 1024

V = TypeVar("V")
Key = tuple[str | int, ...]


class Projection(msgspec.Struct, Generic[V], frozen=True):
    """A fold of the log into one view for each key.

    Attributes:
        name: What it is called, in the database too.
        version: Raise it when the fold or the table changes: its views are then rebuilt.
        table: Where its views are: a column `application_id`, the columns of the key, and more.
        keys: The keys of the views that an event changes.
        fold: The view after an event; pure. The view is None before the first.
        to_row: A view's row, without the application's id.
        from_row: The view of such a row.
    """

    name: str
    version: int
    table: Table
    keys: Callable[[Recorded], Sequence[Key]]
    fold: Callable[[V | None, Recorded], V]
    to_row: Callable[[V], Sequence[object]]
    from_row: Callable[[Sequence[Any]], V]


@lru_cache
def installed() -> tuple[Projection[Any], ...]:
    """The inline projections of all installed packages, by name."""
    found = [entry.load() for entry in entry_points(group=GROUP)]
    return tuple(sorted(found, key=lambda projection: projection.name))


def names(projections: Iterable[Projection[Any]]) -> str:
    """Projections and their versions as one text, such as "attachments 1, customer_sessions 1"."""
    return ", ".join(f"{projection.name} {projection.version}" for projection in projections)


class InlineViews:
    """The views of one application, as a writer keeps them."""

    def __init__(self, projections: Sequence[Projection[Any]], application_id: int) -> None:
        self._views = [_Views(projection, application_id) for projection in projections]

    def fold(self, connection: sqlite3.Connection, events: Iterable[Recorded]) -> None:
        """Take events into the views."""
        for recorded in events:
            for views in self._views:
                views.fold(connection, recorded)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the views that changed."""
        for views in self._views:
            views.write(connection)

    def forget(self) -> None:
        """Read the views again before the next event: others may have changed them."""
        for views in self._views:
            views.forget()


class _Views:
    def __init__(self, projection: Projection[Any], application_id: int) -> None:
        self._projection = projection
        self._application_id = application_id
        table = projection.table
        self._select = table.select(" AND ".join(f"{name} = ?" for name in table.key))
        self._upsert = table.upsert()
        self._held: OrderedDict[Key, Any] = OrderedDict()
        self._changed: dict[Key, Any] = {}

    def fold(self, connection: sqlite3.Connection, recorded: Recorded) -> None:
        for key in self._projection.keys(recorded):
            view = self._changed.get(key)
            if view is None:
                view = self._held.get(key) or self._read(connection, key)
            self._changed[key] = self._projection.fold(view, recorded)

    def _read(self, connection: sqlite3.Connection, key: Key) -> Any:  # noqa: ANN401
        row = connection.execute(self._select, (self._application_id, *key)).fetchone()
        return None if row is None else self._projection.from_row(row[1:])

    def write(self, connection: sqlite3.Connection) -> None:
        if not self._changed:
            return
        table, to_row = self._projection.table, self._projection.to_row
        rows = [table.values((self._application_id, *to_row(v))) for v in self._changed.values()]
        connection.executemany(self._upsert, rows)
        for key, view in self._changed.items():
            self._held[key] = view
            self._held.move_to_end(key)
        while len(self._held) > _CACHED_VIEWS:
            self._held.popitem(last=False)
        self._changed.clear()

    def forget(self) -> None:
        self._held.clear()
        self._changed.clear()
