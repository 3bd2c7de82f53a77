"""Transactions that many commands of one thread share: a bulk load."""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any

from sessions import forks
from sessions.errors import BatchFailed, OutsideBatch, SessionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.commits.answers import Executed
    from sessions.commits.job import Job
    from sessions.commits.transaction import Transaction
    from sessions.commits.writer import Writer

COMMANDS = 1000
"""It commits at least after so many."""

SECONDS = 1.0
"""It commits with the first command after so long."""


_entered: ContextVar[tuple[Batch, ...]] = ContextVar("customer-sessions-batches", default=())
"""The batches, each of another store, in which a task is: tasks that share a thread do not share
them. A task that is made inside begins inside.
"""


class Batch:
    """The transactions that a bulk load shares; see `SessionStore.batch`.

    Attributes:
        has_ended: Whether its block was left.
    """

    def __init__(self, writer: Writer, check_writable: Callable[[], None]) -> None:
        self._writer = writer
        self._check_writable = check_writable
        self._transaction: Transaction | None = None
        self._asked = 0
        self._answered = 0
        self._since = 0.0
        self._lost = 0
        self._cause: BaseException | None = None
        self._thread = get_ident()
        self.has_ended = False
        forks.watch_and_hold(self)

    def hold_for_fork(self) -> None:
        """Commit: in a child SQLite would take the parent's transaction for one of the child's."""
        if self._is_here:
            with suppress(Exception):  # the next call says what is lost
                self._commit()

    def go_on_after_fork(self) -> None:
        """The next command begins a transaction."""

    def begin_again_in_child(self) -> None:
        """After a fork: a transaction of another thread is the parent's."""
        self._transaction = None

    @property
    def is_open(self) -> bool:
        """Whether something is executed and not committed, or lost."""
        return self._transaction is not None or self._lost > 0

    @property
    def is_inside(self) -> bool:
        """Whether the caller is inside: its commands belong to this batch."""
        return self._is_here and not self.has_ended and self in _entered.get()

    @property
    def _is_here(self) -> bool:
        """Whether this is the thread whose transaction it has: no other can end that."""
        return self._thread == get_ident()

    def open(self) -> None:
        """Let what comes be inside; `end` and `close` must follow."""
        _entered.set((*[each for each in _entered.get() if not each.has_ended], self))

    def end(self) -> None:
        """Make all of it durable, where its block ends.

        Raises:
            OutsideBatch: It ends in another thread.
            BatchFailed: What it answered is lost.
        """
        if not self._is_here:
            raise OutsideBatch
        self._commit()
        self.check()

    def close(self) -> None:
        """Let nothing be inside any more, and drop what is not committed.

        Where that is interrupted, it is to be called again. In another thread than its own it drops
        nothing: `abandon` must follow in that.
        """
        self.has_ended = True
        _entered.set(tuple([each for each in _entered.get() if each is not self]))
        if self._is_here:
            self.abandon()

    def begin(self) -> None:
        """Take the lock now: what is read in the batch from here on is so until its next commit.

        What is due is committed before: to begin again lets others write now and then.

        Raises:
            OutsideBatch: It has ended, or another thread or task opened it.
            BatchFailed: What it answered before is lost.
            StoreReadOnly: The store was opened to be read only.
            StoreBusy: Others held the lock for too long.
        """
        if not self.is_inside:
            raise OutsideBatch
        self.check()
        if self._transaction is not None and self._is_due():
            self._commit()
        if self._transaction is None:
            self._check_writable()
            self._begin(())

    def _begin(self, jobs: Sequence[Job]) -> Transaction:
        self._transaction = self._writer.begin(lambda: jobs)
        self._asked, self._answered, self._since = 0, 0, time.monotonic()
        return self._transaction

    def run(self, job: Job) -> list[Executed]:
        """Decide a job's commands, all or none of them, in the batch's transaction.

        Raises:
            BatchFailed: What it answered before is lost.
        """
        self.check()
        transaction = self._transaction or self._begin([job])
        self._asked += len(job.requests)
        try:
            transaction.prepare([job])
            executed = transaction.run(job.requests, job.key, job.meta, dry_run=job.dry_run)
        except BaseException as error:
            self._struck(transaction, error)
            if self._is_due():  # what is refused must not keep the lock from others for ever
                self._commit()
            raise
        if self._is_due():
            self._commit()
        else:
            self._answered += len(job.requests)
        return executed

    def query(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT, the batch's own writes included.

        Raises:
            BatchFailed: What it answered before is lost.
        """
        self.check()
        transaction = self._transaction
        if transaction is None:
            raise AssertionError
        try:
            transaction.flush()
        except BaseException as error:
            self._lose(error)
            raise
        try:
            return transaction.query(sql, parameters)
        except BaseException as error:
            self._struck(transaction, error)
            raise

    def check(self) -> None:
        """Refuse to go on as if what it answered were not lost.

        Raises:
            BatchFailed: It is.
        """
        if self._lost:
            reason = f"{type(self._cause).__name__}: {self._cause}"
            raise BatchFailed(answered=self._lost, reason=reason) from self._cause

    def _is_due(self) -> bool:
        return self._asked >= COMMANDS or time.monotonic() - self._since > SECONDS

    def _struck(self, transaction: Transaction, error: BaseException) -> None:
        """A call failed: what failed in deciding or reading is that call's alone."""
        is_its_own = isinstance(error, Exception) and not transaction.is_torn
        if not (is_its_own and transaction.goes_on):
            self._lose(error)

    def _lose(self, error: BaseException) -> None:
        self._lost, self._cause = self._answered, error
        self.abandon()
        self._tell_of_lost(error)

    def _tell_of_lost(self, error: BaseException) -> None:
        """What the caller has to know of the store's error is what was lost with it."""
        if isinstance(error, SessionsError):
            self.check()

    def commit(self) -> None:
        """Make what was executed so far durable.

        Raises:
            OutsideBatch: It has ended, or another thread or task opened it.
            BatchFailed: What it answered before is lost with an error of the store.
        """
        if not self.is_inside:
            raise OutsideBatch
        self._commit()

    def _commit(self) -> None:
        transaction = self._transaction
        if transaction is None:
            return
        try:
            self._writer.commit(transaction)
        except BaseException as error:
            if isinstance(error, SessionsError) or not self._is_durable(transaction):
                self._lost, self._cause = self._answered, error
            self._tell_of_lost(error)
            raise
        finally:
            self._answered = 0
            self._let_go()

    def _is_durable(self, transaction: Transaction) -> bool:
        """Whether a commit that was interrupted was made all the same; not, if nobody can say."""
        with suppress(SessionsError):
            return self._writer.wrote(transaction)
        return False

    def abandon(self) -> None:
        """Drop what was executed since the last commit.

        Where that is interrupted, it is to be called again.
        """
        if self._transaction is not None:
            self._writer.abandon(self._transaction)
            self._let_go()

    def _let_go(self) -> None:
        """Begin another transaction with the next command, if this one has ended."""
        if self._transaction is not None and self._transaction.has_ended:
            self._transaction = None
