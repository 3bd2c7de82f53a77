"""The transaction that callers share: their jobs are decided in turn, and committed once.

A failure reaches only the caller that it belongs to, and no command is executed twice.
"""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING

from sessions.commits import late_commits
from sessions.errors import (
    OutcomeUnknown,
    Refused,
    SessionsError,
    StorageFailed,
    StoreBusy,
    StoreUnavailable,
)
from sessions.news import News
from sessions.sql.database import LogMoved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.commits.answers import Executed
    from sessions.commits.job import Job
    from sessions.commits.shared_commits import Jobs
    from sessions.commits.transaction import Transaction
    from sessions.commits.writer import Writer


class GroupCommit:
    """The transactions of the callers that wait at the same moment (`SharedCommits`).

    Args:
        writer: Begins them, and makes them durable.
        path: What errors call the store.
        patience: Seconds for which it keeps trying a database that goes away again and again.
    """

    def __init__(self, writer: Writer, path: str, patience: float) -> None:
        self._writer = writer
        self._path = path
        self._patience = patience

    def perform(self, queue: Jobs) -> None:
        """Decide the waiting jobs in one transaction; what breaks one of them spares the rest.

        A refusal concerns its own job. If anything else goes wrong, the transaction is dropped, and
        its jobs are done one by one, so that an error reaches only the job it belongs to. A job is
        tried again if the database went away before the commit. If the lock is not free in time,
        all waiting jobs are told, since each would only wait for it again.
        """

        def waiting() -> Sequence[Job]:
            queue.let_come()  # a later job needs a round trip of its own
            return queue.waiting()

        try:
            transaction = self._writer.begin(waiting, lock=not self._writer.is_alone)
        except SessionsError as error:  # any other is the leader's alone, from a signal handler
            self._fail_all(queue, error)
            return
        try:
            if self._writer.is_alone:
                queue.let_come()
            self._perform(transaction, queue, queue.take())
        finally:
            transaction.end()

    def _perform(self, transaction: Transaction, queue: Jobs, jobs: Sequence[Job]) -> None:
        try:
            self._do_together(transaction, jobs)
        except StoreBusy as error:  # they would only wait for it again
            self._fail(jobs, error)
            self._fail_all(queue, error)
        except Exception as error:
            if all(job.done for job in jobs):
                raise
            again = isinstance(error, StoreUnavailable) or len(jobs) > 1
            if again and not isinstance(error, OutcomeUnknown):
                self._writer.abandon(transaction)  # it may have been interrupted before that
                self._one_by_one(jobs)
            else:
                self._fail(jobs, error)

    def _do_together(self, transaction: Transaction, jobs: Sequence[Job]) -> None:
        """Do all jobs; again, with the lock first, if that turns out to be needed."""
        if transaction.is_late and any(job.attempt for job in jobs):
            self._writer.abandon(transaction)
            self._do_anew(jobs)
            return
        try:
            self._do(transaction, jobs)
        except LogMoved:
            self._do_anew(jobs)
        except StorageFailed:
            if not transaction.is_late:
                raise
            self._do_anew(jobs)  # others may have renamed or dropped what it asked

    def _do_anew(self, jobs: Sequence[Job]) -> None:
        transaction = self._writer.begin(lambda: jobs)
        try:
            self._do(transaction, jobs)
        finally:
            transaction.end()

    def _one_by_one(self, jobs: Sequence[Job]) -> None:
        deadline = time.monotonic() + self._patience
        for number, job in enumerate(jobs):
            while not job.done:
                try:
                    transaction = self._writer.begin(lambda: [job])  # noqa: B023  asked at once
                except SessionsError as error:  # any other is the leader's, as in `perform`
                    self._fail(jobs[number:], error)
                    return
                self._alone(transaction, job, deadline)

    def _alone(self, transaction: Transaction, job: Job, deadline: float) -> None:
        """Do one job; if nothing of it is written and there is time, leave it to be done again."""
        try:
            self._do(transaction, [job])
        except Exception as error:
            if job.done:
                raise
            if not isinstance(error, StoreUnavailable) or time.monotonic() > deadline:
                self._fail([job], error)
        finally:
            transaction.end()

    def _do(self, transaction: Transaction, jobs: Sequence[Job]) -> None:
        try:
            transaction.prepare(jobs)
            outcomes = _outcomes(transaction, jobs)
        except BaseException:
            self._writer.abandon(transaction)
            raise
        try:
            if transaction.is_late:  # before it is sent: an interrupt may come at any moment
                late_commits.take_note(transaction, jobs, outcomes)
            self._writer.commit(transaction)
            self._finish(transaction, jobs, outcomes)
        except (News, SessionsError):
            late_commits.forget(transaction, jobs)
            raise
        except BaseException as error:
            self._settle(transaction, jobs, outcomes, error)
            late_commits.forget(transaction, jobs)
            raise
        finally:
            outcomes.clear()  # tracebacks of refusals refer to it

    def _settle(
        self,
        transaction: Transaction,
        jobs: Sequence[Job],
        outcomes: Sequence[list[Executed] | Exception],
        interrupt: BaseException,
    ) -> None:
        """The leader was interrupted: make sure that no command is executed a second time.

        The interrupt may be any error, because a signal handler may raise anything.
        """
        unknown = self._unknown(repr(interrupt))
        try:
            if self._writer.wrote(transaction):
                self._finish(transaction, jobs, outcomes)
        except SessionsError:
            self._fail(jobs, unknown)
        except BaseException:
            self._fail([job for job in jobs if not job.done], unknown)
            raise

    def _finish(
        self,
        transaction: Transaction,
        jobs: Sequence[Job],
        outcomes: Sequence[list[Executed] | Exception],
    ) -> None:
        """Answer the jobs; but a refusal is no answer while another commit of the job may come."""
        for job, outcome in zip(jobs, outcomes, strict=True):
            may_come = late_commits.may_come(job, transaction.position)
            said = repr(outcome) if isinstance(outcome, Exception) else "it was also done again"
            job.finish(self._unknown(said) if may_come else outcome)

    def _unknown(self, reason: str) -> OutcomeUnknown:
        return OutcomeUnknown(path=self._path, reason=reason)

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        """Give each job an error of its own, because raising an error writes into it.

        A job whose commit may still come is not told that nothing was written.
        """
        says_so = isinstance(error, SessionsError) and not isinstance(error, OutcomeUnknown)
        for job in jobs:
            if job.attempt is not None and says_so:
                unknown = self._unknown(repr(error))
                unknown.__cause__ = error
                job.finish(unknown)
            else:
                job.finish(_own(error))

    def _fail_all(self, queue: Jobs, error: Exception) -> None:
        while jobs := queue.take():
            self._fail(jobs, error)


def _outcomes(transaction: Transaction, jobs: Sequence[Job]) -> list[list[Executed] | Exception]:
    """What each job decides, or decided in a commit that came late."""
    came = late_commits.came(transaction, jobs)
    return [came[job].outcome if job in came else _outcome(transaction, job) for job in jobs]


def _outcome(transaction: Transaction, job: Job) -> list[Executed] | Exception:
    try:
        return transaction.run(job.requests, job.key, job.meta, dry_run=job.dry_run)
    except Refused as error:  # nothing is wrong with the transaction
        return error


def _own(error: Exception) -> Exception:
    """A copy of an error, for one of the callers that it reaches."""
    if not isinstance(error, SessionsError):
        return error
    own = copy(error)
    own.__cause__ = error.__cause__ or error
    return own
