"""eventsourcing's infrastructure on a store: for applications and projections written with it.

Set `PERSISTENCE_MODULE` to this module, `SESSIONS_STORE` to the store's URL, and
`SESSIONS_APPLICATION` to the application (default 1). Ids of aggregates are texts. Events that are
recorded in this way are in the log beside those of sessions, and are followed like them. Each
application of a `System` needs a log of its own, such as by `COUNTERS_SESSIONS_APPLICATION`: one
that follows the log into which it writes would follow itself without end.
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

from sessions import rules
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
        self._application_id = _number("SESSIONS_APPLICATION", self.env.get("SESSIONS_APPLICATION"))
        self._database = database_of(url, lock_timeout=LOCK_TIMEOUT)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateSessionRecorder:
        """A recorder of aggregates' events; snapshots are not kept.

        Raises:
            NotImplementedError: It is for snapshots.
        """
        if purpose != "events":
            message = f"a store keeps no {purpose}: leave IS_SNAPSHOTTING_ENABLED out"
            raise NotImplementedError(message)
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
        recorder: TrackingRecorder = kind(self._database, self._follower)
        return self._made(recorder)

    def process_recorder(self) -> PositionedRecorder:
        """A recorder of events, with the position of the one that caused them."""
        recorder = PositionedRecorder(self._database, self._application_id, self._follower)
        return self._made(recorder)

    @property
    def _follower(self) -> str:
        """The name under which positions are kept: each application of a store has its own."""
        name, application = self.env.name, self._application_id
        return name if application == 1 else f"{name}@{application}"

    def _made(self, recorder: R) -> R:
        """A recorder, of a store that exists.

        Raises:
            StoreNotFound: It does not, and `CREATE_TABLE` says not to make it.
            StoreTooOld: It is to be migrated first, likewise.
        """
        makes = strtobool(self.env.get("CREATE_TABLE") or "yes")
        store = SessionStore(self._database, self._application_id, read_only=not makes)
        if makes:
            store.make()
        else:
            store.check_made()
        return recorder

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def _number(name: str, given: str | None) -> int:
    """The number of an application, as a variable of the environment says it."""
    if not given:
        return 1
    return rules.count(name, int(given) if given.isdecimal() else given)
