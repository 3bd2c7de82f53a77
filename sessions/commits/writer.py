"""The road of a command: read, decide and append, in one transaction that has the lock.

The lock is taken before anything is read. So what a decision is based on (the session, the claims,
the idempotency key) cannot change before its events are committed: a race is not lost, it does not
take place. If the lock costs a round trip, a writer that was alone takes it with its commit, and
decides again with the lock first if the log has moved meanwhile. Sessions and views are held in
memory between transactions; the end of the log proves that nobody else has written since this
writer left it. It proves nothing in a new session with a server: after a failover that may be
another one, which lacks the newest events, and whose log others have gone on with since.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sessions import forks, tracing
from sessions.commits.memory import Memory
from sessions.commits.needs import Means, needs_of
from sessions.commits.transaction import Transaction
from sessions.errors import (
    OutcomeUnknown,
    SessionsError,
    StorageFailed,
    StoreUnavailable,
    ViewsDiffer,
)
from sessions.sql.head import Head
from sessions.views import kept
from sessions.views.inline import InlineViews

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from sessions.commits.job import Job
    from sessions.commits.needs import Needs
    from sessions.log.mapper import Mapper
    from sessions.log.recorder import SessionRecorder
    from sessions.sql.begun import Begun
    from sessions.sql.connection import Statement
    from sessions.views.projection import Projection

_AGAIN_SECONDS = 0.05
"""How long it waits before it asks the log again."""


class Writer:
    """Writes to an application's log, for all threads of a process.

    Attributes:
        is_alone: Whether nobody else had written when it last began: then it need not lock at once.
    """

    def __init__(
        self,
        recorder: SessionRecorder,
        mapper: Mapper,
        projections: Sequence[Projection[Any]],
        now: Callable[[], datetime],
    ) -> None:
        self._recorder = recorder
        self._database = recorder.database
        self._views = InlineViews(projections, recorder.application_id, self._database.dialect)
        self._memory = Memory()
        self._means = Means(recorder, mapper, self._views, self._memory, now)
        self._left: Head | None = None
        self._session = 0
        self.is_alone = False
        forks.watch(self)

    def begin_again_in_child(self) -> None:
        """In a forked child, what is held in memory has to be proved current again."""
        self._left, self.is_alone = None, False
        self._memory.begin_epoch()
        self._views.forget()

    def begin(self, jobs: Callable[[], Iterable[Job]] = tuple, *, lock: bool = True) -> Transaction:
        """Begin a transaction that has the lock; `commit` or `abandon` must follow.

        Without `lock` the commit may take it, and then says if others were faster. What `jobs` will
        need is read along if that saves a round trip; the jobs that it decides may be others.

        Raises:
            StoreBusy: Others held the lock for too long.
            ViewsDiffer: The store's inline views are not those that this writer has.
        """
        needs: Needs | None = None

        def asked() -> Sequence[Statement]:
            nonlocal needs
            needs = needs_of(jobs(), self._means, {}, lambda _: False)
            return needs.statements if needs else ()

        known = self._memory.generation
        begun = self._begun(asked, lock=lock)
        try:
            if begun.is_late and begun.session > self._session:  # nothing proves what is known
                self._database.end(begun.connection)
                begun = self._begun(asked, lock=True)
            head = self._arrived(begun)
            early, late = None, begun.is_late
            if needs and begun.answers and self._memory.generation == known:
                early = needs, begun.answers
            return Transaction(self._means, begun.connection, head, early, is_late=late)
        except BaseException:
            self._views.forget()
            self._database.end(begun.connection)
            raise

    def _begun(self, asking: Callable[[], Sequence[Statement]], *, lock: bool) -> Begun:
        application_id = self._recorder.application_id
        return self._database.begin(lambda: self._left, application_id, asking, lock=lock)

    def _arrived(self, begun: Begun) -> Head:
        if begun.session > self._session:
            self._left, self._session = None, begun.session
            self._memory.forget()
        head = self._left if begun.head is None else Head.of(begun.head)
        if head is None:
            raise AssertionError
        self._views.arrange(head.views)
        left = self._left
        if left is not None and (head.position < left.position or head.views != left.views):
            self._memory.forget()  # perhaps a backup was restored, or the store was made anew
        self.is_alone = head == left
        if not (self.is_alone or self._catch_up(head, begun.news)):
            self._memory.begin_epoch()
            self._views.forget()
        self._left = head
        return head

    def _catch_up(self, head: Head, rows: Sequence[Any]) -> bool:
        """Fold what others wrote into what is held; tell whether `rows` allow that."""
        if self._left is None or self._left.position + len(rows) != head.position:
            return False
        touching = self._memory.touched_by(rows) | self._views.touched_by(rows)
        held = [row for row in rows if row[0] in touching]
        try:
            for recorded in self._means.mapper.recorded(self._recorder.application_id, held):
                self._memory.catch_up(recorded)
                self._views.catch_up(recorded)
        except Exception:  # noqa: BLE001  a command that needs the event meets it again
            return False
        return True

    def commit(self, transaction: Transaction) -> None:
        """Make a transaction durable, and hold in memory what it made.

        If the acknowledgement is lost, the log tells whether the transaction is in it, by the id of
        its first command.

        Raises:
            OutcomeUnknown: The database did not say whether it committed, and could not be asked.
            StoreUnavailable: The database went away before the commit; nothing is written, or not
                yet (`may_come`).
            ViewsDiffer: Somebody dropped a relation of an inline view.
        """
        try:
            self._commit(transaction)
        except OutcomeUnknown as error:
            try:
                written = self.wrote(transaction)
            except SessionsError:
                raise error from None
            if not written:
                raise StoreUnavailable(path=error.path, reason=error.reason) from error
        except StorageFailed:
            self._tell_if_dropped()
            raise

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.fold()
            head = transaction.head
            self._write(head, transaction)
            self._memory.hold(transaction.states)
            self._left = head
        except BaseException:
            self._views.forget()
            raise
        finally:
            transaction.end()

    @tracing.spanned(
        "commit",
        when=lambda _, __, transaction: transaction.writes,
        position=lambda _, head, __: head.position,
    )
    def _write(self, head: Head, transaction: Transaction) -> None:
        self._database.commit(head, transaction.connection, transaction.write)

    def abandon(self, transaction: Transaction) -> None:
        """End a transaction without a trace, in memory too.

        If it is interrupted, call it again.
        """
        try:
            if not transaction.has_ended:  # else the views are another thread's by now
                self._views.forget()
        finally:
            transaction.end()

    def wrote(self, transaction: Transaction) -> bool:
        """Whether a transaction, of which this is not known, is in the log.

        The log is asked under the lock. A lost transaction that had the lock has ended by then. One
        that was to take the lock with its commit may still get it later (`may_come`), until
        anything is written: then the log no longer ends where it was decided. If an interrupt came
        before the commit, the transaction is ended here. If the connection breaks while the log is
        asked, it is asked again, for as long as a writer waits for a lock.
        """
        self.abandon(transaction)
        first = transaction.first
        if first is None:
            return False
        transaction.may_come = transaction.is_late
        deadline = time.monotonic() + self._database.lock_timeout
        while True:
            asking = self.begin()
            try:
                found = asking.sees(first)
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
            else:
                transaction.may_come = transaction.is_late and not found
                return found
            finally:
                try:
                    self.abandon(asking)
                finally:
                    asking.end()  # an interrupt may have come as it began
            time.sleep(_AGAIN_SECONDS)

    def check_views(self) -> None:
        """Raise if the store keeps inline views that this writer cannot keep.

        Raises:
            ViewsDiffer: It does.
        """
        self._views.arrange(self._recorder.head(self._database.query).views)
        self._check_relations()

    def _tell_if_dropped(self) -> None:
        """Raise if something failed because a relation was dropped, and nothing else."""
        try:
            self._check_relations()
        except ViewsDiffer:
            raise
        except SessionsError:
            return

    def _check_relations(self) -> None:
        kept.check_columns(self._database, self._views.kept_here)
