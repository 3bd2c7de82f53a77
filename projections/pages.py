"""Reading a log, page by page, for those who pass over it: up to what this process cannot read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sessions.errors import UndecodableEvent, UnknownEvent
from sessions.events import EVENTS
from sessions.log.mapper import Mapper
from sessions.log.reader import StoreReader, of_sessions
from sessions.log.recorder import SessionRecorder
from sessions.sql import schema
from sessions.sql.topics import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sessions.recorded import Recorded
    from sessions.sql.connection import Query
    from sessions.sql.database import Database

PAGE = 2000
"""So many positions are a page, if nobody says otherwise."""

_FIRST = 100
"""So many positions are the first page, when nobody knows how fast folds are."""
_SECONDS = 1.0
"""So long the processor may work at a page: who is asked to stop has to end it, or loses it."""

_COUNT = f"SELECT count(*) FROM {schema.EVENTS.name}"


class Page(NamedTuple):
    """What comes next in a log.

    Attributes:
        events: The events of sessions; those that nobody wants are left out.
        until: How far it goes.
        obstacle: The event after it that this process cannot read, if there is one.
    """

    events: list[Recorded]
    until: int
    obstacle: UnknownEvent | UndecodableEvent | None


class Pace:
    """How many positions are a page, by how long the ones before took: folds may be slow.

    Args:
        most: So many at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = min(most, _FIRST)
        self._began = 0.0

    def begin(self) -> int:
        """Begin a page; so many positions it may have."""
        self._began = time.thread_time()
        return self._size

    def end(self, positions: int) -> None:
        """A page of so many positions is folded, by the thread that began it.

        Waiting, such as for the lock, does not count: it takes a short page as long.
        """
        seconds = time.thread_time() - self._began
        if seconds > _SECONDS:
            self._size = max(1, int(positions * _SECONDS / seconds))
        elif positions >= self._size:
            self._size = min(self._most, 2 * self._size)


def read_page(  # noqa: PLR0913  the bounds that may be asked for
    store: StoreReader,
    query: Query,
    after: int,
    *,
    until: int | None = None,
    size: int = PAGE,
    wanted: Collection[str] = EVENTS,
) -> Page:
    """The next page of a log, up to an event that this process cannot read."""
    found: list[Recorded] = []
    left, piece = size, store.recorder.database.page
    while left:
        rows = store.recorder.log_rows(query, after, min(left, piece), until)
        obstacle = _read_into(found, store, rows, wanted)
        if obstacle is not None:
            return Page(found, obstacle.where - 1, obstacle)
        after = rows[-1][0] if rows else after
        left = left - len(rows) if len(rows) == piece else 0
    return Page(found, after, None)


def _read_into(
    found: list[Recorded], store: StoreReader, rows: Sequence[Any], wanted: Collection[str]
) -> UnknownEvent | UndecodableEvent | None:
    """Add the events of rows, up to one that this process cannot read."""
    unwanted = EVENTS.keys() - wanted
    read = of_sessions(rows)
    if unwanted:
        read = [row for row in read if name_of(row[4]) not in unwanted]
    try:
        found += store.mapper.recorded(store.recorder.application_id, read)
    except (UnknownEvent, UndecodableEvent) as error:  # those before it are added
        return error
    return None


def read_events(reader: StoreReader, query: Query, after: int = 0) -> Iterator[Recorded]:
    """The events after a position, page by page, up to one that this process cannot read."""
    while (page := read_page(reader, query, after)).until > after:
        yield from page.events
        after = page.until


class LogReader(StoreReader):
    """The log of one application, for those who ask with a connection of their own.

    It asks nothing when it is made: inside a transaction there may be no second connection.

    Args:
        database: Where the log is.
        application_id: Whose log it is.
        query: How to ask, if not on any connection.
    """

    def __init__(self, database: Database, application_id: int, query: Query | None = None) -> None:
        self._query = query
        self.recorder = SessionRecorder(database, application_id)
        self.mapper = Mapper()

    def _asked(
        self,
        query: Callable[..., list[Any]],
        sql: str,
        parameters: Sequence[object],
        *,
        passing: bool,
    ) -> list[Any]:
        if self._query is not None:
            return self._query(sql, parameters)
        return query(sql, parameters, passing=passing)


def applications_of(query: Query, *relations: str) -> list[int]:
    """The applications in a database that have events, or rows in some other relations."""
    asked = [
        f"SELECT DISTINCT application_id FROM {name}" for name in (schema.EVENTS.name, *relations)
    ]
    return [application for (application,) in query(f"{' UNION '.join(asked)} ORDER BY 1", ())]


def count_of_events(database: Database) -> int:
    """How many events all applications in a database have."""
    ((count,),) = database.query(_COUNT, passing=True)
    return int(count)
