"""A process whose threads write, beside others: each thread knows what the one before has left."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from projections import StoredProjection, verify
from sessions import CommitUnderway, OpenSession, SessionStore
from sessions.head import CATCH_UP
from sessions.writer import Writer
from tests.sample_projections import SPEND, inline
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.answers import Executed
    from sessions.database import Connection
    from sessions.head import Head
    from sessions.projection import Projection
    from sessions.transaction import Transaction


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

        with pytest.raises(CommitUnderway, match="is not possible here: this thread is at a commi"):
            store.execute("outer", OpenSession())

        assert store.execute("outer", OpenSession()).position == 2
        assert store.execute("inner", OpenSession()).position == 3
        assert verify(store) == []


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
