"""`execute` is awaited: the loop is not blocked, and tasks share commits."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from projections import verify
from sessions import (
    BatchOpen,
    CloseSession,
    OpenSession,
    QueueFull,
    SessionNotFound,
    SessionNotOpen,
    SessionStore,
    StoreBusy,
    StoreClosed,
    VersionConflict,
)
from sessions.commits.awaited_commits import AwaitedCommits
from tests.conftest import add

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions import Command, Executed
    from sessions.commits.job import Job
    from sessions.sql.begun import Begun
    from sessions.sql.connection import Connection
    from sessions.sql.head import Head


def test_tasks_share_commits_and_each_gets_its_own_answer(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, commits = store.recorder.database, list[int]()
    commit = database.commit

    def counted(known: Head, connection: Connection, write: Callable[[Connection], bool]) -> None:
        commits.append(1)
        commit(known, connection, write)

    monkeypatch.setattr(database, "commit", counted)

    async def shop() -> list[int]:
        opened = await asyncio.gather(
            *[store.execute_async(f"s{number}", OpenSession()) for number in range(200)]
        )
        return [executed.position for executed in opened]

    positions = asyncio.run(shop())
    assert sorted(positions) == list(range(1, 201))
    assert [recorded.stream_id for recorded in store.log()] == [
        f"s{positions.index(position)}" for position in range(1, 201)
    ]
    assert len(commits) < 20


def test_errors_are_raised_where_it_is_awaited(store: SessionStore) -> None:
    async def shop() -> None:
        with pytest.raises(SessionNotFound):
            await store.execute_async("s", CloseSession())
        await store.execute_async("s", OpenSession(), idempotency_key="k")
        first = await store.execute_async("s", add(), idempotency_key="a", expected_version=1)
        again = await store.execute_async("s", add(), idempotency_key="a")
        assert first == again
        dry = await store.execute_async("s", CloseSession(), dry_run=True)
        assert dry.version == 3

    asyncio.run(shop())
    assert store.position == 2


def test_several_commands_are_awaited_as_one(store: SessionStore) -> None:
    async def shop() -> None:
        many: list[Command] = [OpenSession(), add("a"), add("b")]
        made = await store.execute_many_async("s", many, expected_version=0, idempotency_key="k")
        assert [each.version for each in made] == [1, 2, 3]
        again = await store.execute_many_async("s", many, expected_version=0, idempotency_key="k")
        assert [each.replayed for each in again] == [True] * 3
        with pytest.raises(VersionConflict):
            await store.execute_many_async("s", [add("c")], expected_version=1)
        both: list[tuple[str, Command]] = [("t", OpenSession()), ("s", CloseSession())]
        for dry_run in (True, False):
            made = await store.execute_all_async(both, dry_run=dry_run)
            assert [each.version for each in made] == [1, 4]
        with pytest.raises(SessionNotOpen) as refused:
            await store.execute_all_async([("u", OpenSession()), ("s", add("d"))])
        assert refused.value.index == 1

    asyncio.run(shop())
    assert [recorded.stream_id for recorded in store.log()] == [*"sss", "t", "s"]
    assert verify(store) == []


def test_the_loop_goes_on_while_another_writer_has_the_lock(url: str) -> None:
    async def shop(store: SessionStore, other: SessionStore) -> None:
        with other.batch():
            other.execute("theirs", OpenSession())
            task = asyncio.create_task(store.execute_async("mine", OpenSession()))
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not task.done()
        await task

    with SessionStore.open(url) as store, SessionStore.open(url) as other:
        store.make()
        asyncio.run(shop(store, other))
        assert [recorded.stream_id for recorded in store.log()] == ["theirs", "mine"]


def test_a_task_that_is_cancelled_while_it_waits_for_its_turn_writes_nothing(url: str) -> None:
    async def shop(store: SessionStore, other: SessionStore) -> None:
        with other.batch():
            other.execute("theirs", OpenSession())
            leads = asyncio.create_task(store.execute_async("leads", OpenSession()))
            waits = asyncio.create_task(store.execute_async("waits", OpenSession()))
            await asyncio.sleep(0.1)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
        await leads

    with SessionStore.open(url) as store, SessionStore.open(url) as other:
        store.make()
        asyncio.run(shop(store, other))
        store.execute("last", OpenSession())
        assert [r.stream_id for r in store.log()] == ["theirs", "leads", "last"]


def test_a_task_that_is_cancelled_while_it_leads_leaves_the_lead_in_order(url: str) -> None:
    async def shop(store: SessionStore, other: SessionStore) -> None:
        with other.batch():
            other.execute("theirs", OpenSession())
            leads = asyncio.create_task(store.execute_async("leads", OpenSession()))
            await asyncio.sleep(0.1)
            follows = asyncio.create_task(store.execute_async("follows", OpenSession()))
            await asyncio.sleep(0.1)
            leads.cancel()
        await follows

    with SessionStore.open(url) as store, SessionStore.open(url) as other:
        store.make()
        asyncio.run(shop(store, other))
        assert store.execute("last", OpenSession()).position == store.position


def test_a_task_that_is_cancelled_before_a_thread_leads_for_it_writes_nothing(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make()
    commits, may_lead = store._commits, threading.Event()
    hand_over = AwaitedCommits._hand_over

    def late(commits: AwaitedCommits, leader: Job) -> None:
        if leader.withdrawn and not may_lead.is_set():
            may_lead.set()
            commits._leaders.submit(bool).result()  # when the thread has looked at the job
        hand_over(commits, leader)

    monkeypatch.setattr(AwaitedCommits, "_hand_over", late)

    async def shop() -> None:
        commits._leaders.submit(may_lead.wait)
        never = asyncio.create_task(store.execute_async("never", OpenSession()))
        await asyncio.sleep(0)
        assert commits._led  # the thread is to lead for it, and has something else to do
        never.cancel()
        with pytest.raises(asyncio.CancelledError):
            await never

    try:
        asyncio.run(shop())
    finally:
        may_lead.set()

    store.execute("last", OpenSession())
    assert [recorded.stream_id for recorded in store.log()] == ["last"]


def test_a_full_queue_lets_tasks_wait_up_to_a_timeout(url: str) -> None:
    async def shop(store: SessionStore, other: SessionStore) -> None:
        with other.batch():
            other.execute("theirs", OpenSession())
            first = asyncio.create_task(store.execute_async("first", OpenSession()))
            await asyncio.sleep(0.05)
            with pytest.raises(QueueFull) as caught:
                await store.execute_async("second", OpenSession())
            assert caught.value.retry
        await first

    with SessionStore.open(url) as store, SessionStore.open(url) as other:
        store.make()
        store._commits._most, store._commits._timeout = 1, 0.1
        asyncio.run(shop(store, other))


def test_a_lock_that_is_not_free_in_time_is_said_to_all_who_wait(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shop(store: SessionStore) -> list[object]:
        calls = [store.execute_async(f"s{number}", OpenSession()) for number in range(2000)]
        return list(await asyncio.gather(*calls, return_exceptions=True))

    with SessionStore.open(url) as other, SessionStore.open(url, lock_timeout=2) as store:
        tries, begin = list[None](), store.recorder.database.begin

        def counted(*given: Any, **how: Any) -> Begun:
            tries.append(None)
            return begin(*given, **how)

        monkeypatch.setattr(store.recorder.database, "begin", counted)
        with other.batch():
            other.execute("theirs", OpenSession())

            answers = asyncio.run(shop(store))

        assert {type(answer) for answer in answers} == {StoreBusy}
        assert len(tries) <= 2  # and not one for each 256
        assert store.execute("mine", OpenSession()).position == 2


def test_inside_a_batch_it_belongs_to_the_batch(store: SessionStore) -> None:
    async def shop() -> None:
        with store.batch():
            await store.execute_async("s", OpenSession())
            await store.execute_async("s", add())

    asyncio.run(shop())
    assert store.position == 2


def test_the_batch_of_a_task_is_not_that_of_another_which_waits_for_its_end(
    store: SessionStore,
) -> None:
    async def load(begun: asyncio.Event) -> None:
        with store.batch():
            store.execute("dropped", OpenSession())
            begun.set()
            await asyncio.create_task(store.execute_async("dropped", add()))
            await asyncio.sleep(0.05)
            assert store.position == 2
            raise ZeroDivisionError

    async def serve(begun: asyncio.Event) -> Executed:
        await begun.wait()
        with pytest.raises(BatchOpen):
            store.execute("kept", OpenSession())
        with pytest.raises(BatchOpen), store.batch():
            pass
        return await store.execute_async("kept", OpenSession(), idempotency_key="k")

    async def both() -> tuple[object, Executed]:
        begun = asyncio.Event()
        loading = asyncio.gather(load(begun), return_exceptions=True)
        answer = await serve(begun)
        return (await loading)[0], answer

    failed, answer = asyncio.run(both())

    assert isinstance(failed, ZeroDivisionError)
    assert (answer.session_id, answer.position) == ("kept", 1)
    assert [recorded.stream_id for recorded in store.log()] == ["kept"]
    assert store.answered("k") == [answer]
    assert verify(store) == []


def test_a_task_does_not_see_what_another_has_not_committed(store: SessionStore) -> None:
    async def load(begun: asyncio.Event, seen: asyncio.Event) -> None:
        with store.batch():
            store.execute("s", OpenSession())
            begun.set()
            await seen.wait()

    async def both() -> None:
        begun, seen = asyncio.Event(), asyncio.Event()
        loading = asyncio.create_task(load(begun, seen))
        await begun.wait()
        if store.recorder.database.in_memory:  # it has one connection, which is at the batch
            with pytest.raises(BatchOpen):
                assert store.position
        else:
            assert store.position == 0
        seen.set()
        await loading
        assert store.position == 1

    asyncio.run(both())


def test_a_store_that_is_closed_refuses(url: str) -> None:
    store = SessionStore.open(url)
    store.make()
    store.close()
    with pytest.raises(StoreClosed):
        asyncio.run(store.execute_async("s", OpenSession()))
