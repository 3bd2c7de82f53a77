"""The recorder: everything that a store keeps, as a recorder of eventsourcing's.

It passes the test cases that eventsourcing ships for recorders, on each database, and keeps
besides the events what belongs into their transaction: positions, claims and answers. To
eventsourcing a notification's id is its position; `foreign` says the rest.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, StoredEvent

from sessions import clock, foreign, schema
from sessions.claim_rows import ClaimRows
from sessions.connection import query_on
from sessions.errors import Duplicate
from sessions.head import HEAD, Head
from sessions.inserting import Insert
from sessions.mapper import HAPPENED
from sessions.subscription import FollowingSubscription
from sessions.tables import GIVEN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from eventsourcing.persistence import Subscription

    from sessions.connection import Connection, Query, Statement
    from sessions.database import Database

_NO_END = 2**63 - 1
_OF_APPLICATION = "application_id = ?"
_LOG_WHERE = f"{_OF_APPLICATION} AND position > ? AND position <= ?"


class SessionRecorder(ApplicationRecorder):
    """The recorder of one application in one database."""

    def __init__(self, database: Database, application_id: int) -> None:
        self.application_id = application_id
        self.database = database
        self.claims = ClaimRows(application_id, database.dialect)
        self._of_stream = (
            f"{_OF_APPLICATION} AND category = ? AND {database.dialect.is_id('stream_id')}"
        )
        event = database.dialect.event
        self._log = schema.EVENTS.select(_LOG_WHERE, "position", GIVEN_LIMIT, event)
        since = f"{self._of_stream} AND version > ?"
        self._stream = schema.EVENTS.select(since, "version", columns=event)
        bounds = ("", " AND position <= ?"), ("", " AND at <= ?")
        self._of_moment = {
            (columns, bool(known), bool(timed)): schema.EVENTS.select(
                f"{since} AND version <= ?{known}{timed}", "version", GIVEN_LIMIT, columns
            )
            for columns, known, timed in product((event, HAPPENED), *bounds)
        }
        stream, key = map(database.dialect.key, ("stream_id", "?"))
        beyond = (
            f"{_OF_APPLICATION} AND category = ? AND ({stream}, version) > ({key}, ?) "
            "AND position <= ?"
        )
        self._streams = {
            timed: schema.EVENTS.select(
                where, f"{stream}, version", GIVEN_LIMIT, f"stream_id, version, {HAPPENED}"
            )
            for timed, where in ((False, beyond), (True, f"{beyond} AND at <= ?"))
        }
        self._insert_events = Insert(schema.EVENTS, database.dialect)
        self._insert_answers = Insert(schema.ANSWERS, database.dialect)

    # --- the log

    def head(self, query: Query) -> Head:
        """Where the log ends."""
        return Head.of(query(HEAD, (self.application_id,)))

    def append(self, connection: Connection, rows: Sequence[Sequence[object]]) -> bool:
        """Write rows of `schema.EVENTS`, as the database takes them; whether there are any."""
        self._insert_events(connection, rows)
        return bool(rows)

    def stream_rows(  # noqa: PLR0913  the bounds that may be asked for
        self,
        query: Query,
        category: str,
        stream_id: str,
        *,
        after: int = 0,
        until: int | None = None,
        as_of: datetime | None = None,
        position: int | None = None,
        limit: int = _NO_END,
        columns: str | None = None,
    ) -> list[Any]:
        """Rows of a stream in order: after a version, up to a moment.

        They are those of `Dialect.event`, or, if these columns are asked for, of `HAPPENED`.
        """
        columns = columns or self.database.dialect.event
        sql = self._of_moment[columns, position is not None, as_of is not None]
        bounds: tuple[object, ...] = () if position is None else (position,)
        if as_of is not None:
            bounds = (*bounds, clock.text(as_of))
        until = _NO_END if until is None else until
        stream = (self.application_id, category, stream_id, after, until)
        return query(sql, (*stream, *bounds, limit))

    def stream_since(self, category: str, stream_id: str, version: int) -> Statement:
        """Asks for the rows (`Dialect.event`) of a stream after a version."""
        stream = (self.application_id, category, stream_id)
        return self._stream, (*stream, version)

    def streams(self, category: str, stream_ids: Sequence[str]) -> Statement:
        """Asks for the rows (`Dialect.event`) of several streams, each in order."""
        dialect, where = self.database.dialect, f"{_OF_APPLICATION} AND category = ?"
        sql = schema.EVENTS.select_each(
            ["stream_id"],
            len(stream_ids),
            dialect,
            where,
            columns=dialect.event,
            order="version",
        )
        return sql, (*stream_ids, self.application_id, category)

    def streams_rows(  # noqa: PLR0913  the bounds that may be asked for
        self,
        query: Query,
        category: str,
        after: tuple[str, int],
        limit: int,
        *,
        as_of: datetime | None,
        position: int,
    ) -> list[Any]:
        """Rows (stream, version and `HAPPENED`) of one stream after the other, in order.

        They are those after a stream's version, in the order of the index that finds them.
        """
        times = (clock.text(as_of),) if as_of else ()
        return query(
            self._streams[as_of is not None],
            (self.application_id, category, *after, position, *times, limit),
        )

    def log_rows(  # noqa: PLR0913  the bounds that may be asked for
        self,
        query: Query,
        after: int,
        limit: int,
        until: int | None = None,
        types: Sequence[str] = (),
        *,
        other: bool = False,
    ) -> list[Any]:
        """Rows (`Dialect.event`) of the log in order, after a position.

        They are of all types, or of some, or of all `other` ones.
        """
        bounds = (self.application_id, after, _NO_END if until is None else until)
        if not types:
            return query(self._log, (*bounds, limit))
        which = f"type {'NOT ' if other else ''}IN ({', '.join('?' * len(types))})"
        where, event = f"{_LOG_WHERE} AND {which}", self.database.dialect.event
        sql = schema.EVENTS.select(where, "position", GIVEN_LIMIT, event)
        return query(sql, (*bounds, *types, limit))

    # --- answers

    def answers(self, keys: Sequence[str]) -> Statement:
        """Asks for the idempotency keys that are kept, each with its request and answer."""
        dialect, kept = self.database.dialect, "idempotency_key, request, answer"
        sql = schema.ANSWERS.select_each(
            ["idempotency_key"], len(keys), dialect, _OF_APPLICATION, columns=kept
        )
        return sql, (*keys, self.application_id)

    def keep_answers(self, connection: Connection, answers: Sequence[Sequence[object]]) -> None:
        """Keep rows of `schema.ANSWERS`, without the application's id."""
        rows = [schema.ANSWERS.values((self.application_id, *row)) for row in answers]
        self._insert_answers(connection, rows)

    # --- eventsourcing's interface

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        **kwargs: Any,  # noqa: ANN401  as eventsourcing has it
    ) -> Sequence[int] | None:
        """Append events as they are: no command is decided, and no view is kept.

        Raises:
            IntegrityError: A stream has an event of such a version already.
            BatchOpen: This thread has a batch of a store open.
        """
        database = self.database
        connection = database.begin(lambda: None, self.application_id).connection
        try:
            with database.failures:
                head = self.head(query_on(connection))
            first = head.position + 1
            now = clock.now()
            rows = [
                foreign.row_of(self.application_id, position, stored, now)
                for position, stored in enumerate(stored_events, first)
            ]
            self._write_with(connection, **kwargs)
            after = Head(head.position + len(rows), head.views)
            database.commit(after, connection, lambda to: self.append(to, rows))
        except Duplicate as error:
            raise IntegrityError(error) from error
        finally:
            database.end(connection)
        return list(range(first, first + len(rows)))

    def _write_with(self, connection: Connection, **kwargs: Any) -> None:  # noqa: ANN401  eventsourcing's arguments
        """What else a recorder writes with events."""

    def select_events(
        self,
        originator_id: Any,  # noqa: ANN401  a UUID or a text, as eventsourcing has it
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of a stream named `category-id`."""
        where = self._of_stream
        parameters = [self.application_id, *foreign.stream_of(originator_id)]
        for bound, value in (("version > ?", gt), ("version <= ?", lte)):
            if value is not None:
                where, parameters = f"{where} AND {bound}", [*parameters, value]
        order = "version DESC" if desc else "version"
        rows = self.database.query(schema.EVENTS.select(where, order, limit), parameters)
        return [StoredEvent(**foreign.fields_of(row)) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The log from a position on."""
        after = 0 if start is None else start - inclusive_of_start
        where = f"{_OF_APPLICATION} AND position > ?"
        parameters: list[object] = [self.application_id, after]
        if stop is not None:
            where, parameters = f"{where} AND position <= ?", [*parameters, stop]
        if topics:
            shapes = [shape for topic in topics for shape in foreign.shapes_of(topic)]
            where += f" AND (type, type_version) IN (VALUES {', '.join(['(?, ?)'] * len(shapes))})"
            parameters += [part for shape in shapes for part in shape]
        rows = self.database.query(schema.EVENTS.select(where, "position", limit), parameters)
        return [Notification(id=row[1], **foreign.fields_of(row)) for row in rows]

    def max_notification_id(self) -> int | None:
        """Where the log ends; None if it is empty."""
        return self.head(self.database.query).position or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Notifications in the order of the log: those after `gt`, and then each new one."""
        return FollowingSubscription(self, self.database, gt, topics)
