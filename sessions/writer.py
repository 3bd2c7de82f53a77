"""The road of a command: read, decide, and append in one transaction that has the lock.

The lock is taken before anything is read. What a decision is made on (the session, the claims,
the idempotency key) can therefore not change until its events are committed: a race is not lost,
it does not take place. Sessions and views are held in memory between transactions; the database's
own mark proves that nobody else has written since this writer left it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions.errors import ViewsDiffer
from sessions.inline import InlineViews, names
from sessions.memory import Memory
from sessions.sqlite import query_on
from sessions.transaction import Means, Transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sessions.inline import Projection
    from sessions.mapper import Mapper
    from sessions.recorder import SessionRecorder
    from sessions.sqlite import Mark


class Writer:
    """The one that writes to an application's log, for all threads of a process."""

    def __init__(
        self,
        recorder: SessionRecorder,
        mapper: Mapper,
        projections: Sequence[Projection[Any]],
        now: Callable[[], datetime],
    ) -> None:
        self._recorder = recorder
        self._views = InlineViews(projections, recorder.application_id)
        self._memory = Memory()
        self._means = Means(recorder, mapper, self._views, self._memory, now)
        self._view_names = names(projections)
        self._left: tuple[Mark, int] | None = None

    def begin(self) -> Transaction:
        """Begin a transaction that has the lock; `commit` or `abandon` must follow.

        Raises:
            StoreBusy: Others held the lock for too long.
            ViewsDiffer: The store's writers keep other inline views than this one.
        """
        datastore = self._recorder.datastore
        connection = datastore.begin()
        try:
            mark = datastore.mark(connection)
            left, self._left = self._left, None
            position = left[1] if left and left[0] == mark else self._arrive(connection)
        except BaseException:
            datastore.end(connection)
            raise
        return Transaction(self._means, connection, mark, position)

    def commit(self, transaction: Transaction) -> None:
        """Make a transaction durable, and hold in memory what it made."""
        datastore, connection = self._recorder.datastore, transaction.connection
        try:
            with datastore.failures:
                transaction.flush()
                connection.execute("COMMIT")
            self._memory.hold(transaction.states)
            self._left = (transaction.mark, transaction.position)
        except BaseException:
            self._views.forget()
            raise
        finally:
            datastore.end(connection)

    def abandon(self, transaction: Transaction) -> None:
        """End a transaction without a trace, in memory too."""
        self._views.forget()
        self._recorder.datastore.end(transaction.connection)

    def check_views(self, stored: str) -> None:
        """Refuse to write where the store's inline views are not this writer's.

        Raises:
            ViewsDiffer: They are not.
        """
        if stored != self._view_names:
            raise ViewsDiffer(stored=stored or "(none)", found=self._view_names or "(none)")

    def _arrive(self, connection: sqlite3.Connection) -> int:
        head = self._recorder.head(query_on(connection))
        self.check_views(head.views)
        self._memory.begin_epoch()
        self._views.forget()
        return head.position
