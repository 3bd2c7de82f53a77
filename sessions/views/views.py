"""The views of one build of a projection, as a writer, a runner or a rebuild folds them.

Events are folded in memory, and the rows are made, before anything is written: when a fold raises
and parks its key, no statement of the transaction has been executed yet.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sessions.keys import is_reserved
from sessions.sql.inserting import Insert, Write, each
from sessions.views.again import again, check_memory
from sessions.views.held_views import HeldViews
from sessions.views.parked import ParkedKeys
from sessions.views.view_rows import KeyedRows, ViewRows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.sql.connection import Connection, Query
    from sessions.sql.dialect import Dialect
    from sessions.views.projection import Projection

V = TypeVar("V")

logger = logging.getLogger(__name__)

HELD = 1024
"""How many views are held in memory by default."""
_READ_TOGETHER = 500
_REASON = 1000
"""How many characters of a fold's error are kept."""


class Views(Generic[V]):
    """The views of a projection in one application.

    Args:
        projection: The projection.
        application_id: The application.
        dialect: The database's.
        build: The number of the build, by which its parked keys are known.
        suffix: What is added to the names of its relations, if they are built beside the current
            ones; only keys that are parked in current ones are logged.
        parked: Where its parked keys are, if not with all others.
        held: How many views are held in memory.
        copies: Whether many rows that are new may be copied (see `Insert`).
    """

    def __init__(  # noqa: PLR0913  all but the first three have defaults
        self,
        projection: Projection[V],
        application_id: int,
        dialect: Dialect,
        *,
        build: int = 0,
        suffix: str = "",
        parked: ParkedKeys | None = None,
        held: int = HELD,
        copies: bool = False,
    ) -> None:
        table = projection.storage.table.beside(suffix)
        self.projection = projection
        self._parked_keys = parked or ParkedKeys(application_id, projection.name, build, dialect)
        self._application_id = application_id
        self._table = table
        self._dialect = dialect
        self._is_beside = bool(suffix)
        self._upsert = Insert(table, dialect, table.upsert(dialect), copies=copies)
        self._updates_alone = not dialect.joins_rows
        self._update = table.update(dialect)
        self._rows = [
            ViewRows(table.beside(suffix), dialect, copies=copies)
            for table in projection.tables[1:]
        ]
        self._held = HeldViews(projection, held)
        self._waiting: dict[str, int] | None = None
        self._skipped: set[tuple[str, int]] = set()
        self._begin()

    def _begin(self) -> None:
        self._before: dict[Key, V | None] = {}
        self._changed: dict[Key, V | None] = {}
        self._made: dict[Key, _Made[V]] = {}
        self._parked: dict[Key, tuple[Recorded, str]] = {}

    @property
    def parks(self) -> bool:
        """Whether folding has parked a key that is not written yet."""
        return bool(self._parked)

    def fold(
        self, query: Query, events: Sequence[Recorded], *, only: Collection[str] | None = None
    ) -> None:
        """Fold events into the views, or into those of the keys in `only`, and make their rows.

        A fold that raises parks its key, and what it made of the events before is kept. So does a
        view that cannot be stored, even one between two events that are folded together: whether a
        key is parked depends on its events, not on the pages in which they come.
        """
        touched: Mapping[Key, Sequence[Recorded]] = self.projection.by_key(events)
        if touched:
            touched = self._not_left_out(query, touched, only)
        if not touched:
            return
        self._bring(query, touched)
        for key, events_of in touched.items():
            if key not in self._parked:
                self._fold(key, events_of)

    def _fold(self, key: Key, events: Sequence[Recorded]) -> None:
        view, after = self._changed[key], self.projection.after
        check = None if self.projection.always_fits else self.projection.check_kept
        try:
            for event in events:
                before, view = view, after(view, event)
                if check and view is not before and event is not events[-1]:
                    check(key, view)
            if view is not None and view is not self._before[key]:
                self._made[key] = self._made_of(key, view)
        except Exception as error:  # noqa: BLE001  the key's, if it is raised again
            again(partial(self._make_as_far_as_it_goes, key, events), error)
        else:
            self._changed[key] = view

    def _not_left_out(
        self,
        query: Query,
        touched: Mapping[Key, Sequence[Recorded]],
        only: Collection[str] | None,
    ) -> Mapping[Key, Sequence[Recorded]]:
        """The events that are asked for, without those of parked keys and skipped ones."""
        if self._waiting is None:
            self._waiting = self._parked_keys.waiting(query)
            self._skipped = self._parked_keys.skipped(query)
        if only is not None:
            touched = {key: found for key, found in touched.items() if str(key) in only}
        if not self._waiting and not self._skipped:
            return touched
        left = {
            key: [event for event in found if not self._is_left_out(str(key), event)]
            for key, found in touched.items()
        }
        return {key: found for key, found in left.items() if found}

    def _is_left_out(self, key: str, event: Recorded) -> bool:
        waiting = self._waiting is not None and key in self._waiting
        return waiting or (key, event.position) in self._skipped

    def _bring(self, query: Query, touched: Mapping[Key, Sequence[Recorded]]) -> None:
        missing, begun_by = [], self.projection.is_begun_by
        for key, (event, *_) in touched.items():
            if key not in self._changed:
                view = self._changed[key] = self._before[key] = self._held.get(key)
                if view is None and self._is_key(key, event) and not begun_by(event):
                    missing.append(key)
        unreadable: dict[Key, str] = {}
        for start in range(0, len(missing), _READ_TOGETHER):
            unreadable |= self._read(query, missing[start : start + _READ_TOGETHER])
        for key, reason in unreadable.items():
            self._parked.setdefault(key, (touched[key][0], reason))

    def _is_key(self, key: Key, event: Recorded) -> bool:
        """Whether this can be a key; a session's id can. What cannot is parked."""
        if self.projection.is_of_session or not is_reserved(key):
            return True
        try:
            self.projection.told.check(key, event)
        except Exception as error:  # noqa: BLE001  as a fold's
            self._parked[key] = event, _reason(error)
            return False
        return True

    def _read(self, query: Query, keys: Sequence[Key]) -> dict[Key, str]:
        """Read views; return those that cannot be read, each with the reason."""
        named = self._table.key[1:]
        asked = self._table.select_each(named, len(keys), self._dialect, "application_id = ?")
        unreadable: dict[Key, str] = {}
        read = self.projection.storage.from_row
        for row in query(asked, (*keys, self._application_id)):
            try:
                view = read(row[1:])
            except Exception as first:  # noqa: BLE001  the row's, if it is raised again
                try:
                    view = again(partial(read, row[1:]), first)
                except Exception as error:  # noqa: BLE001  as a fold's
                    check_memory(error)
                    unreadable[row[1]] = _reason(error)
                    continue
            self._changed[row[1]] = self._before[row[1]] = view
        return unreadable

    def _make_as_far_as_it_goes(self, key: Key, events: Sequence[Recorded]) -> None:
        """Fold again, one event at a time; park the key at the event to blame, if there is one."""
        view = self._changed[key] = self._before[key]
        for event in events:
            try:
                view = self.projection.after(view, event)
                self._made[key] = self._made_of(key, view)
            except Exception as error:  # noqa: BLE001  whatever a fold raises parks its key
                check_memory(error)
                self._parked[key] = event, _reason(error)
                return
            self._changed[key] = view

    def _made_of(self, key: Key, view: V) -> _Made[V]:
        row, before = self.projection.storage.to_row(key, view), self._before[key]
        of = self._application_id
        rows = [
            ({} if before is None else made.of(key, before, of), made.of(key, view, of))
            for made in self.projection.made_rows
        ]
        return view, self._table.values((of, *row)), tuple(rows)

    def write(self, connection: Connection) -> None:
        """Write the views that changed, and the keys that are parked."""
        for write in self.writes():
            write(connection)

    def writes(self) -> Sequence[Write]:
        """The writes of changed views and then of parked keys.

        To this object they are done: more may be folded before they are executed.
        """
        if not self._changed:
            return ()
        upserts, updates, new = [], [], []
        for key, (view, row, _) in self._made.items():
            indexed = self._table.indexed_values(row)
            if self._updates_alone and self._held.is_indexed_as(key, indexed):
                updates.append(self._table.update_values(row))
            elif self._before[key] is None:
                new.append(row)
            else:
                upserts.append(row)
            self._held.hold(key, view, indexed)
        writes: list[Write] = []
        if upserts or new:
            writes.append(partial(self._upsert, rows=upserts, new=new))
        if updates:
            writes.append(each(self._update, updates))
        for number, rows in enumerate(self._rows):
            writes += rows.writes([changes[number] for _, _, changes in self._made.values()])
        if self._parked:
            writes.append(self._park())
        self._begin()
        return writes

    def _park(self) -> Write:
        parked = [(key, event, reason) for key, (event, reason) in self._parked.items()]
        for key, event, reason in () if self._is_beside else parked:
            what = (self.projection.name, key, event.position, event.type, reason)
            logger.warning("%s of %r is parked at position %d (%s): %s", *what)
        self._waiting = (self._waiting or {}) | {str(k): e.position for k, e, _ in parked}
        return partial(self._parked_keys.write, parked=parked)

    def touched_by(self, rows: Sequence[Sequence[Any]]) -> set[int]:
        """Of rows of a log, the positions of those events that may change a held view."""
        return self._held.touched_by(rows)

    def catch_up(self, recorded: Recorded) -> None:
        """Fold an event that another writer recorded into the held views."""
        self._held.catch_up(recorded)

    def forget(self) -> None:
        """Read the views again before the next event: others may have changed them."""
        self._held.forget()
        self._waiting = None
        self._begin()


_Made = tuple[V, tuple[object, ...], tuple[tuple[KeyedRows, KeyedRows], ...]]
"""A view, its row, and its rows in each further relation: those before and those now."""


def _reason(error: Exception) -> str:
    """An error as a text that every database takes: its own text may be anything."""
    try:
        shown = repr(error)
    except Exception:  # noqa: BLE001  its `__repr__` fails too
        shown = type(error).__name__
    return shown.encode(errors="backslashreplace").decode().replace("\0", "\\0")[:_REASON]
