"""The recorder: everything that a store keeps, on eventsourcing's recorder for SQLite.

It passes the test cases that eventsourcing ships for recorders, and keeps besides the events what
belongs into their transaction: positions, claims and answers. To eventsourcing a stream is named
`category-id`, a topic is an event's stored name, and a notification's id is its position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder

from sessions import clock, migrations, schema
from sessions.claim_rows import ClaimRows
from sessions.sqlite import query_on

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from datetime import datetime

    from eventsourcing.sqlite import SQLiteCursor

    from sessions.sqlite import Datastore, Query

_OF_APPLICATION = "application_id = ?"
_OF_STREAM = "application_id = ? AND category = ? AND stream_id = ?"

_NO_END = 2**63 - 1
_STREAM_WHERE = f"{_OF_STREAM} AND version > ? AND version <= ? AND position <= ?"
_STREAM = f"{schema.EVENTS.select(_STREAM_WHERE, 'version')} LIMIT ?"
_STREAM_AS_OF = f"{schema.EVENTS.select(f'{_STREAM_WHERE} AND at <= ?', 'version')} LIMIT ?"
_LOG_WHERE = f"{_OF_APPLICATION} AND position > ? AND position <= ?"
_LOG = f"{schema.EVENTS.select(_LOG_WHERE, 'position')} LIMIT ?"

_HEAD = (
    "SELECT (SELECT position FROM applications WHERE application_id = ?), "
    "(SELECT group_concat(name || ' ' || version, ', ') "
    "FROM (SELECT name, version FROM inline_views ORDER BY name))"
)
_ADVANCE = (
    f"{schema.APPLICATIONS.insert()} "
    "ON CONFLICT (application_id) DO UPDATE SET position = excluded.position"
)


class Head(msgspec.Struct, frozen=True):
    """Where an application's log ends, and which inline views its writers keep."""

    position: int
    views: str


class SessionRecorder(SQLiteApplicationRecorder):
    """The recorder of one application in one SQLite database."""

    datastore: Datastore

    def __init__(self, datastore: Datastore, application_id: int) -> None:
        self.application_id = application_id
        super().__init__(datastore, events_table_name=schema.EVENTS.name)
        self.claims = ClaimRows(application_id)
        self._insert_event = schema.EVENTS.insert()

    def construct_create_table_statements(self) -> list[str]:
        """The statements that make a new store."""
        return migrations.statements()

    def create_table(self) -> None:
        """Make the store if it is new (see `migrations.make`)."""
        with self.datastore.writing() as connection:
            migrations.make(connection, self.datastore.path)

    # --- the log

    def head(self, query: Query) -> Head:
        """Where the log ends."""
        ((position, views),) = query(_HEAD, (self.application_id,))
        return Head(position or 0, views or "")

    def advance(self, connection: sqlite3.Connection, position: int) -> None:
        """Set where the log ends."""
        connection.execute(_ADVANCE, (self.application_id, position))

    def append(self, connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
        """Write rows of `schema.EVENTS`, as the database takes them."""
        connection.executemany(self._insert_event, rows)

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
        limit: int = -1,
    ) -> list[Any]:
        """Rows of a stream in order: after a version, up to a version, time or position."""
        sql = _STREAM_AS_OF if as_of else _STREAM
        times = (clock.text(as_of),) if as_of else ()
        until = _NO_END if until is None else until
        position = _NO_END if position is None else position
        stream = (self.application_id, category, stream_id)
        return query(sql, (*stream, after, until, position, *times, limit))

    def log_rows(self, query: Query, after: int, limit: int, until: int | None = None) -> list[Any]:
        """Rows of the log in order, after a position."""
        until = _NO_END if until is None else until
        return query(_LOG, (self.application_id, after, until, limit))

    # --- answers

    def answer(self, query: Query, key: str) -> tuple[str, str] | None:
        """The request and the answer that an idempotency key is kept for."""
        sql = f"SELECT request, answer FROM answers WHERE {_OF_APPLICATION} AND idempotency_key = ?"
        rows = query(sql, (self.application_id, key))
        return rows[0] if rows else None

    def keep_answer(
        self, connection: sqlite3.Connection, key: str, request: str, answer: str, at: datetime
    ) -> None:
        """Keep an answer for an idempotency key."""
        row = schema.ANSWERS.values((self.application_id, key, request, answer, at))
        connection.execute(schema.ANSWERS.insert(), row)

    # --- eventsourcing's interface

    def _insert_events(
        self,
        c: SQLiteCursor,
        stored_events: Sequence[StoredEvent],
        **_: Any,  # noqa: ANN401  as eventsourcing has it
    ) -> Sequence[int] | None:
        if not stored_events:
            return None
        connection = c.sqlite_cursor.connection
        first = self.head(query_on(connection)).position + 1
        now = clock.now()
        rows = [
            schema.EVENTS.values(self._foreign_row(position, stored, now))
            for position, stored in enumerate(stored_events, first)
        ]
        self.append(connection, rows)
        self.advance(connection, first + len(rows) - 1)
        return list(range(first, first + len(rows)))

    def _foreign_row(self, position: int, stored: StoredEvent, now: datetime) -> Sequence[object]:
        category, _, stream_id = str(stored.originator_id).partition("-")
        name, version = _shape(stored.topic)
        return (
            self.application_id,
            position,
            category,
            stream_id,
            stored.originator_version,
            name,
            version,
            now,
            now,
            clock.new_command_id(now),
            "{}",
            stored.state.decode(),
        )

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
        category, _, stream_id = str(originator_id).partition("-")
        where, parameters = _OF_STREAM, [self.application_id, category, stream_id]
        for bound, value in (("version > ?", gt), ("version <= ?", lte)):
            if value is not None:
                where, parameters = f"{where} AND {bound}", [*parameters, value]
        order = "version DESC" if desc else "version"
        rows = self.datastore.query(schema.EVENTS.select(where, order, limit), parameters)
        return [StoredEvent(**_foreign(row)) for row in rows]

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
            where += f" AND (type, type_version) IN (VALUES {', '.join(['(?, ?)'] * len(topics))})"
            parameters += [part for topic in topics for part in _shape(topic)]
        rows = self.datastore.query(schema.EVENTS.select(where, "position", limit), parameters)
        return [Notification(id=row[1], **_foreign(row)) for row in rows]

    def max_notification_id(self) -> int | None:  # type: ignore[override] # the base forgets None
        """Where the log ends; None if it is empty."""
        return self.head(self.datastore.query).position or None


def _shape(topic: str) -> tuple[str, int]:
    name, _, version = topic.partition(".")
    return name, int(version or 1)


def _foreign(row: Sequence[Any]) -> dict[str, Any]:
    name, version = row[5], row[6]
    return {
        "originator_id": f"{row[2]}-{row[3]}",
        "originator_version": row[4],
        "topic": name if version == 1 else f"{name}.{version}",
        "state": row[11].encode(),
    }
