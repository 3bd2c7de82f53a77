"""A line to PostgreSQL may break at any moment: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import asyncio
import pickle
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from projections.verifying.verify import verify
from sessions import (
    ApplyCoupon,
    BatchFailed,
    OpenSession,
    SessionStore,
    SetAttributes,
    SetQuantity,
    StatementTimeout,
    StoreUnavailable,
)
from sessions.errors import LineNotFound, OutcomeUnknown, StoreBusy
from tests.conftest import add, in_threads
from tests.groups import joined, skus, together
from tests.postgres_line import COMMIT, Line
from tests.test_broken_commits import Interrupts
from tests.waiting import SOON, patiently, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions import Command, Executed
    from sessions.commits.job import Job
    from sessions.commits.shared_commits import Jobs
    from sessions.sql.begun import Begun

__all__ = ["joined"]

QUESTION = b"command_id = "
"""What is asked of the log, where it is not known whether a commit is in it."""


@pytest.fixture
def line(postgres_url: str) -> Iterator[Line]:
    with Line(postgres_url) as line:
        yield line


@pytest.fixture
def store(line: Line) -> Iterator[SessionStore]:
    """A store behind the line, with one session."""
    with SessionStore.open(line.url) as store:
        store.execute("s", OpenSession())
        yield store


@pytest.fixture
def terminate(postgres: str, store: SessionStore) -> Callable[[], None]:
    """Ends the connections of the store at the server."""

    pids: set[int] = set()

    def are_several() -> bool:
        found = in_threads(6, lambda _: store.query("SELECT pg_backend_pid(), pg_sleep(0.05)"))
        pids.update(rows[0][0] for rows in found)
        return len(pids) > 1

    def ended() -> None:
        until(are_several)
        with psycopg.connect(postgres, autocommit=True) as connection:
            for pid in pids:
                connection.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])

    return ended


def test_a_commit_that_never_arrived_is_executed_once(store: SessionStore, line: Line) -> None:
    line.lose_commits = 1

    done = store.execute("s", add("a"))

    assert (line.cuts, done.position, done.events) == (1, 2, list(store.events("s", after=1)))
    assert store.execute("s", add("b")).version == 3
    assert (skus(store), verify(store)) == (["a", "b"], [])


def test_an_acknowledgement_that_is_lost_answers_with_its_own_events(
    store: SessionStore, line: Line
) -> None:
    line.lose_answers = 1

    done = store.execute("s", add("a"), metadata={"actor": "ada"})

    assert (line.cuts, done.position, done.events) == (1, 2, list(store.events("s", after=1)))
    assert store.execute("s", add("b")).version == 3
    assert (skus(store), verify(store)) == (["a", "b"], [])


def test_a_commit_that_was_answered_is_no_question_though_the_line_breaks_behind_it(
    store: SessionStore, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.lose_ends = 1
    monkeypatch.setattr(store._writer, "wrote", None)  # who does not know asks that

    done = store.execute("s", add("a"))

    assert (line.cuts, done.position, done.events) == (1, 2, list(store.events("s", after=1)))
    assert store.execute("s", add("b")).version == 3
    assert (skus(store), verify(store)) == (["a", "b"], [])


@pytest.mark.parametrize(
    "said",
    [
        [COMMIT, COMMIT],
        [COMMIT] * 5,
        [COMMIT, QUESTION],
        [COMMIT, QUESTION, QUESTION, COMMIT, QUESTION],
    ],
)
def test_a_line_that_breaks_again_and_again_is_tried_until_the_command_is_there(
    store: SessionStore, line: Line, said: list[bytes]
) -> None:
    line.lose_said = list(said)

    done = store.execute("s", add("a"))

    assert (line.cuts, done.position, done.events) == (
        len(said),
        2,
        list(store.events("s", after=1)),
    )
    assert (skus(store), verify(store)) == (["a"], [])


@pytest.mark.parametrize(
    ("said", "error"), [(COMMIT, StoreUnavailable), (QUESTION, OutcomeUnknown)]
)
def test_a_line_that_does_not_hold_is_given_up_after_the_lock_timeout(
    line: Line, said: bytes, error: type[Exception]
) -> None:
    with SessionStore.open(line.url, lock_timeout=0.5) as store:
        patiently(lambda: store.execute("s", OpenSession()))
        line.lose_said = [COMMIT, *[said] * 100_000]

        with pytest.raises(error):
            store.execute("s", add("a"))

        line.lose_said = []
        assert patiently(lambda: store.execute("s", add("b"))).version == 2
        assert (skus(store), verify(store)) == (["b"], [])


@pytest.mark.parametrize(("what", "times"), [("lose_commits", 2), ("lose_answers", 1)])
def test_what_is_lost_of_a_group_is_in_the_log_once(  # noqa: PLR0913, PLR0917  its parameters and fixtures
    store: SessionStore, postgres_url: str, line: Line, joined: list[Job], what: str, times: int
) -> None:
    setattr(line, what, times)
    calls = [lambda n=n: store.execute("s", add(str(n))) for n in range(4)]

    with SessionStore.open(postgres_url) as other:
        answers = together(other, joined, calls)

    assert line.cuts == times
    assert [done.events for done in answers] == [[each] for each in store.events("s", after=1)]
    assert (skus(store), verify(store)) == (["0", "1", "2", "3"], [])


def alone(store: SessionStore) -> None:
    """Nobody else writes: from now on the lock is taken with the commit."""
    for number in range(2):
        store.execute("s", SetAttributes(attributes={"number": number}))
    assert store._writer.is_alone


@pytest.mark.parametrize(
    ("what", "types"),
    [
        (lambda store: [store.execute("s", add("a"))], ["ItemAdded"]),
        (lambda store: [store.execute("s", add("a"), idempotency_key="k")], ["ItemAdded"]),
        (lambda store: [store.execute("s", add("a"), expected_version=3)], ["ItemAdded"]),
        (lambda store: [store.execute("new", OpenSession())], ["SessionOpened"]),
        (lambda store: [store.execute("s", ApplyCoupon(coupon="X"))], ["CouponApplied"]),
        (lambda store: store.execute_many("s", [add("a"), add("b")]), ["ItemAdded", "ItemAdded"]),
        (lambda store: [asyncio.run(store.execute_async("s", add("a")))], ["ItemAdded"]),
    ],
)
def test_a_commit_that_comes_after_it_was_looked_for_is_answered_with(
    store: SessionStore,
    line: Line,
    what: Callable[[SessionStore], list[Executed]],
    types: list[str],
) -> None:
    alone(store)
    line.delay_commits = 1

    done = what(store)

    assert (line.cuts, [recorded.type for recorded in store.log(3)]) == (1, types)
    assert [recorded for one in done for recorded in one.events] == list(store.log(3))
    assert store.execute("s", add("c")).position == 4 + len(types)
    assert verify(store) == []


def gathered(store: SessionStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The next who leads waits until so many are in the queue."""
    commits = store._commits
    perform = commits._perform

    def together(queue: Jobs) -> None:
        until(lambda: len(queue.waiting()) == number)
        monkeypatch.setattr(commits, "_perform", perform)
        perform(queue)

    monkeypatch.setattr(commits, "_perform", together)


def test_a_commit_of_a_group_that_comes_after_it_was_looked_for_is_answered_with(
    store: SessionStore, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(store)
    commands: list[Any] = [add("a"), add("b"), SetQuantity(position=9, quantity=1), add("c")]

    def call(number: int) -> object:
        try:
            return store.execute("s", commands[number]).events
        except LineNotFound:
            return None

    gathered(store, monkeypatch, 4)
    line.delay_commits = 1

    answers = in_threads(4, call)

    events = list(store.log(3))
    assert sorted(skus(store)) == ["a", "b", "c"]
    assert all(answers[n] == [events[skus(store).index(sku)]] for n, sku in [(0, "a"), (1, "b")])
    assert (line.cuts, len(events), answers[2], verify(store)) == (1, 3, None, [])


def test_an_answer_of_before_is_given_again_though_the_commit_is_lost_that_is_shared(
    store: SessionStore, line: Line, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.execute("s", add("a"), idempotency_key="paid")
    alone(store)
    gathered(store, monkeypatch, 3)
    line.lose_commits = 1
    before = len(joined)

    def again() -> Executed:
        return store.execute("s", add("a"), idempotency_key="paid")

    calls: list[Callable[[], Executed]] = [
        again,
        again,
        partial(store.execute, "new", OpenSession()),
    ]
    with ThreadPoolExecutor(3) as pool:
        futures = []
        for number, call in enumerate(calls, before + 1):
            futures.append(pool.submit(call))
            until(lambda number=number: len(joined) == number)  # type: ignore[misc]  # a lambda with a default

    answers = [future.result() for future in futures]
    assert (line.cuts, answers[:2], answers[2].position) == (1, [first, first], 5)
    assert (skus(store), verify(store)) == (["a"], [])


@pytest.fixture
def led(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Command], Future[Executed]]:
    """Lets a command lead, which is interrupted as its commit is lost; what comes of the other.

    Both are about the session "led".
    """
    alone(store)
    database, before = store.recorder.database, len(joined)
    commit = database.commit

    def interrupted(*given: Any) -> None:
        monkeypatch.setattr(database, "commit", commit)
        with suppress(OutcomeUnknown):
            commit(*given)
        raise KeyboardInterrupt

    def leads(command: Command) -> Future[Executed]:
        gathered(store, monkeypatch, 2)
        monkeypatch.setattr(database, "commit", interrupted)
        with ThreadPoolExecutor(2) as pool:
            leader = pool.submit(store.execute, "led", OpenSession())
            until(lambda: len(joined) == before + 1)
            other = pool.submit(store.execute, "led", command)
            with pytest.raises(KeyboardInterrupt):
                leader.result(SOON)
        return other

    return leads


def test_a_leader_that_is_interrupted_leaves_to_others_a_commit_that_may_still_come(
    store: SessionStore, line: Line, led: Callable[[Command], Future[Executed]]
) -> None:
    line.delay_commits = 1

    done = led(add("other")).result()

    assert done.events == list(store.log(4))
    assert [each.type for each in store.events("led")] == ["SessionOpened", "ItemAdded"]
    assert (line.cuts, verify(store)) == (1, [])


def test_who_is_refused_while_the_commit_may_still_come_that_he_was_in_is_told_so(
    store: SessionStore, line: Line, led: Callable[[Command], Future[Executed]]
) -> None:
    line.lose_commits = 1

    with pytest.raises(OutcomeUnknown, match="SessionNotFound"):
        led(add("other")).result()

    assert (line.cuts, list(store.events("led")), verify(store)) == (1, [], [])


def test_whose_commit_may_still_come_is_not_told_that_nothing_was_written(
    store: SessionStore, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(store)
    database, left = store.recorder.database, iter(["the command", "what is in the log"])
    begin = database.begin

    def begun(*given: Any, **how: Any) -> Begun:
        if next(left, None) is None:
            raise StoreBusy(path="p", seconds=0)
        return begin(*given, **how)

    monkeypatch.setattr(database, "begin", begun)
    line.delay_commits = 1

    with pytest.raises(OutcomeUnknown, match="StoreBusy"):
        store.execute("s", add("a"))


def test_a_batch_whose_acknowledgement_is_lost_is_in_the_log(
    store: SessionStore, line: Line
) -> None:
    with store.batch():
        store.execute("s", add("a"))
        line.lose_answers = 1

    with pytest.raises(BatchFailed, match=r"1 commands .* StoreUnavailable"), store.batch():  # noqa: PT012  the batch raises at its end
        store.execute("s", add("b"))
        line.lose_commits = 1

    assert (line.cuts, skus(store), verify(store)) == (2, ["a"], [])


@pytest.mark.parametrize("what", ["lose_commits", "lose_answers"])
def test_a_key_makes_a_lost_command_safe_however_often_it_is_lost(
    store: SessionStore, line: Line, what: str
) -> None:
    def call(number: int) -> list[Any]:
        answers = []
        for part in range(5):
            setattr(line, what, 1)
            answers.append(store.execute("s", add(f"{number}-{part}"), idempotency_key=f"{part}"))
        return answers

    answers = call(0)

    assert [done.position for done in answers] == [2, 3, 4, 5, 6]
    assert line.cuts >= 3
    assert skus(store) == [f"0-{part}" for part in range(5)]
    assert verify(store) == []


def test_a_commit_of_which_nothing_can_be_known_is_not_executed_again(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store.recorder.database
    lost = OutcomeUnknown(path="p", reason="the line is cut")
    begin = database.begin
    begun: list[Begun] = []

    def busy_then(*args: Any, **how: Any) -> Begun:
        if len(begun) == 1:
            begun.append(begun[0])
            raise StoreBusy(path="p", seconds=0)
        begun.append(begin(*args, **how))
        return begun[-1]

    monkeypatch.setattr(database, "commit", Interrupts(database.commit, lost))
    monkeypatch.setattr(database, "begin", busy_then)

    found = together(store, joined, [lambda: store.execute("s", add())] * 2)

    assert [type(each) for each in found] == [OutcomeUnknown, OutcomeUnknown]
    assert len(skus(store)) == 2


@pytest.mark.parametrize("key", [None, "k"])
def test_a_commit_of_which_nothing_can_be_known_may_be_tried_again_with_a_key(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    lost = OutcomeUnknown(path="p", reason="the line is cut")
    with monkeypatch.context() as cut:
        cut.setattr(store._writer, "commit", Interrupts(store._writer.commit, lost))
        with pytest.raises(OutcomeUnknown) as told:
            store.execute("s", add("once"), idempotency_key=key)

    assert told.value.retry is (key is not None)
    assert pickle.loads(pickle.dumps(told.value)).retry is told.value.retry  # noqa: S301  own bytes
    assert lost.retry is False
    if told.value.retry:
        assert store.execute("s", add("once"), idempotency_key=key).events == list(store.log(1))


def test_an_unreachable_server_is_unavailable_until_it_is_back(line: Line) -> None:
    with SessionStore.open(line.url, lock_timeout=0.5) as store:
        patiently(lambda: store.execute("s", OpenSession()))
        line.cut()

        for call in (lambda: store.execute("s", add()), lambda: store.position):
            with pytest.raises(StoreUnavailable) as unavailable:
                call()
            assert unavailable.value.retry
        with pytest.raises(StoreUnavailable):
            SessionStore.open(line.url)

        time.sleep(2.6)
        line.mend()
        assert patiently(lambda: store.execute("s", add("a"))).position == 2
        assert (skus(store), verify(store)) == (["a"], [])


def test_a_server_that_comes_back_in_time_is_waited_for(store: SessionStore, line: Line) -> None:
    line.cut()
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(store.execute, "s", add("a"))
        reading = pool.submit(lambda: store.position)
        time.sleep(0.4)
        line.mend()

        assert writing.result(SOON).position == 2
        assert reading.result(SOON) in {1, 2}


def test_the_pool_heals_after_all_its_connections_were_ended(
    store: SessionStore, terminate: Callable[[], None]
) -> None:
    terminate()

    def work(number: int) -> int:
        if number % 2:
            return store.position
        return store.execute(f"t{number}", OpenSession()).version

    found = in_threads(8, work)
    assert found[::2] == [1] * 4
    assert store.position == 5
    assert verify(store) == []


def test_a_connection_that_is_ended_in_a_batch_drops_what_is_not_committed(
    store: SessionStore, postgres: str
) -> None:
    def load() -> None:
        with store.batch():
            store.execute("s", add("lost"))
            ((pid,),) = store.query("SELECT pg_backend_pid()")
            with psycopg.connect(postgres, autocommit=True) as connection:
                connection.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])
            for _ in range(2):  # on the connection that is gone, and when that is known
                with pytest.raises(BatchFailed, match=r"1 commands .* StoreUnavailable"):
                    store.execute("t", OpenSession())

    with pytest.raises(BatchFailed, match=r"1 commands .* StoreUnavailable"):
        load()

    assert store.execute("s", add("a")).version == 2
    assert (skus(store), verify(store)) == (["a"], [])


@pytest.mark.parametrize("setting", ["statement_timeout", "transaction_timeout"])
def test_a_statement_that_takes_too_long_is_a_timeout_and_writes_nothing(
    store: SessionStore, postgres_url: str, setting: str
) -> None:
    if setting == "transaction_timeout" and store.query(
        "SELECT current_setting('server_version_num')"
    ) < [("17",)]:
        pytest.skip("PostgreSQL has it since 17")
    url = f"{postgres_url}&options=-c%20{setting}%3D150"
    with patiently(lambda: SessionStore.open(url)) as hasty:
        with store.recorder.database.writing(), pytest.raises(StatementTimeout) as timeout:
            hasty.execute("s", add("late"))
        with pytest.raises(StatementTimeout):
            hasty.query("SELECT pg_sleep(1)")

        assert timeout.value.retry
        assert patiently(lambda: hasty.execute("s", add("a"))).version == 2
    assert skus(store) == ["a"]


def test_what_is_held_by_a_connection_that_is_lost_is_given_back_without_an_error(
    store: SessionStore, line: Line
) -> None:
    held = store.recorder.database.held
    with held("a place") as first:
        line.cut()
        line.mend()
        assert first is not None
        assert not first()

    def is_held() -> bool:
        with held("a place") as again:
            return again is not None and again()

    until(is_held)  # the server is late to notice that a connection is gone
