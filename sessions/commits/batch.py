"""The batch of a bulk load: transactions that many commands of one thread share."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any

from sessions import forks
from sessions.errors import BatchFailed, OutsideBatch, SessionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sessions.commits.answers import Executed
    from sessions.commits.job import Job
    from sessions.commits.transaction import Transaction
    from sessions.commits.writer import Writer

COMMANDS = 1000
"""A batch commits after this many commands at the latest."""

SECONDS = 1.0
"""A batch commits at the first command after this time."""


_entered: ContextVar[tuple[RunningBatch, ...]] = ContextVar("customer-sessions-batches", default=())
"""The batches that the current task is inside, at most one of each store.

It is a context variable because tasks that share a thread do not share batches. A task that is
created inside a batch starts inside it.
"""


class RunningBatch:
    """The transactions of a bulk load, one after the other; see `SessionStore.batch`.

    Attributes:
        has_ended: Whether its block has ended.
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
        self._is_at_work = False
        self.has_ended = False
        forks.watch_and_settle(self)

    def settle_for_fork(self) -> None:
        """Commit before a fork: in the child SQLite would take the transaction for the child's.

        Not if a clock, a fold or a signal handler forks in the middle of a call of the batch: that
        call goes on with the transaction.
        """
        if self._is_here and not self._is_at_work:
            with suppress(Exception):  # the next call raises what is lost
                self._commit()

    def begin_again_in_child(self) -> None:
        """End in a forked child: the block is the parent's, and a child may never leave it.

        What the child executes is committed at once, like anywhere else outside of a batch.
        """
        self._transaction, self._lost, self.has_ended = None, 0, True

    @property
    def is_open(self) -> bool:
        """Whether it has commands that are not committed, or that are lost."""
        return self._transaction is not None or self._lost > 0

    @property
    def is_inside(self) -> bool:
        """Whether the calling task is inside, so that its commands belong to this batch."""
        return self._is_here and not self.has_ended and self in _entered.get()

    @property
    def _is_here(self) -> bool:
        """Whether this is the thread whose transaction it has; no other thread can end that."""
        return self._thread == get_ident()

    def open(self) -> None:
        """Enter the batch; `end` and `close` must follow."""
        _entered.set((*[each for each in _entered.get() if not each.has_ended], self))

    def end(self) -> None:
        """Commit the rest, at the end of the block.

        Raises:
            OutsideBatch: The block ends in another thread.
            BatchFailed: Commands that it answered are lost.
        """
        if not self._is_here:
            raise OutsideBatch
        with self._at_work():
            self._commit()
        self.check()

    def close(self) -> None:
        """Leave the batch, and drop what is not committed.

        If it is interrupted, call it again. In another thread than the batch's own it drops
        nothing: `abandon` must follow in the batch's thread.
        """
        self.has_ended = True
        _entered.set(tuple([each for each in _entered.get() if each is not self]))
        if self._is_here:
            self.abandon()

    def begin(self) -> None:
        """Take the lock now; see `sessions.batching.Batch`."""
        if not self.is_inside:
            raise OutsideBatch
        self.check()
        with self._at_work():
            if self._transaction is not None and self._is_due():
                self._commit()
            if self._transaction is None:
                self._check_writable()
                self._begin(())

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """A call of the batch, which may be inside another one: by a clock or a fold, say."""
        before, self._is_at_work = self._is_at_work, True
        try:
            yield
        finally:
            self._is_at_work = before

    def _begin(self, jobs: Sequence[Job]) -> Transaction:
        self._transaction = self._writer.begin(lambda: jobs)
        self._asked, self._answered, self._since = 0, 0, time.monotonic()
        return self._transaction

    def run(self, job: Job) -> list[Executed]:
        """Decide a job's commands, all or none of them, in the batch's transaction.

        Raises:
            BatchFailed: Commands that it answered before are lost.
        """
        self.check()
        before, self._is_at_work = self._is_at_work, True  # `_at_work`, which costs more
        try:
            return self._run(job)
        finally:
            self._is_at_work = before

    def _run(self, job: Job) -> list[Executed]:
        transaction = self._transaction or self._begin([job])
        self._asked += len(job.requests)
        try:
            transaction.prepare([job])
            executed = transaction.run(job.requests, job.key, job.meta, dry_run=job.dry_run)
        except BaseException as error:
            self._struck(transaction, error)
            if self._is_due():  # else refused commands could hold the lock for ever
                self._commit()
            raise
        if self._is_due():
            self._commit()
        else:
            self._answered += _to_be_kept(job, executed)
        return executed

    def query(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT, the batch's own writes included.

        Raises:
            BatchFailed: Commands that it answered before are lost.
        """
        self.check()
        with self._at_work():
            return self._query(sql, parameters)

    def _query(self, sql: str, parameters: Sequence[object]) -> list[Any]:
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
        """Raise if commands that it answered are lost.

        Raises:
            BatchFailed: They are.
        """
        if self._lost:
            reason = f"{type(self._cause).__name__}: {self._cause}"
            raise BatchFailed(answered=self._lost, reason=reason) from self._cause

    def _is_due(self) -> bool:
        return self._asked >= COMMANDS or time.monotonic() - self._since > SECONDS

    def _struck(self, transaction: Transaction, error: BaseException) -> None:
        """A call failed: only a failure to decide or to read leaves the transaction as it is."""
        is_its_own = isinstance(error, Exception) and not transaction.is_torn
        if not (is_its_own and transaction.goes_on):
            self._lose(error)

    def _lose(self, error: BaseException) -> None:
        self._lost, self._cause = self._answered, error
        self.abandon()
        self._tell_of_lost(error)

    def _tell_of_lost(self, error: BaseException) -> None:
        """After an error of the store, raise what matters more: what was lost with it."""
        if isinstance(error, SessionsError):
            self.check()

    def commit(self) -> None:
        """Commit now; see `sessions.batching.Batch`."""
        if not self.is_inside:
            raise OutsideBatch
        self.check()
        with self._at_work():
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
        """Whether an interrupted commit took place; False if that cannot be found out."""
        with suppress(SessionsError):
            return self._writer.wrote(transaction)
        return False

    def abandon(self) -> None:
        """Drop what was executed since the last commit.

        If it is interrupted, call it again.
        """
        if self._transaction is not None:
            self._writer.abandon(self._transaction)
            self._let_go()

    def _let_go(self) -> None:
        """Forget the transaction if it has ended; the next command begins another one."""
        if self._transaction is not None and self._transaction.has_ended:
            self._transaction = None


def _to_be_kept(job: Job, executed: Sequence[Executed]) -> int:
    """How many answers of a job are lost with its transaction: those that leave something there."""
    if job.dry_run or any(each.replayed for each in executed):
        return 0
    return sum(job.key is not None or bool(each.events) for each in executed)
