"""Callers in many threads share commits, and each gets its own answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from projections import CustomerSessions
from projections.verifying.verify import verify
from sessions import (
    CloseSession,
    Executed,
    IdempotencyKeyReused,
    OpenSession,
    SessionNotFound,
    SetAttributes,
    StoreClosed,
    VersionConflict,
)
from sessions.commits.group_commit import GroupCommit
from sessions.commits.job import Job
from sessions.commits.shared_commits import SharedCommits
from sessions.errors import QueueFull, UndecodableEvent
from sessions.views.inline import InlineViews
from tests.conftest import add, in_threads
from tests.groups import joined, together
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions import SessionStore
    from sessions.commits.shared_commits import Jobs
    from sessions.sql.connection import Query
    from tests.conftest import OpenStore
    from tests.groups import Call

__all__ = ["joined"]


@pytest.fixture
def commits(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each commit of the store."""
    store.execute("first", OpenSession())
    done: list[None] = []
    commit = store.recorder.database.commit

    def counted(*args: Any) -> None:
        commit(*args)
        done.append(None)

    monkeypatch.setattr(store.recorder.database, "commit", counted)
    return done


def calls(store: SessionStore, *sessions: str) -> list[Call]:
    """Opens sessions."""
    return [partial(store.execute, session, OpenSession()) for session in sessions]


def events_of(store: SessionStore, *sessions: str) -> list[int]:
    return [len(list(store.events(session))) for session in sessions]


def test_commands_of_sixteen_threads_share_commits(
    store: SessionStore, commits: list[None], joined: list[Job]
) -> None:
    def work(number: int) -> list[Executed]:
        mine, key = f"s{number}", f"k{number}"
        return [
            store.execute(mine, OpenSession(profile_id=f"p{number % 3}"), idempotency_key=key),
            store.execute(mine, add(), expected_version=1),
            *store.execute_many(mine, [add("b"), SetAttributes(attributes={"n": number})]),
            store.execute(mine, add("c"), dry_run=True),
            store.execute(mine, OpenSession(profile_id=f"p{number % 3}"), idempotency_key=key),
            store.execute(mine, CloseSession()),
        ]

    with ThreadPoolExecutor(1) as pool:
        with store.recorder.database.writing():
            working = pool.submit(in_threads, 16, work)
            until(lambda: len(joined) == 16)
        answers = working.result()

    assert len(commits) < 16 * 6
    assert [[done.version for done in each] for each in answers] == [[1, 2, 3, 4, 5, 1, 5]] * 16
    assert all(each[0] == each[5] for each in answers)
    assert [recorded.position for recorded in store.log()] == list(range(1, 1 + 1 + 16 * 5))
    written = {r.position: r for r in store.log()}
    for each in answers:
        for done in (*each[:4], each[6]):
            assert done.events == [written[done.position]]
    firsts = [CustomerSessions(store).get(f"s{n}").first_session for n in range(16)]
    assert sum(firsts) == 3
    assert verify(store) == []


def test_who_waits_meanwhile_is_committed_in_one_go_and_in_order(
    store: SessionStore, commits: list[None], joined: list[Job]
) -> None:
    answers = together(store, joined, calls(store, "e", "d", "c", "b", "a"))

    assert [(done.session_id, done.position) for done in answers] == [*zip("edcba", range(2, 7))]  # noqa: B905  the range may be longer
    assert len(commits) == 1


def test_each_gets_its_own_error_and_leaves_the_others_whole(
    store: SessionStore, commits: list[None], joined: list[Job]
) -> None:
    store.execute("k", OpenSession(), idempotency_key="used")
    commits.clear()
    found = together(
        store,
        joined,
        [
            *calls(store, "a"),
            partial(store.execute, "nobody", add()),
            partial(store.execute, "a", add(), expected_version=1),
            partial(store.execute, "a", add(), expected_version=1),
            partial(store.execute, "a", add(), idempotency_key="used"),
            partial(store.execute, "a", add(), idempotency_key="new"),
            partial(store.execute, "a", add("other"), idempotency_key="new"),
            *calls(store, "z"),
        ],
    )

    assert [type(each) for each in found] == [
        Executed,
        SessionNotFound,
        Executed,
        VersionConflict,
        IdempotencyKeyReused,
        Executed,
        IdempotencyKeyReused,
        Executed,
    ]
    assert [found[n].position for n in (0, 2, 5, 7)] == [3, 4, 5, 6]
    assert (found[3].expected, found[3].actual) == (1, 2)
    assert len(commits) == 1
    assert verify(store) == []


def test_the_same_key_in_one_group_is_executed_once(
    store: SessionStore, commits: list[None], joined: list[Job]
) -> None:
    once = partial(store.execute, "first", add(), idempotency_key="k")

    answers = together(store, joined, [once] * 8)

    assert answers == [answers[0]] * 8
    assert store.answered("k") == [answers[0]]
    assert (store.position, len(commits)) == (2, 1)


def test_what_breaks_one_strikes_its_caller_alone(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = InlineViews.fold

    def breaking(views: InlineViews, query: Query, events: Sequence[Any]) -> None:
        for recorded in events:
            if recorded.stream_id == "broken":
                raise UndecodableEvent(type="t", type_version=1, where=1, reason=1)
        fold(views, query, events)

    store.execute("first", OpenSession())
    monkeypatch.setattr(InlineViews, "fold", breaking)

    a, broken, b = together(store, joined, calls(store, "a", "broken", "b"))

    assert (type(broken), a.position, b.position) == (UndecodableEvent, 2, 3)
    assert events_of(store, "a", "broken", "b") == [1, 0, 1]
    monkeypatch.undo()
    assert verify(store) == []
    assert store.execute("broken", OpenSession()).position == 4


def test_a_signal_before_the_first_decides_lets_all_who_share_the_commit_go_on(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("first", OpenSession())
    do, begun = GroupCommit._do, []

    def late(*given: Any) -> None:
        begun.append(given)
        if len(begun) == 1:
            raise TimeoutError  # as the handler of a signal may, before `_do` can tidy up
        do(*given)

    monkeypatch.setattr(GroupCommit, "_do", late)
    answers = together(store, joined, calls(store, "a", "b", "c"))

    assert [done.position for done in answers] == [2, 3, 4]
    assert verify(store) == []


def test_a_dry_run_sees_those_before_it_and_leaves_no_trace(
    store: SessionStore, commits: list[None], joined: list[Job]
) -> None:
    dry, opened, seen = together(
        store,
        joined,
        [
            partial(store.execute, "s", OpenSession(profile_id="p"), dry_run=True),
            partial(store.execute, "s", OpenSession(profile_id="p")),
            partial(store.execute, "s", add(), dry_run=True, idempotency_key="k"),
        ],
    )

    assert (dry.position, opened.position, seen.version) == (2, 2, 2)
    assert dry.events[0].event == opened.events[0].event
    assert (store.position, store.answered("k"), len(commits)) == (2, None, 1)
    assert verify(store) == []


def test_who_waits_outside_for_too_long_is_told_that_the_queue_is_full(
    joined: list[Job],
) -> None:
    may_go = threading.Event()

    def perform(jobs: Jobs) -> None:
        may_go.wait()
        for job in jobs.take():
            job.finish([])

    accepted = [Job((), None, {}) for _ in range(3)]
    shared = SharedCommits(perform, path="the store", timeout=0.1, waiting=2)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(shared.do, job) for job in accepted[:2]]
        until(lambda: len(joined) == 2)
        with pytest.raises(QueueFull, match="2 calls are queued for the store") as full:
            shared.do(Job((), None, {}))
        may_go.set()
        assert [each.result() for each in waiting] == [[], []]

    assert full.value.retry
    assert shared.do(accepted[2]) == []
    shared.close()


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(
    open_store: OpenStore, joined: list[Job]
) -> None:
    store = open_store()
    store.execute("first", OpenSession())
    found: list[Any] = []
    closing = threading.Thread(target=store.close)

    def refused() -> bool:
        try:
            store.execute("late", OpenSession())
        except StoreClosed:
            return True
        return False

    with ThreadPoolExecutor(4) as pool:
        with store.recorder.database.writing():
            waiting = [pool.submit(call) for call in calls(store, "a", "b", "c")]
            until(lambda: len(joined) == 4)
            closing.start()
            until(lambda: store._commits._closed)
            late = pool.submit(refused)
            assert late.result(SOON)
            assert closing.is_alive()
        found = [each.result() for each in waiting]
    closing.join()

    assert sorted(done.position for done in found) == [2, 3, 4]
    if not store.recorder.database.in_memory:
        assert open_store().position == 4


@pytest.mark.parametrize(
    ("answered", "back", "together"), [(4, 0, 1), (4, 1, 2), (4, 3, 4), (4, 5, 4), (40, 39, 5)]
)
def test_after_a_shared_commit_the_next_waits_for_as_many_as_it_answered_but_not_for_long(
    answered: int, back: int, together: int
) -> None:
    coming = [Job((), None, {}) for _ in range(back)]
    taken: list[int] = []

    class Lock:
        """One comes whenever somebody waits for a moment."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.release = self._lock.release

        def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:  # noqa: FBT001, FBT002  as threading's
            if timeout < 0:
                return self._lock.acquire(blocking)
            if coming:
                shared._join(coming.pop())
            return self._lock.acquire(blocking=False)

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    def perform(jobs: Jobs) -> None:
        jobs.let_come()
        found = jobs.take()
        taken.append(len(found))
        for job in found:
            job.finish([])

    shared = SharedCommits(perform, path="the store", timeout=1, lock=Lock)
    first, *others, again = [Job((), None, {}) for _ in range(answered + 1)]
    for job in (first, *others):
        shared._join(job)
    shared.lead(first)
    shared._join(again)
    shared.lead(again)

    assert taken == [answered, together]
