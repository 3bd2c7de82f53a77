"""Callers whose commands are decided in one transaction."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from sessions.commits.shared_commits import SharedCommits
from sessions.events import ItemAdded
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions import Executed, SessionStore
    from sessions.commits.job import Job

    Call = Callable[[], Executed]


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were accepted, in order."""
    jobs: list[Job] = []
    join = SharedCommits._join

    def watched(commits: SharedCommits, job: Job) -> Any:
        outcome = join(commits, job)
        jobs.append(job)
        return outcome

    monkeypatch.setattr(SharedCommits, "_join", watched)
    return jobs


def together(store: SessionStore, joined: list[Job], calls: Sequence[Call]) -> list[Any]:
    """What the callers of one group get if they arrive in this order: answers and errors."""
    database = store.recorder.database
    with ThreadPoolExecutor(len(calls)) as pool:
        with database.writing():
            futures = []
            for number, call in enumerate(calls, len(joined) + 1):
                futures.append(pool.submit(call))
                until(lambda number=number: len(joined) == number)  # type: ignore[misc]  # a lambda with a default
        return [future.exception() or future.result() for future in futures]


def skus(store: SessionStore) -> list[str]:
    """What was added to the session "s"."""
    events = [recorded.event for recorded in store.events("s")]
    return [event.item.sku for event in events if isinstance(event, ItemAdded)]
