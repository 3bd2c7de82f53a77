"""Reading a store: its log and its streams, lazily and in pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from sessions import rules
from sessions.errors import InvalidValue
from sessions.events import EVENTS, SESSION
from sessions.log.mapper import HAPPENED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from sessions.events import Event
    from sessions.log.mapper import Mapper
    from sessions.log.recorder import SessionRecorder
    from sessions.recorded import Happened, Recorded

_LONG = 1000
"""How many events of one stream are read at once."""


class StoreReader(ABC):
    """Reads what happened, in order. Between two pages no lock is held and no transaction open."""

    recorder: SessionRecorder
    mapper: Mapper

    @abstractmethod
    def _asked(
        self,
        query: Callable[..., list[Any]],
        sql: str,
        parameters: Sequence[object],
        *,
        passing: bool,
    ) -> list[tuple[Any, ...]]:
        """All rows of one SELECT: from `query`, unless an open batch or the like has to answer."""

    def rows(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[tuple[Any, ...]]:
        """All rows, as tuples, of one of this library's own SELECTs; it is not checked."""
        return self._asked(self.recorder.database.query, sql, parameters, passing=passing)

    @property
    def position(self) -> int:
        """The end of the log: the position of the newest event, 0 if there is none.

        Raises:
            StoreNotFound: The store was opened with `read_only=True`, and does not exist yet.
        """
        return self.recorder.head(self.rows).position

    def events(
        self,
        session_id: str,
        *,
        after: int = 0,
        until: int | None = None,
        as_of: datetime | None = None,
        position: int | None = None,
    ) -> Iterator[Recorded]:
        """A session's events in order, read lazily in pages.

        Args:
            session_id: The session; one that does not exist has no events.
            after: The version after which to begin.
            until: The last version; None reads to the end.
            as_of: Only events that happened up to this time, by their `at`.
            position: Only events up to this position of the log.

        Raises:
            InvalidValue: `session_id` is no id, `after`, `until` or `position` is not a whole
                number from 0, or `as_of` has no timezone.
            LimitExceeded: `session_id` has over 1000 characters, or a number over 63 bits.
            UnknownEvent: A newer library wrote one.
            UndecodableEvent: The data of one does not fit its shape.
        """
        rules.text("integrationId", session_id)
        _check_counts(after=after, until=until, position=position)
        as_of = rules.as_of(as_of)
        return self._events(session_id, after, until=until, as_of=as_of, position=position)

    def _events(
        self,
        session_id: str,
        after: int,
        **bounds: Any,  # noqa: ANN401  those of `events`
    ) -> Iterator[Recorded]:
        read = partial(self.recorder.stream_rows, self.rows, SESSION, session_id, limit=_LONG)
        while True:
            rows = read(after=after, **bounds)
            yield from self.mapper.recorded(self.recorder.application_id, rows)
            if len(rows) < _LONG:
                return
            after = rows[-1][3]

    def happened(
        self,
        session_id: str,
        *,
        until: int | None = None,
        as_of: datetime | None = None,
        position: int | None = None,
    ) -> Iterable[Happened]:
        """`events` for a fold of the session: the first page is read without what no fold needs."""
        rows = self.recorder.stream_rows(
            self.rows,
            SESSION,
            session_id,
            until=until,
            as_of=as_of,
            position=position,
            limit=_LONG,
            columns=HAPPENED,
        )
        happened = self.mapper.happened(session_id, rows)
        if happened is not None and len(rows) < _LONG:
            return happened
        after = 0 if happened is None else len(rows)
        rest = self.events(session_id, after=after, until=until, as_of=as_of, position=position)
        return chain(happened or (), map(_of, rest))

    def streams(
        self, *, position: int, as_of: datetime | None = None
    ) -> Iterable[tuple[str, Iterator[Happened]]]:
        """Each session's id and events, for a fold: one session after the other, read in pages.

        The events of one are gone when the next is asked for.

        Args:
            position: Only events up to this position of the log, so that all pages see the same
                log.
            as_of: Only events that happened up to this time, by their `at`.

        Raises:
            UnknownEvent: A newer library wrote one.
            UndecodableEvent: The data of one does not fit its shape.
        """
        pages = self._pages_of_streams(position, as_of)
        return groupby(chain.from_iterable(pages), key=itemgetter(0))

    def _pages_of_streams(
        self, position: int, as_of: datetime | None
    ) -> Iterator[Iterable[Happened]]:
        query, page = partial(self.rows, passing=True), self.recorder.database.page
        after, more = ("", 0), True
        while more:
            rows = self.recorder.streams_rows(
                query, SESSION, after, page, as_of=as_of, position=position
            )
            yield self.mapper.streams(rows) or self._unread(rows)
            more = len(rows) == page
            after = rows[-1][:2] if rows else after

    def _unread(self, rows: Sequence[Sequence[Any]]) -> Iterator[Happened]:
        """The events of a page that cannot be decoded, up to the one that is to blame."""
        for stream_id, version, *_ in rows:
            yield from map(_of, self.events(stream_id, after=version - 1, until=version))

    def log(
        self, after: int = 0, *, until: int | None = None, types: Iterable[str | type[Event]] = ()
    ) -> Iterator[Recorded]:
        """The application's events in order, read lazily in pages; none after the log's end.

        Events of other categories, which applications of eventsourcing write, are left out.

        Args:
            after: The position after which to begin.
            until: The last position; None reads to the end.
            types: The only events to read, by class or by name, such as "SessionClosed"; all if
                empty.

        Raises:
            InvalidValue: `after` or `until` is not a whole number from 0, or no event has such a
                name.
            LimitExceeded: A number has over 63 bits.
            UnknownEvent: A newer library wrote one.
            UndecodableEvent: The data of one does not fit its shape.
        """
        _check_counts(after=after, until=until)
        return self._log(after, until, names_of(types))

    def log_without(
        self, unwanted: Sequence[str], after: int = 0, *, until: int | None = None
    ) -> Iterator[Recorded]:
        """`log` without some types; types that this process does not know are still in it."""
        return self._log(after, until, unwanted, other=True)

    def _log(
        self, after: int, until: int | None, types: Sequence[str], *, other: bool = False
    ) -> Iterator[Recorded]:
        query, page = partial(self.rows, passing=True), self.recorder.database.page
        while True:
            rows = self.recorder.log_rows(query, after, page, until, types, other=other)
            yield from self.mapper.recorded(self.recorder.application_id, of_sessions(rows))
            if len(rows) < page:
                return
            after = rows[-1][0]


def _check_counts(*, after: int, **ends: int | None) -> None:
    rules.count("after", after, least=0)
    for field, end in ends.items():
        if end is not None:
            rules.count(field, end, least=0)


def of_sessions(rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The rows of a log that are about customer sessions."""
    return [row for row in rows if row[1] == SESSION]


def _of(recorded: Recorded) -> Happened:
    return (
        recorded.stream_id,
        recorded.at,
        recorded.command_id,
        recorded.event,
    )


def names_of(types: Iterable[str | type[Event]]) -> Sequence[str]:
    """The names of events that are given by name or by class.

    Raises:
        InvalidValue: No event has such a name.
    """
    names = [_name_of(each) for each in rules.names("types", types)]
    for name in names:
        if name not in EVENTS:
            rule = f"names of events ({', '.join(EVENTS)})"
            raise InvalidValue(field="types", rule=rule, value=repr(name))
    return names


def _name_of(given: str | type[Event]) -> str:
    """The name of an event; anything else is left as it is, for the caller to refuse."""
    known: Any = EVENTS.values()
    return given.__name__ if isinstance(given, type) and given in known else cast("str", given)
