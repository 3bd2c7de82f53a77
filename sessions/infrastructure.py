"""eventsourcing's infrastructure on a store: for applications and projections written with it.

Set `PERSISTENCE_MODULE` to this module, `SESSIONS_STORE` to the store's URL, and
`SESSIONS_APPLICATION` to the application (default 1). Ids of aggregates are texts. Events that are
recorded in this way are in the log beside those of sessions, and are followed like them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from eventsourcing.persistence import (
    InfrastructureFactory,
    IntegrityError,
    ProcessRecorder,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import resolve_topic, strtobool

from sessions.log.recorder import SessionRecorder
from sessions.sql import schema
from sessions.sql.database import LOCK_TIMEOUT, Database
from sessions.store import SessionStore
from sessions.url import database_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventsourcing.persistence import StoredEvent
    from eventsourcing.utils import Environment

    from sessions.sql.connection import Connection

R = TypeVar("R")

_NEWEST = f"SELECT position FROM {schema.POSITIONS.name} WHERE follower = ? AND upstream = ?"


class PositionRecorder(TrackingRecorder):
    """Records how far a follower has come; each follower of a store has its own positions."""

    def __init__(self, database: Database, follower: str) -> None:
        self.database = database
        self.follower = follower
        upsert = schema.POSITIONS.upsert(database.dialect)
        self._advance = (
            f"{schema.POSITIONS.insert()} {upsert} WHERE positions.position < excluded.position"
        )

    def insert_tracking(self, tracking: Tracking) -> None:
        """Record a position, beyond the one before.

        Raises:
            IntegrityError: The follower has already come that far.
        """
        with self.database.writing() as connection:
            self.advance(connection, tracking)

    def advance(self, connection: Connection, tracking: Tracking) -> None:
        """Record a position in the transaction of what was made on the way to it.

        Raises:
            IntegrityError: The follower has already come that far.
        """
        row = (self.follower, tracking.application_name, tracking.notification_id)
        if not connection.execute(self._advance, row).rowcount:
            raise IntegrityError(tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """How far it has come in an application's log; None if it has not begun."""
        rows = self.database.query(_NEWEST, (self.follower, application_name))
        return rows[0][0] if rows else None


class PositionedRecorder(SessionRecorder, PositionRecorder, ProcessRecorder):
    """A recorder of events and of how far the log that caused them was followed, in one."""

    def __init__(self, database: Database, application_id: int, follower: str) -> None:
        SessionRecorder.__init__(self, database, application_id)
        PositionRecorder.__init__(self, database, follower)

    def _write_with(
        self,
        connection: Connection,
        tracking: Tracking | None = None,
        **_: Any,  # noqa: ANN401  eventsourcing's signature
    ) -> None:
        if tracking is not None:
            self.advance(connection, tracking)


class AggregateSessionRecorder(SessionRecorder):
    """A recorder of aggregates only: it returns no positions."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:  # noqa: ANN401  eventsourcing's signature
        """Append events as they are."""
        super().insert_events(stored_events, **kwargs)


class SessionsFactory(InfrastructureFactory[TrackingRecorder]):
    """Makes recorders on the store that the environment names."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        url = self.env.get("SESSIONS_STORE")
        if not url:
            message = "SESSIONS_STORE is not set: it must be the URL of a store"
            raise OSError(message)
        self._database = database_of(url, lock_timeout=LOCK_TIMEOUT)
        self._application_id = int(self.env.get("SESSIONS_APPLICATION") or 1)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateSessionRecorder:
        """A recorder of aggregates' events; snapshots are not kept.

        Raises:
            NotImplementedError: It is for snapshots.
        """
        if purpose != "events":
            raise NotImplementedError(purpose)
        return self._made(AggregateSessionRecorder(self._database, self._application_id))

    def application_recorder(self) -> SessionRecorder:
        """A recorder of an application's events."""
        return self._made(SessionRecorder(self._database, self._application_id))

    def tracking_recorder(
        self, tracking_recorder_class: type[TrackingRecorder] | None = None
    ) -> TrackingRecorder:
        """A recorder of positions; `TRACKING_RECORDER_TOPIC` may name its class."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        kind: Any = tracking_recorder_class or (resolve_topic(topic) if topic else PositionRecorder)
        recorder: TrackingRecorder = kind(self._database, self.env.name)
        return self._made(recorder)

    def process_recorder(self) -> PositionedRecorder:
        """A recorder of events, with the position of the one that caused them."""
        recorder = PositionedRecorder(self._database, self._application_id, self.env.name)
        return self._made(recorder)

    def _made(self, recorder: R) -> R:
        if strtobool(self.env.get("CREATE_TABLE") or "yes"):
            SessionStore(self._database, self._application_id).make()
        return recorder

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
