"""Reads a log page by page, up to an event that this process cannot read."""

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
"""How many positions a page has, if the caller does not say."""

_FIRST = 100
"""How many positions the first page has, before it is known how fast the folds are."""
_SECONDS = 1.0
"""How much processor time a page may take: a pass that is told to stop must end it, or lose it."""

_APPLICATIONS = """
WITH RECURSIVE _found (_id) AS (
    SELECT min(application_id) FROM {0}
    UNION ALL SELECT (SELECT min(application_id) FROM {0} WHERE application_id > _id)
    FROM _found WHERE _id IS NOT NULL
) SELECT _id FROM _found WHERE _id IS NOT NULL
"""
"""From one application to the next, by an index: DISTINCT would read the whole relation."""

_END = f"SELECT max(position) FROM {schema.EVENTS.name} WHERE application_id = ?"


class Page(NamedTuple):
    """The next page of a log.

    Attributes:
        events: The events of sessions, without those that nobody wants.
        until: The position up to which it goes.
        obstacle: The error of the event after it, if this process cannot read that; else None.
    """

    events: list[Recorded]
    until: int
    obstacle: UnknownEvent | UndecodableEvent | None


class Pace:
    """Chooses how many positions a page has by how long the last ones took: folds may be slow.

    Args:
        most: The largest size of a page, in positions.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = min(most, _FIRST)
        self._began = 0.0

    def begin(self) -> int:
        """Begin a page; the answer is how many positions it may have."""
        self._began = time.thread_time()
        return self._size

    def end(self, positions: int) -> None:
        """End a page: the thread that began it has folded this many positions.

        Waiting, such as for the lock, does not count: a shorter page would wait as long.
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
    except (UnknownEvent, UndecodableEvent) as error:  # the events before it are added
        return error
    return None


def read_events(reader: StoreReader, query: Query, after: int = 0) -> Iterator[Recorded]:
    """The events after a position, page by page, up to one that this process cannot read."""
    while (page := read_page(reader, query, after)).until > after:
        yield from page.events
        after = page.until


class LogReader(StoreReader):
    """The log of one application, for callers that query on a connection of their own.

    To make one takes no query: inside a transaction there may be no second connection.

    Args:
        database: The database with the log.
        application_id: The application whose log it is.
        query: What to query with, if not any connection of the database.
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
    names = (schema.EVENTS.name, *relations)
    return sorted({found for name in names for (found,) in query(_APPLICATIONS.format(name), ())})


def count_of_events(database: Database) -> int:
    """How many events all applications in a database have together: positions have no gaps."""
    ends = [database.query(_END, (each,)) for each in applications_of(database.query)]
    return sum(end or 0 for ((end,),) in ends)
