"""Callers share commits rightly in whatever order their threads run."""

from __future__ import annotations

from ast import literal_eval
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from sessions.commits.job import Job
from sessions.commits.shared_commits import SharedCommits
from sessions.errors import QueueFull, StoreClosed
from tests.interleaving import Scenario, ScheduleError, Scheduler, replay, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sessions.commits.shared_commits import Jobs
    from tests.interleaving import Build, Choice

pytestmark = pytest.mark.no_cover

ENDS = (QueueFull, StoreClosed, KeyboardInterrupt)


class Queue(deque[Job]):
    """A queue that tells what it accepted."""

    def __init__(self, jobs: Iterable[Job], accepted: list[Job]) -> None:
        super().__init__(jobs)
        self.accepted = accepted

    def append(self, job: Job) -> None:
        self.accepted.append(job)
        super().append(job)


class Watched(SharedCommits):
    """Shared commits with such a queue."""

    def _begin(self) -> None:
        self.accepted: list[Job] = []
        super()._begin()

    @property
    def _queue(self) -> deque[Job]:
        return self.queue

    @_queue.setter
    def _queue(self, jobs: deque[Job]) -> None:
        self.queue = Queue(jobs, self.accepted)


class ForgetsWhoCameMeanwhile(Watched):
    """Ends its lead without a look at the queue."""

    def _hand_over(self, leader: Job) -> None:
        waiting = [job for job in self.queue if not job.done]
        self.queue.clear()
        super()._hand_over(leader)
        self.queue.extend(waiting)


class LeadsTwice(Watched):
    """Whoever comes leads."""

    def _join(self, job: Job) -> Any:
        self._led = False
        return super()._join(job)


class TakesTheNewestFirst(Watched):
    """Serves the last who came, so that the first may wait for ever."""

    def take(self) -> Sequence[Job]:
        self.queue.reverse()
        return super().take()


class PassesNothingOn(Watched):
    """Lets those sleep who were answered together with one that is awake."""

    def _pass_on(self) -> None:
        """Nobody is woken."""


class WakesNobodyInItsPlace(Watched):
    """Lets those sleep who would have been woken by one that was interrupted."""

    def _withdraw(self, job: Job) -> None:
        job.done, done = False, job.done
        super()._withdraw(job)
        job.done = done


class Callers:
    """Callers, each in a thread, and what became of them."""

    def __init__(  # noqa: PLR0913  all but the first have defaults
        self,
        scheduler: Scheduler,
        kind: type[Watched] = Watched,
        *,
        together: int = 9,
        waiting: int = 9,
        undone: slice | None = None,
        all_at_once: bool = False,
        calls: int = 1,
    ) -> None:
        self._calls = calls
        self._scheduler = scheduler
        self._undone = undone
        self._all_at_once = all_at_once
        self._in_order = not (undone and undone.start)
        self._leading = False
        self.performed: list[Job] = []
        self.outcomes: dict[Job, object] = {}
        self.commits = kind(
            self._perform,
            path="p",
            timeout=1,
            together=together,
            waiting=waiting,
            lock=scheduler.lock,
        )

    def _perform(self, waiting: Jobs) -> None:
        assert not self._leading, "two lead"
        self._leading = True
        try:
            waiting.waiting()
            waiting.let_come()
            self._scheduler.step("waits for the database")
            jobs = list(waiting.take())
            self._scheduler.step("decides")
            while more := self._all_at_once and waiting.take():
                self._scheduler.step("has the same answer for more of them")
                jobs += more
            if self._undone is not None:  # once
                jobs, self._undone = jobs[self._undone], None
            for job in jobs:
                self.performed.append(job)
                job.finish([])
            self._scheduler.step("has committed")
        finally:
            self._leading = False

    def work(self) -> None:
        """Call, and come back."""
        for _ in range(self._calls):
            self.call()

    def call(self) -> None:
        job = Job((), None, {})
        self.outcomes[job] = "waits"
        try:
            self.commits.do(job)
            self.outcomes[job] = "done"
        except ENDS as error:
            self.outcomes[job] = type(error)

    def close(self) -> None:
        try:
            self.commits.close()
        except KeyboardInterrupt:
            return
        assert {job for job in self.commits.accepted if not job.done} <= self._interrupted()
        with pytest.raises(StoreClosed):
            self.commits.do(Job((), None, {}))

    def _interrupted(self) -> set[Job]:  # who waits no more may not have said so yet
        return {job for job, end in self.outcomes.items() if end in {KeyboardInterrupt, "waits"}}

    def check(self) -> None:
        done = [job for job, end in self.outcomes.items() if end == "done"]
        refused = [job for job, end in self.outcomes.items() if end in {QueueFull, StoreClosed}]
        accepted = self.commits.accepted
        assert len(set(self.performed)) == len(self.performed), "one is done twice"
        assert set(done) <= set(self.performed), "one is answered and not done"
        assert not set(refused) & set(accepted), "one is refused that was accepted"
        if self._in_order:
            assert self.performed == [job for job in accepted if job in self.performed], "order"
        assert set(self.outcomes) == set(done) | set(refused) | self._interrupted()
        assert "waits" not in self.outcomes.values()
        self._undone = None
        if StoreClosed not in self.outcomes.values():
            self._check_next()

    def _check_next(self) -> None:
        try:
            self.call()
        except StoreClosed:
            return
        assert list(self.outcomes.values())[-1] in {"done", StoreClosed}, "nobody leads"
        self.commits.close()


def callers(number: int, *, closes: bool = False, **options: Any) -> Build:
    """A scenario of callers, and of one that closes."""

    def build(scheduler: Scheduler) -> Scenario:
        shared = Callers(scheduler, **options)
        calls: list[Callable[[], object]] = [shared.work] * number
        return Scenario([*calls, *[shared.close] * closes], shared.check)

    return build


def failing_schedule(build: Build, faults: int = 0) -> list[Choice]:
    """The first schedule that fails, as it is printed."""
    with pytest.raises(ScheduleError) as failed:
        search(build, preemptions=1, faults=faults)
    schedule: list[Choice] = literal_eval(str(failed.value).rpartition(" after ")[2])
    return schedule


@pytest.mark.parametrize("together", [1, 2])
def test_two_callers_are_both_done_in_every_order(together: int) -> None:
    assert search(callers(2, together=together), preemptions=3) > 20


@pytest.mark.parametrize(("together", "preemptions"), [(1, 1), (2, 2), (9, 1)])
def test_three_callers_are_all_done_in_every_order(together: int, preemptions: int) -> None:
    assert search(callers(3, together=together), preemptions=preemptions) > 20


def test_who_comes_back_is_done_again_in_every_order() -> None:
    assert search(callers(2, calls=2), preemptions=2) > 20
    assert search(callers(3, calls=2), preemptions=1) > 20
    assert search(callers(2, calls=2), preemptions=1, faults=1) > 20
    assert search(callers(2, calls=2, together=1), preemptions=1, faults=1) > 20


def test_all_who_are_answered_together_are_woken_by_one_another() -> None:
    assert search(callers(4), preemptions=1) > 20
    assert search(callers(4), preemptions=0, faults=1) > 20
    assert search(callers(4), preemptions=0, faults=1, signals=True) > 20


@pytest.mark.parametrize("undone", [slice(1), slice(1, None), slice(0)], ids=str)
def test_who_is_left_undone_is_done_by_the_next(undone: slice) -> None:
    assert search(callers(3, undone=undone), preemptions=1) > 20


def test_all_who_wait_are_answered_at_once_in_every_order() -> None:
    assert search(callers(3, together=1, all_at_once=True), preemptions=1) > 20
    assert search(callers(3, together=1, waiting=1, all_at_once=True), preemptions=1) > 20
    assert search(callers(2, together=1, all_at_once=True), preemptions=1, faults=1) > 20


def test_a_full_queue_lets_another_in_whenever_there_is_room() -> None:
    assert search(callers(3, together=1, waiting=1), preemptions=1) > 20
    assert search(callers(2, waiting=1), preemptions=3) > 20


def test_an_outsider_that_waits_no_more_leaves_its_place_to_the_next() -> None:
    assert search(callers(2, waiting=1), preemptions=1, faults=2) > 20
    assert search(callers(3, waiting=1), preemptions=0, faults=2) > 20


def test_an_interrupted_caller_takes_nobody_with_it() -> None:
    assert search(callers(2), preemptions=2, faults=1) > 20
    assert search(callers(3, together=1), preemptions=0, faults=1) > 20


def test_two_interrupted_callers_take_nobody_with_them() -> None:
    assert search(callers(2), preemptions=1, faults=2) > 20
    assert search(callers(3), preemptions=0, faults=2) > 20


def test_an_interrupt_where_a_lock_was_just_released_takes_nobody_along() -> None:
    assert search(callers(2), preemptions=1, faults=1, signals=True) > 20
    assert search(callers(2, waiting=1), preemptions=0, faults=1, signals=True) > 20


@pytest.mark.parametrize("waiting", [1, 9])
def test_closing_waits_for_what_was_accepted_and_refuses_the_rest(waiting: int) -> None:
    assert search(callers(2, waiting=waiting, closes=True), preemptions=2) > 20


def test_closing_waits_also_where_one_is_interrupted_or_waits_no_more() -> None:
    assert search(callers(1, closes=True), preemptions=1, faults=1) > 20
    assert search(callers(2, waiting=1, closes=True), preemptions=0, faults=1) > 20


@pytest.mark.parametrize(
    ("kind", "number", "faults"),
    [
        (ForgetsWhoCameMeanwhile, 2, 0),
        (LeadsTwice, 2, 0),
        (TakesTheNewestFirst, 3, 0),
        (PassesNothingOn, 4, 0),
        (WakesNobodyInItsPlace, 4, 1),
    ],
)
def test_the_search_finds_a_planted_fault_and_its_schedule_can_be_run_again(
    kind: type[Watched], number: int, faults: int
) -> None:
    build = callers(number, kind=kind)

    schedule = failing_schedule(build, faults)

    with pytest.raises(ScheduleError) as failed:
        replay(build, schedule)
    assert str(failed.value).endswith(f" after {schedule}")


def test_a_schedule_without_a_fault_can_be_run_too() -> None:
    schedule = failing_schedule(callers(2, kind=LeadsTwice))

    replay(callers(2), schedule[:5])
