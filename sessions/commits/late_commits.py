"""Commits that take the lock themselves: one that was lost on its way may still come later.

It comes only if the log still ends where it was decided. So the jobs that have events in it know of
it, from before it is sent until it is settled: either it is in the log, or something else has its
place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.commits.job import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.commits.answers import Executed
    from sessions.commits.job import Job
    from sessions.commits.transaction import Transaction


def take_note(
    transaction: Transaction,
    jobs: Sequence[Job],
    outcomes: Sequence[list[Executed] | Exception],
) -> None:
    """Tell jobs of a commit that has events of theirs, before it is sent."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        if transaction.first is not None and isinstance(outcome, list):
            has_events = not job.dry_run and _ends(outcome) >= transaction.first.position
            job.attempt = Attempt(transaction.first, outcome) if has_events else None


def _ends(outcome: Sequence[Executed]) -> int:
    """The position of the newest event; a repeated answer has those of its own, earlier commit."""
    return max((event.position for executed in outcome for event in executed.events), default=0)


def forget(transaction: Transaction, jobs: Sequence[Job]) -> None:
    """Let jobs forget a commit that can never come."""
    for job in jobs if transaction.is_late and not transaction.may_come else ():
        job.attempt = None


def came(transaction: Transaction, jobs: Sequence[Job]) -> dict[Job, Attempt]:
    """The jobs whose commit is in the log by now, as a transaction with the lock sees it."""
    attempts = {job: job.attempt for job in jobs if job.attempt is not None}
    firsts = {id(attempt.first): attempt.first for attempt in attempts.values()}
    found = {key for key, first in firsts.items() if transaction.sees(first)}
    return {job: attempt for job, attempt in attempts.items() if id(attempt.first) in found}


def may_come(job: Job, position: int) -> bool:
    """Whether a job's commit may still come to a log that ends at a position."""
    return job.attempt is not None and position < job.attempt.first.position
