"""Test a projection in the form given events, when folded, then a view.

    from projections.testing import given

    given(SessionOpened(first_session=True), closed).when_folded(ORDERS).then("order-1", expected)

`when_folded` also tries the fold in all the ways in which it will be run:

- The views must be the same whether all events come in one page, in any two pages, or one by one,
  with every view kept in a store and read again in between.
- A page that is delivered twice must change nothing.
- No view may be changed in place.
- What a process remembers of other events must change neither a key nor a view, since the next
  process does not know it. (That goes unnoticed if the fold remembers only when it is given a
  view, or if the process has folded the same sessions before.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from projections.trying import APPLICATION, fail, tried
from sessions import rules
from sessions.errors import InvalidValue, UndecodableEvent
from sessions.events import EVENTS, SESSION, Event
from sessions.log.mapper import Mapper
from sessions.recorded import Recorded
from sessions.views.projection import Projection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sessions.keys import Key

V = TypeVar("V")

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
"""When the first event happens if you do not say; each later one is a second after the last."""

_EVENTS = frozenset(EVENTS.values())
_MAPPER = Mapper()
_COMMAND = "019aaff1-2640-7000-8000-{:012x}"
"""The id of a command, by its number; each event is of another one."""


@dataclass(frozen=True)
class Folded(Generic[V]):
    """The views that events were folded into, and what to expect of them.

    Attributes:
        views: The views by key.
        projection: The projection that folded them.
    """

    views: Mapping[Key, V]
    projection: Projection[V]

    def then(self, key: Key, view: V) -> Folded[V]:
        """Expect the view of a key.

        Args:
            key: The view's key.
            view: The expected view.

        Raises:
            AssertionError: The key has another view, or none.
        """
        if self._touched(key) != view:
            fail(f"the view of {key!r} is {self.views[key]}, not {view}")
        return self

    def then_rows(self, relation: str, key: Key, rows: Iterable[Sequence[object]]) -> Folded[V]:
        """Expect the rows of a view in a further relation (`Rows`), in any order.

        Args:
            relation: The name of the `Rows`.
            key: The view's key.
            rows: The expected rows, each the values of the columns of the `Rows`.

        Raises:
            AssertionError: The rows are others, no event touches the key, or the projection has
                no `Rows` of that name.
        """
        found = {each.name: each for each in self.projection.rows}.get(relation)
        if found is None:
            fail(f"{self.projection.name} has no rows called {relation!r}")
        made = [tuple(row) for row in found.of(self._touched(key))]
        expected = [tuple(row) for row in rules.several("rows", rows)]
        if len(made) != len(expected) or any(made.count(r) != expected.count(r) for r in made):
            fail(f"the rows {relation} of {key!r} are {made}, not {expected}")
        return self

    def _touched(self, key: Key) -> V:
        if key not in self.views:
            fail(f"no event touches {key!r}, only {list(self.views)}")
        return self.views[key]

    def then_nothing(self, key: Key) -> Folded[V]:
        """Expect that no event touches a key.

        Args:
            key: The key.

        Raises:
            AssertionError: An event touches it.
        """
        if key in self.views:
            fail(f"an event touches {key!r}: its view is {self.views[key]}")
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
        """Add what happened next, in this session or in another one.

        Args:
            events: The events, in order.
            session: The session's id.
            at: When the first of them happened (with a timezone); by default, a second after the
                last event of the log. Each later one happens a second after the one before.
            metadata: Who caused them and why, such as `{"actor": "till 3"}`.

        Raises:
            InvalidValue, LimitExceeded: One is not an event, or none that a store can hold, a time
                has no timezone or is after year 9999, or a store would not take the session's id or
                the metadata.
        """
        session = rules.text("session", session)
        known = {} if metadata is None else rules.metadata("metadata", metadata)
        log = list(self.log)
        first = rules.moment("at", at) if at is not None else self._following
        for count, event in enumerate(events):
            stored = _stored(event)
            version = 1 + sum(each.stream_id == session for each in log)
            when = _seconds_after(first, count)
            ids = (APPLICATION, len(log) + 1, SESSION, session, version)
            log.append(Recorded(*ids, when, when, _COMMAND.format(len(log) + 1), {**known}, stored))
        return Given(tuple(log))

    @property
    def _following(self) -> datetime:
        """When the next event happens, if nobody says."""
        return _seconds_after(self.log[-1].at, 1) if self.log else AT

    def when_folded(self, projection: Projection[V]) -> Folded[V]:
        """Fold the events, in every way in which they may be delivered.

        Args:
            projection: The projection, in any mode.

        Raises:
            AssertionError: Not all ways make the same views, a view cannot be kept as the
                projection says, the fold changes the view that it is given, or the fold or `keys`
                remembers earlier events. The message says which, and why.
            Exception: Whatever the fold or `keys` raised.
            InvalidValue: `projection` is not a `Projection`.
        """
        if not isinstance(projection, Projection):
            rule, value = "a Projection", rules.shown(projection)
            raise InvalidValue(field="projection", rule=rule, value=value)
        return Folded(tried(projection, self.log), projection)


def given(
    *events: Event,
    session: str = "order-1",
    at: datetime = AT,
    metadata: Mapping[str, Any] | None = None,
) -> Given:
    """A log that begins with these events of one session.

    Args:
        events: The events, in order.
        session: The session's id.
        at: When the first of them happened (with a timezone). Each later one happens a second
            after the one before.
        metadata: Who caused them and why, such as `{"actor": "till 3"}`.

    Raises:
        InvalidValue, LimitExceeded: As with `and_given`.
    """
    return Given().and_given(*events, session=session, at=at, metadata=metadata)


def _stored(event: Event) -> Event:
    """An event as it is once it was stored and read again."""
    if type(event) not in _EVENTS:
        raise InvalidValue(field="events", rule="event instances", value=rules.shown(event))
    try:
        return _MAPPER.decode(*_MAPPER.encode(event), where=0)
    except (UndecodableEvent, TypeError, ValueError, RecursionError) as error:
        reason = error.reason if isinstance(error, UndecodableEvent) else error
        rule, value = "events that a store can hold", f"{rules.shown(event)}: {reason}"
        raise InvalidValue(field="events", rule=rule, value=value) from error


def _seconds_after(at: datetime, count: int) -> datetime:
    try:
        return at + timedelta(seconds=count)
    except OverflowError:
        rule = "a time from year 1 to 9999 in UTC"
        raise InvalidValue(field="at", rule=rule, value=f"{count} s after {at}") from None
