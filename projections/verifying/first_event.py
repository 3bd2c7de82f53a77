"""Which is the first event at which a view differs from what the log says?

The events of the views that differ are folded one by one. If the stored value is what the view was
after some event, the next event is the first one that is missing. Otherwise the first event is the
one that made the view what it should be. A row that no event ever made has no first event.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from projections.known import come, parked_keys
from projections.pages import read_events
from projections.verifying.verification import Moved
from sessions.claims import CLAIMING, released_by, taken_by
from sessions.sql import schema
from sessions.sql.tables import APPLICATION_ID
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from projections.verifying.difference import Difference
    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.sql.tables import Column, Table
    from sessions.store import SessionStore
    from sessions.views.projection import Projection

_CLAIMS = {table.name: table for table in schema.OF_CLAIMS}
_NO_ROW = "no row"
_POSITION = [column for column in schema.PARKED.key if column != "application_id"].index("position")


def with_first_events(store: SessionStore, found: Sequence[Difference]) -> list[Difference]:
    """Differences in the order of the log, each with the position of its first event.

    Raises:
        Moved: A projection that differs is no longer kept.
    """
    of_table = {table.name: (each, table) for each in store.projections for table in each.tables}
    histories: list[_History] = []
    named: list[Difference] = []
    for difference in found:
        if difference.relation in of_table:
            histories.append(_ViewHistory(*of_table[difference.relation], difference))
        elif difference.relation in _CLAIMS:
            histories.append(_ClaimHistory(difference))
        elif difference.relation == schema.PARKED.name:
            named.append(replace(difference, position=_position(difference.key[_POSITION])))
        else:
            named.append(difference)
    if histories:
        _replay(store, histories)
    named += [replace(each.difference, position=each.first()) for each in histories]
    return sorted(named, key=lambda each: (each.position is None, each.position or 0))


def _replay(store: SessionStore, histories: Sequence[_History]) -> None:
    """Read the log once, and show each history the events that its view is folded from."""
    of_view: dict[tuple[str, object], list[_ViewHistory]] = {}
    of_views = [history for history in histories if isinstance(history, _ViewHistory)]
    of_limits: dict[tuple[object, ...], list[_ClaimHistory]] = {}
    for history in histories:
        if isinstance(history, _ClaimHistory):
            of_limits.setdefault(history.difference.key, []).append(history)
    projections = {history.projection.name: history.projection for history in of_views}
    for history in of_views:
        view = (history.projection.name, history.difference.key[0])
        of_view.setdefault(view, []).append(history)
    reaches = {name: _Reach(store, name) for name in projections}
    for recorded in read_events(store, store.rows):
        if of_limits and type(recorded.event) in CLAIMING:
            _show(of_limits, recorded)
        for name, projection in projections.items():
            for key in projection.touched(recorded):
                if reaches[name].has(key, recorded.position):
                    for history in of_view.get((name, key), ()):
                        history.take(recorded)


def _show(
    of_limits: Mapping[tuple[object, ...], Sequence[_ClaimHistory]], recorded: Recorded
) -> None:
    """Show an event to the histories of the limits that it takes or releases."""
    released = {claim.limit for claim in released_by(recorded.event)}
    taken = {claim.limit for claim in taken_by(recorded.event)}
    for limit in released | taken:
        for key in ((limit,), (limit, recorded.stream_id)):
            for history in of_limits.get(key, ()):
                history.note(recorded, is_taken=limit in taken)


class _Reach:
    """How far the views of a projection have come: as a whole, and for each parked key."""

    def __init__(self, store: SessionStore, name: str) -> None:
        query = store.rows
        build = kept.builds(query, "current").get(name)
        if build is None:  # somebody has dropped it since it was compared
            raise Moved
        keys = parked_keys(store, build)
        self._until = come(store, build, query)
        waiting = keys.waiting(query).items()
        self._waiting = {key: at for key, at in waiting if _position(at) is not None}
        self._skipped = keys.skipped(query)

    def has(self, key: Key, position: int) -> bool:
        """Whether an event has been folded into a view."""
        until = min(self._until, self._waiting.get(str(key), self._until + 1) - 1)
        return position <= until and (str(key), position) not in self._skipped


class _History:
    """What a differing value should have been after each event that it is made from."""

    def __init__(self, table: Table, difference: Difference) -> None:
        columns = {column.name: column for column in table.columns}
        self.difference = difference
        self._table = table
        self._column = columns.get(difference.column)
        self._values: list[tuple[int, object]] = [(0, _NO_ROW)]

    def first(self) -> int | None:
        """The first event at which what is stored is not what it should be."""
        stored, expected = self.difference.stored, self.difference.expected
        if self._column is None:  # a whole row
            stored, expected = [_NO_ROW if each is None else each for each in (stored, expected)]
        stored, expected = _plain(self._column, stored), _plain(self._column, expected)
        for number in range(len(self._values) - 2, -1, -1):
            if self._values[number][1] == stored:
                return self._values[number + 1][0]
        if self._column is None and all(value is _NO_ROW for _, value in self._values):
            return None  # no event ever made such a row
        since = None
        for position, value in reversed(self._values[1:]):
            if value != expected:
                break
            since = position
        return since


class _ClaimHistory(_History):
    """What a limit should have been after each event that takes or releases a claim on it."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(_CLAIMS[difference.relation], difference)
        self._is_of_one = len(difference.key) > 1
        self._holders: set[str] = set()

    def note(self, recorded: Recorded, *, is_taken: bool) -> None:
        """Take in an event that takes a claim on the limit, or only releases one."""
        if is_taken:
            self._holders.add(recorded.stream_id)
        else:
            self._holders.discard(recorded.stream_id)
        self._values.append((recorded.position, self._value()))

    def _value(self) -> object:
        if self._is_of_one and not self._holders:
            return _NO_ROW
        return "a row" if self._column is None else len(self._holders)


class _ViewHistory(_History):
    """What a value of a view should have been after each event of the view."""

    def __init__(self, projection: Projection[Any], table: Table, difference: Difference) -> None:
        super().__init__(table, difference)
        columns = {column.name: column for column in table.columns}
        self.projection = projection
        self._key_columns = [columns[name] for name in table.key if name != APPLICATION_ID.name]
        self._key = self._plain_key(difference.key)
        self._rows = next((r for r in projection.rows if r.name == table.name), None)
        self._view: Any = None

    def take(self, recorded: Recorded) -> None:
        """Take in an event of the view; one that cannot be folded changes nothing."""
        before = self._view
        try:
            self._view = self.projection.after(before, recorded)
            value = self._value()
        except Exception:  # noqa: BLE001  its key is parked
            self._view = before
        else:
            self._values.append((recorded.position, value))

    def _value(self) -> object:
        keyed = ((self._plain_key(self._table.key_of(row)[1:]), row) for row in self._all_rows())
        row = next((row for key, row in keyed if key == self._key), None)
        if row is None or self._column is None:
            return _NO_ROW if row is None else "a row"
        names = [column.name for column in self._table.columns]
        return _plain(self._column, row[names.index(self._column.name)])

    def _plain_key(self, key: Sequence[object]) -> list[object]:
        return [_plain(column, each) for column, each in zip(self._key_columns, key, strict=True)]

    def _all_rows(self) -> Iterator[Sequence[object]]:
        view, key = self._view, self.difference.key[0]
        if self._rows is None:
            yield self._table.values((0, *self.projection.storage.to_row(key, view)))
        else:
            for row in self._rows.of(view):
                yield self._table.values((0, key, *row))


def _position(value: object) -> int | None:
    """A value as a position, if it is one: SQLite stores any value in any column."""
    return value if isinstance(value, int) else None


def _plain(column: Column | None, value: Any) -> object:  # noqa: ANN401  any database's
    """A value in one form for all databases; a value that cannot be read stays as it is."""
    if column is None or value is None:
        return value
    with suppress(ValueError, TypeError, ArithmeticError):
        if column.kind == "money" and (amount := Decimal(str(value))).is_finite():
            return float(amount)  # as SQLite stores it
        if column.kind == "time":
            return datetime.fromisoformat(value)
    return value
