"""The recorder: everything that a store keeps, as an application recorder of eventsourcing.

It passes the test cases that eventsourcing ships for recorders, on each database. Besides the
events it stores what belongs in their transaction: positions, claims and answers. A notification's
id is its position in the log; `foreign` says the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, StoredEvent

from sessions import clock, rules
from sessions.errors import Duplicate, StoreClosed
from sessions.log import foreign
from sessions.log.rows import OF_APPLICATION, Log
from sessions.log.subscription import FollowingSubscription
from sessions.sql import schema
from sessions.sql.connection import query_on
from sessions.sql.head import Head, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventsourcing.persistence import Subscription

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database


class SessionRecorder(Log, ApplicationRecorder):
    """The recorder of one application in one database, as eventsourcing expects it.

    Args:
        database: The database.
        application_id: The application.
        query: What it reads with, if the store need not exist yet.
        check_writable: Called before it writes: makes a store that does not exist yet, or refuses.
    """

    def __init__(
        self,
        database: Database,
        application_id: int,
        *,
        query: Query | None = None,
        check_writable: Callable[[], object] = bool,
    ) -> None:
        super().__init__(database, application_id)
        self._query = query or database.query
        self._check_writable = check_writable

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        **kwargs: Any,  # noqa: ANN401  as eventsourcing has it
    ) -> Sequence[int] | None:
        """Append events as they are: no command is decided, and no view is updated.

        Raises:
            IntegrityError: A stream already has an event with that version.
            BatchOpen: This thread has a batch open on a store.
            StoreReadOnly: The store was opened with `read_only=True`.
            CopyUnfinished: The store is being copied to.
        """
        database = self.database
        self._check_writable()
        connection = database.begin(lambda: None, self.application_id).connection
        try:
            with database.failures:
                head = self.head(query_on(connection))
            check_whole(head.views)
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
        """What a kind of recorder writes besides, in the transaction of the events."""

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
        foreign.check_name(originator_id)
        parameters = [self.application_id, *foreign.stream_of(originator_id)]
        for bound, value in (("version > ?", gt), ("version <= ?", lte)):
            if value is not None:
                where, parameters = f"{where} AND {bound}", [*parameters, value]
        order = "version DESC" if desc else "version"
        rows = self._query(schema.EVENTS.select(where, order, limit), parameters)
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
        where = f"{OF_APPLICATION} AND position > ?"
        parameters: list[object] = [self.application_id, after]
        if stop is not None:
            where, parameters = f"{where} AND position <= ?", [*parameters, stop]
        if topics:
            shapes = [shape for topic in topics for shape in foreign.shapes_of(topic)]
            where += f" AND (type, type_version) IN (VALUES {', '.join(['(?, ?)'] * len(shapes))})"
            parameters += [part for shape in shapes for part in shape]
        rows = self._query(schema.EVENTS.select(where, "position", limit), parameters)
        return [Notification(id=row[1], **foreign.fields_of(row)) for row in rows]

    def max_notification_id(self) -> int | None:
        """The end of the log; None if it is empty."""
        return self.head(self._query).position or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Notifications in the order of the log: those after `gt`, and then each new one.

        Raises:
            StoreClosed: The store is closed.
            BatchOpen: This thread has a batch open. Reading from it raises it too, while one is.
            InvalidValue: `topics` is a single text.
        """
        if self.database.is_closed:
            raise StoreClosed
        self.database.check_outside("subscribe")
        topics = rules.names("topics", topics)
        return FollowingSubscription(self, self, gt, topics)
