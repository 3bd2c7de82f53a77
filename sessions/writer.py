"""The road of a command: read, decide, and append in one transaction that has the lock.

The lock is taken before anything is read. What a decision is made on (the session, the claims,
the idempotency key) can therefore not change until its events are committed: a race is not lost,
it does not take place. Sessions and views are held in memory between transactions; that the log
ends where this writer left it proves that no other process changed them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from sessions.errors import ViewsDiffer
from sessions.inline import InlineViews, names
from sessions.transaction import Held, Transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sessions.inline import Projection
    from sessions.mapper import Mapper
    from sessions.recorder import SessionRecorder

_HELD_SESSIONS = 1024
_UNSEEN = (-1, Held())


class Writer:
    """The one that writes to an application's log, for all threads of a process."""

    def __init__(
        self,
        recorder: SessionRecorder,
        mapper: Mapper,
        projections: Sequence[Projection[Any]],
        now: Callable[[], datetime],
    ) -> None:
        self.recorder = recorder
        self.mapper = mapper
        self.now = now
        self.views = InlineViews(projections, recorder.application_id)
        self._view_names = names(projections)
        self._held: OrderedDict[str, tuple[int, Held]] = OrderedDict()
        self._epoch = 0
        self._left_at: tuple[sqlite3.Connection, int] | None = None

    def begin(self) -> Transaction:
        """Begin a transaction that has the lock; `commit` or `abandon` must follow.

        Raises:
            StoreBusy: Others held the lock for too long.
            ViewsDiffer: The store's writers keep other inline views than this one.
        """
        datastore = self.recorder.datastore
        connection = datastore.begin()
        try:
            head = self.recorder.head(lambda *asked: connection.execute(*asked).fetchall())
            self.check_views(head.views)
        except BaseException:
            datastore.end(connection)
            raise
        if self._left_at != (connection, head.position):
            self._epoch += 1
            self.views.forget()
        self._left_at = None
        return Transaction(self, connection, head.position)

    def commit(self, transaction: Transaction) -> None:
        """Make a transaction durable, and hold in memory what it made."""
        datastore, connection = self.recorder.datastore, transaction.connection
        try:
            with datastore.failures:
                transaction.flush()
                connection.execute("COMMIT")
            self._hold(transaction.states)
            self._left_at = (connection, transaction.position)
        except BaseException:
            self.views.forget()
            raise
        finally:
            datastore.end(connection)

    def abandon(self, transaction: Transaction) -> None:
        """End a transaction without a trace, in memory too."""
        self.views.forget()
        self.recorder.datastore.end(transaction.connection)

    def check_views(self, stored: str) -> None:
        """Refuse to write where the store's inline views are not this writer's.

        Raises:
            ViewsDiffer: They are not.
        """
        if stored != self._view_names:
            raise ViewsDiffer(stored=stored or "(none)", found=self._view_names or "(none)")

    def last_seen(self, session_id: str) -> tuple[Held, bool]:
        """The session as this writer last saw it, and whether it is proved to be so still."""
        epoch, held = self._held.get(session_id, _UNSEEN)
        return held, epoch == self._epoch

    def _hold(self, states: Mapping[str, Held]) -> None:
        for session_id, held in states.items():
            self._held[session_id] = (self._epoch, held)
            self._held.move_to_end(session_id)
        while len(self._held) > _HELD_SESSIONS:
            self._held.popitem(last=False)
