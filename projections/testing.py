"""Test a projection as it is written: given events, when they are folded, then a view.

    from projections.testing import given

    given(SessionOpened(first_session=True), closed).when_folded(ORDERS).then("order-1", expected)

Each fold is also tried in the ways in which it will be run. The views must be the same whether
all events come in one page or in any two, or one by one, with every view kept in a store and read
again in between; a page that is delivered twice must change nothing; no view may be changed in
place; and what a process remembers of other events must change neither a key nor a view, since the
next process does not know it. (A process that has folded the same sessions before may know it.)
"""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from projections.folding import BuildOf, Tracked
from projections.pages import Page
from projections.status import parked
from sessions import rules
from sessions.errors import InvalidValue
from sessions.events import EVENTS, SESSION, Event
from sessions.keys import UNTOLD
from sessions.recorded import Recorded
from sessions.sql.connection import query_on
from sessions.store import SessionStore
from sessions.views import kept
from sessions.views.projection import Projection
from sessions.views.views import Views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sessions.keys import Key

V = TypeVar("V")

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
"""When the first given event happened, if it is not said; each later one a second after it."""

_EVENTS = frozenset(EVENTS.values())
_SECOND = timedelta(seconds=1)
_APPLICATION = 1


@dataclass(frozen=True)
class Folded(Generic[V]):
    """What events were folded into.

    Attributes:
        views: The views by their keys.
        projection: What they were folded by.
    """

    views: Mapping[Key, V]
    projection: Projection[V]

    def then(self, key: Key, view: V) -> Folded[V]:
        """Expect a view.

        Args:
            key: Its key.
            view: What it is.

        Raises:
            AssertionError: There is another one, or none.
        """
        if self._touched(key) != view:
            _fail(f"the view of {key!r} is {self.views[key]}, not {view}")
        return self

    def then_rows(self, relation: str, key: Key, rows: Iterable[Sequence[object]]) -> Folded[V]:
        """Expect the rows that a view becomes in a further relation, in whatever order.

        Args:
            relation: Its name, as in `Rows`.
            key: The view's key.
            rows: What is in its own columns.

        Raises:
            AssertionError: There are others, no event touches the key, or the projection has no
                such rows.
        """
        found = {each.name: each for each in self.projection.rows}.get(relation)
        if found is None:
            _fail(f"{self.projection.name} has no rows {relation!r}")
        made = [tuple(row) for row in found.of(self._touched(key))]
        expected = [tuple(row) for row in rules.several("rows", rows)]
        if len(made) != len(expected) or any(made.count(r) != expected.count(r) for r in made):
            _fail(f"the rows {relation} of {key!r} are {made}, not {expected}")
        return self

    def _touched(self, key: Key) -> V:
        if key not in self.views:
            _fail(f"no event touches {key!r}, but {list(self.views)}")
        return self.views[key]

    def then_nothing(self, key: Key) -> Folded[V]:
        """Expect that no event touches a key.

        Args:
            key: The key.

        Raises:
            AssertionError: One does.
        """
        if key in self.views:
            _fail(f"the view of {key!r} is {self.views[key]}")
        return self


@dataclass(frozen=True)
class Given:
    """A log: events in their envelopes, in order."""

    log: tuple[Recorded, ...] = ()

    def and_given(
        self,
        *events: Event,
        session: str = "order-1",
        at: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Given:
        """What happened next, in this or in another session.

        Args:
            events: The events, in order.
            session: The session's id.
            at: When the first of them happened; if not said, a second after the event before.
            metadata: Who caused them and why, such as `{"actor": "till 3"}`.

        Raises:
            InvalidValue, LimitExceeded: One is no event, the time has no timezone, or the session
                or the metadata are none that a store would take.
        """
        session = rules.text("session", session)
        known = {} if metadata is None else rules.metadata("metadata", metadata)
        log = list(self.log)
        following = log[-1].at + _SECOND if log else AT
        when = following if at is None else rules.moment("at", at)
        for event in events:
            if type(event) not in _EVENTS:
                raise InvalidValue(field="events", rule="events", value=rules.shown(event))
            version = 1 + sum(each.stream_id == session for each in log)
            ids = (_APPLICATION, len(log) + 1, SESSION, session, version)
            log.append(Recorded(*ids, when, when, f"command-{len(log) + 1}", {**known}, event))
            when += _SECOND
        return Given(tuple(log))

    def when_folded(self, projection: Projection[V]) -> Folded[V]:
        """Fold the events, in every way in which they may come.

        Args:
            projection: The projection, in whatever mode.

        Raises:
            AssertionError: They do not all make the same views, a view cannot be kept as the
                projection says, the fold changes the view that it is given, or it or `keys`
                remembers what came before; the message says which, and why.
            Exception: What the fold, or `keys`, raised.
            InvalidValue: What is given is no projection.
        """
        if not isinstance(projection, Projection):
            rule, value = "a Projection", rules.shown(projection)
            raise InvalidValue(field="projection", rule=rule, value=value)
        touched = _touched(projection, self.log)
        alone = _alone(projection, self.log, touched)
        views: dict[Key, V] = {}
        for recorded, keys in zip(self.log, touched, strict=True):
            for key in keys:
                projection.check_key(key, recorded)
                views[key] = _after(projection, views.get(key), recorded)
        again = _alone(projection, self.log, touched)
        for recorded, first, then in zip(self.log, alone, again, strict=True):
            if not _is_same(first, then):
                what = f"the fold of {projection.name} makes {first} of one event alone"
                _fail(f"{what} ({_shown(recorded)}), and {then} after others")
        for pages in _splits(self.log):
            stored = _stored(projection, pages)
            if stored != views:
                sizes = [len(page) for page in pages]
                _fail(f"in pages of {sizes} events the views are {stored}, not {views}")
        return Folded(views, projection)


def given(
    *events: Event,
    session: str = "order-1",
    at: datetime = AT,
    metadata: Mapping[str, Any] | None = None,
) -> Given:
    """What happened in a session, from its beginning.

    Args:
        events: The events, in order.
        session: The session's id.
        at: When the first of them happened; each later one a second after the one before.
        metadata: Who caused them and why, such as `{"actor": "till 3"}`.

    Raises:
        InvalidValue, LimitExceeded: As with `and_given`.
    """
    return Given().and_given(*events, session=session, at=at, metadata=metadata)


def _touched(projection: Projection[Any], log: Sequence[Recorded]) -> list[Sequence[Key]]:
    """The keys of each event, which are of the event alone: whatever was asked for before."""
    before = deepcopy(log)
    alone = [projection.touched(recorded) for recorded in reversed(log)][::-1]
    if log != before:
        _fail(f"keys of {projection.name} changes the event that it is given")
    for recorded, first in zip(log, alone, strict=True):
        then = projection.touched(recorded)
        if set(then) != set(first):
            what = f"the keys that {projection.name} tells of one event ({_shown(recorded)})"
            _fail(f"{what} are {_keys(first)}, and {_keys(then)} after those of others")
    return alone


def _keys(keys: Sequence[Key]) -> str:
    return "none, for it raises" if UNTOLD in keys else str(list(keys))


def _alone(
    projection: Projection[Any], log: Sequence[Recorded], touched: Sequence[Sequence[Key]]
) -> list[object]:
    """What the fold makes of each event alone, the last one first; what it raises is an answer."""

    def answer(recorded: Recorded) -> object:
        try:
            return projection.folded(None, recorded)
        except Exception as error:  # noqa: BLE001  it may need a view
            return repr(error)

    wanted = [recorded if keys else None for recorded, keys in zip(log, touched, strict=True)]
    return [each and answer(each) for each in reversed(wanted)][::-1]


def _shown(recorded: Recorded) -> str:
    return f"{recorded.type} at position {recorded.position}"


def _after(projection: Projection[V], view: V | None, recorded: Recorded) -> V:
    """The view after an event; the one before, of which rows may be there, stays what it was."""
    before = deepcopy(view)
    after = projection.folded(view, recorded)
    if not _is_same(view, before):
        _fail(f"the fold of {projection.name} changes the view that it is given")
    with suppress(Exception):  # one that cannot be kept is told of when it is to be
        after = projection.settled(after)
    _check_rows(projection, after)
    return after


def _check_rows(projection: Projection[V], view: V) -> None:
    """The rows of a view are of the view alone, and leave it as it is."""
    before = deepcopy(view)
    for rows in projection.rows:
        once, again = ([tuple(row) for row in rows.of(view)] for _ in range(2))
        if not _is_same(once, again):
            _fail(f"the rows {rows.name} of one view are {once}, and then {again}")
        if not _is_same(view, before):
            _fail(f"the rows {rows.name} change the view that they are of")


def _is_same(one: object, other: object) -> bool:
    """Whether two values are alike: a float that is no number is not even like itself."""
    return one == other or repr(one) == repr(other)


def _splits(log: Sequence[Recorded]) -> Iterator[list[Sequence[Recorded]]]:
    """All at once, in any two pages, and one by one."""
    yield [log]
    for middle in range(1, len(log)):
        yield [log[:middle], log[middle:]]
    yield [[recorded] for recorded in log]


def _stored(projection: Projection[V], pages: Sequence[Sequence[Recorded]]) -> dict[Key, V]:
    """The views that a store keeps when pages come, each of them twice."""
    kept_so = replace(projection, mode="followed")
    with SessionStore.open("memory:", projections=[kept_so]) as store:
        for page in pages:
            for _ in range(2):
                _deliver(store, kept_so, page)
        for each in parked(store):
            where = f"at position {each.position} ({each.type})"
            _fail(f"{each.projection} of {each.key!r} is parked {where}: {each.error}")
        storage = kept_so.storage
        rows = store.rows(storage.table.select("application_id = ?"), (_APPLICATION,))
        return {row[1]: storage.from_row(row[1:]) for row in rows}


def _deliver(store: SessionStore, projection: Projection[Any], page: Sequence[Recorded]) -> None:
    database = store.recorder.database
    build = kept.builds(store.rows, "current")[projection.name]
    views = Views(projection, _APPLICATION, database.dialect, build=build.number)
    part = Tracked(BuildOf(projection, views), database, build, _APPLICATION)
    with database.writing() as connection:
        until = page[-1].position if page else 0
        part.take(query_on(connection), Page(list(page), until, None))
        part.write(connection)


def _fail(message: str) -> NoReturn:
    raise AssertionError(message)
