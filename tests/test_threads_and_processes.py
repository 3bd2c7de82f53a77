"""A process whose threads write, beside others: each thread knows what the one before has left."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from eventsourcing.persistence import StoredEvent
from msgspec import structs

from projections import StoredProjection, rebuild, verify
from sessions import (
    AddItem,
    BatchFailed,
    CloseSession,
    CommitUnderway,
    OpenSession,
    SessionNotOpen,
    SessionStore,
    StoreBusy,
    ViewsDiffer,
)
from sessions.commits.writer import Writer
from sessions.sql.head import CATCH_UP
from tests.sample_projections import SPEND, inline
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.commits.answers import Executed
    from sessions.commits.transaction import Transaction
    from sessions.sql.connection import Connection
    from sessions.sql.head import Head
    from sessions.views.projection import Projection


@pytest.fixture
def projections() -> list[Projection[Any]]:
    return list(inline(SPEND))


@pytest.fixture
def store(url: str, projections: list[Projection[Any]]) -> Iterator[SessionStore]:
    with SessionStore.open(url, projections=projections) as store:
        store.execute("first", OpenSession(profile_id="p"))
        yield store


def opened(store: SessionStore, profile: str) -> int:
    view = StoredProjection(store, SPEND).get(profile)
    return view.opened if view else 0


def test_a_thread_that_waited_for_another_knows_the_log_as_that_one_left_it(
    url: str,
    store: SessionStore,
    projections: list[Projection[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SessionStore.open(url, projections=projections) as other_process:
        other_process.execute("other", OpenSession(profile_id="q"))
        database, waits = store.recorder.database, threading.Event()
        enter: Callable[[], None] = database._enter

        def entered() -> None:
            if threading.current_thread() is not late:
                enter()
                return
            waits.set()
            enter()
            with other_process.batch():  # which is faster, and writes all that is caught up with
                for n in range(CATCH_UP):
                    other_process.execute(f"other-{n}", OpenSession(profile_id="q"))

        late = threading.Thread(target=store.execute, args=("late", OpenSession(profile_id="p")))
        monkeypatch.setattr(database, "_enter", entered)
        with store.batch():
            for n in range(10):
                store.execute(f"batch-{n}", OpenSession(profile_id="p"))
            late.start()
            assert waits.wait(SOON)
        late.join()
        store.execute("last", OpenSession(profile_id="q"))

    assert (opened(store, "p"), opened(store, "q")) == (12, CATCH_UP + 2)
    assert verify(store) == []


def test_who_was_interrupted_forgets_no_views_that_another_thread_folds(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, folded, forgot = threading.Event(), threading.Event(), threading.Event()
    me, database, views = threading.current_thread(), store.recorder.database, store._writer._views
    commit, wrote, fold = database.commit, Writer.wrote, views.fold

    def committed(known: Head, connection: Connection, write: Callable[[Connection], bool]) -> None:
        commit(known, connection, write)
        if threading.current_thread() is me:
            raise KeyboardInterrupt

    def asked(writer: Writer, transaction: Transaction) -> bool:
        if threading.current_thread() is me:
            ended.set()
            assert folded.wait(SOON)
            writer.abandon(transaction)  # as `wrote` does, which then waits for the lock
            forgot.set()
        return wrote(writer, transaction)

    def is_folded(*given: Any) -> None:
        fold(*given)
        if threading.current_thread() is other:
            folded.set()
            assert forgot.wait(SOON)

    def load() -> None:
        assert ended.wait(SOON)
        with store.batch():
            for n in range(3):
                store.execute(f"batch-{n}", OpenSession(profile_id="p"))

    monkeypatch.setattr(database, "commit", committed)
    monkeypatch.setattr(Writer, "wrote", asked)
    monkeypatch.setattr(views, "fold", is_folded)
    other = threading.Thread(target=load)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        store.execute("interrupted", OpenSession(profile_id="p"))
    other.join()

    assert opened(store, "p") == 5
    assert verify(store) == []


class Within:
    """A clock that asks for something else in the thread that commits, as a handler may."""

    def __init__(self) -> None:
        self.ask: Callable[[], object] = bool

    def __call__(self) -> datetime:
        ask, self.ask = self.ask, bool
        ask()
        return datetime.now(UTC)


@pytest.mark.parametrize("asked", ["execute", "close"])
def test_what_would_wait_for_its_own_thread_is_refused_and_the_store_goes_on(
    url: str, asked: str
) -> None:
    clock = Within()
    with SessionStore.open(url, now=clock) as store:
        store.execute("s", OpenSession())
        inner = (
            partial(store.execute, "inner", OpenSession()) if asked == "execute" else store.close
        )
        clock.ask = inner

        with pytest.raises(CommitUnderway, match="is not possible here: this thread is inside"):
            store.execute("outer", OpenSession())

        assert store.execute("outer", OpenSession()).position == 2
        assert store.execute("inner", OpenSession()).position == 3
        assert verify(store) == []


@pytest.mark.parametrize(
    ("when", "how"), [("_join", "execute"), ("_join", "await"), ("_hand_over", "execute")]
)
def test_so_is_what_a_signal_handler_asks_for_as_its_thread_comes_or_goes(
    url: str, when: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(url) as store:
        shared, refused = store._commits, list[str]()
        goes_on = getattr(shared, when)

        def interrupted(job: Any) -> Any:
            monkeypatch.undo()
            with pytest.raises(CommitUnderway):
                store.execute("inner", OpenSession())
            refused.append(when)
            return goes_on(job)

        monkeypatch.setattr(shared, when, interrupted)
        if how == "await":
            asyncio.run(store.execute_async("outer", OpenSession()))
        else:
            store.execute("outer", OpenSession())

        assert refused == [when]
        assert store.execute("inner", OpenSession()).position == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_task_that_is_thrown_away_may_be_collected_at_any_moment(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")  # a task was destroyed while it was pending
    with SessionStore.open(url) as store:
        store.execute("first", OpenSession())

        async def begin() -> None:
            tasks.append(asyncio.ensure_future(store.execute_async("task", OpenSession())))
            await asyncio.sleep(0)

        tasks: list[asyncio.Task[Executed]] = []
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.close()
        until(lambda: store.position == 2)
        tasks.clear()
        outside = store._commits._outside
        admit = outside.admit

        def admitted(number: int) -> None:
            gc.collect()  # it comes with any allocation, here in one who has the mutex
            admit(number)

        monkeypatch.setattr(outside, "admit", admitted)
        next_one = threading.Thread(target=store.execute, args=("next", OpenSession()), daemon=True)
        next_one.start()
        next_one.join(SOON)

        assert not next_one.is_alive()
        assert store.position == 3


def test_a_batch_that_was_interrupted_as_it_took_in_a_decision_is_lost_as_a_whole(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise TimeoutError  # as the handler of a signal may

    def load() -> None:
        with store.batch():
            store.execute("a", OpenSession(profile_id="p"))
            with monkeypatch.context() as handling:
                handling.setattr("sessions.log.claim_rows.Ledger.absorb", late)
                with pytest.raises(TimeoutError):
                    store.execute("b", OpenSession(profile_id="q"))
            store.execute("c", OpenSession(profile_id="p"))

    with pytest.raises(BatchFailed):
        load()

    assert store.execute("d", OpenSession(profile_id="p")).position == 2
    assert verify(store) == []


def test_a_batch_that_was_interrupted_before_it_had_the_answer_keeps_no_events_without_it(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> str:
        raise TimeoutError

    with store.batch():
        with monkeypatch.context() as handling:
            handling.setattr("sessions.commits.answers.to_json", late)
            with pytest.raises(TimeoutError):
                store.execute("a", OpenSession(), idempotency_key="k")
        store.execute("b", OpenSession())

    assert [recorded.stream_id for recorded in store.log()] == ["first", "b"]
    assert store.execute("a", OpenSession(), idempotency_key="k").position == 3
    assert verify(store) == []


@pytest.mark.parametrize("change", ["live", "a version with other columns"])
def test_a_writer_that_was_alone_learns_what_another_process_has_switched(
    url: str, store: SessionStore, projections: list[Projection[Any]], change: str
) -> None:
    for n in range(3):
        store.execute(f"alone-{n}", OpenSession(profile_id="p"))
    newer = [*projections[:-1], replace(projections[-1], version=2, columns=())]
    if change == "live":
        with SessionStore.open(url, projections=projections) as other_process:
            rebuild(other_process, names=["spend"], mode="live")
        assert store.execute("late", OpenSession(profile_id="new")).position == 5
        assert verify(store) == []
    else:
        with SessionStore.open(url, read_only=True, projections=newer) as other_process:
            rebuild(other_process, names=["spend"])
        with pytest.raises(ViewsDiffer):
            store.execute("late", OpenSession(profile_id="new"))


def test_events_of_other_applications_of_a_log_are_in_no_view_that_is_held(
    url: str, store: SessionStore, projections: list[Projection[Any]]
) -> None:
    store.execute("held", OpenSession(profile_id="p"))
    with SessionStore.open(url, projections=projections) as other_process:
        data = b'{"firstSession":true,"profileId":"p"}'
        foreign = StoredEvent("order-1", 1, "SessionOpened", data)
        other_process.recorder.insert_events([foreign])

    store.execute("after", OpenSession(profile_id="p"))

    assert opened(store, "p") == 3
    assert verify(store) == []


def test_a_signal_that_comes_as_a_view_is_read_parks_no_key(
    url: str, projections: list[Projection[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(url, projections=projections) as before:
        before.execute("a", OpenSession(profile_id="p"))
    with SessionStore.open(url, projections=projections) as store:
        storage = projections[-1].storage
        calls: list[object] = []

        def from_row(row: Any) -> Any:
            calls.append(row)
            if len(calls) == 1:
                raise TimeoutError
            return storage.from_row(row)

        monkeypatch.setitem(
            vars(projections[-1]), "storage", structs.replace(storage, from_row=from_row)
        )
        store.execute("b", OpenSession(profile_id="p"))

        assert len(calls) == 2
        assert StoredProjection(store, projections[-1]).parked() == []
        assert opened(store, "p") == 2


def test_what_is_left_of_one_application_is_not_taken_for_anothers(url: str) -> None:
    with SessionStore.open(url) as one, SessionStore.open(url) as other_process:
        two = SessionStore(one.recorder.database, 2)
        one.execute("s", OpenSession())
        other_process.execute("s", CloseSession())
        two.execute_many("t", [OpenSession()])

        with pytest.raises(SessionNotOpen):
            one.execute("s", AddItem(sku="a", price=1), dry_run=True)


def test_sessions_are_held_no_longer_where_the_log_went_back(sqlite_url: str) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("s", OpenSession())
        with closing(sqlite3.connect(":memory:")) as backup:
            with closing(sqlite3.connect(urlsplit(sqlite_url).path[1:])) as now:
                now.backup(backup)
            store.execute_many("s", [AddItem(sku="a", price=1), AddItem(sku="b", price=1)])
            with closing(sqlite3.connect(urlsplit(sqlite_url).path[1:])) as now:
                backup.backup(now)

        assert store.execute("s", AddItem(sku="c", price=1)).version == 2
        assert verify(store) == []


@pytest.mark.parametrize("what", [None, "projections"])
def test_nobody_changes_relations_while_others_write_to_them(url: str, what: str | None) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url, lock_timeout=0.05) as other:
        store.make()
        changing, writing = other.recorder.database, store.recorder.database
        with writing.writing(what), pytest.raises(StoreBusy), changing.clearing():
            pass
        with store.batch() as batch:
            batch.begin()
            with pytest.raises(StoreBusy), changing.clearing():
                pass

        with changing.clearing():
            pass
