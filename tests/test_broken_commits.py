"""A commit that ends otherwise than it should is one all the same, and is none twice."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partialmethod
from typing import TYPE_CHECKING, Any

import pytest

from projections import CustomerSessions
from projections.verifying.verify import verify
from sessions import (
    Executed,
    OpenSession,
    RemoveItem,
    SessionStore,
    SetAttributes,
    StoreBusy,
    StoreClosed,
)
from sessions.commits.memory import Memory
from sessions.commits.shared_commits import SharedCommits
from sessions.errors import OutcomeUnknown
from sessions.views.inline import InlineViews
from tests.conftest import add, in_threads
from tests.groups import joined, skus, together
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.commits.job import Job
    from sessions.sql.begun import Begun
    from sessions.sql.database import Database
    from tests.conftest import OpenStore

__all__ = ["joined"]


class Interrupts:
    """Does what it stands for, and then, or before it does, raises an error; once."""

    def __init__(
        self, call: Callable[..., Any], error: BaseException, *, first: bool = False
    ) -> None:
        self._call = call
        self._error: BaseException | None = error
        self._first = first

    def __call__(self, *args: Any, **named: Any) -> Any:
        error, self._error = self._error, None
        if error is not None and self._first:
            raise error
        outcome = self._call(*args, **named)
        if error is not None:
            raise error
        return outcome


@pytest.mark.parametrize("first", [True, False], ids=["before the commit", "after the commit"])
def test_an_interrupted_leader_takes_nobody_along_and_nothing_is_done_twice(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    store.execute("s", OpenSession())
    database = store.recorder.database
    interrupts = Interrupts(database.commit, KeyboardInterrupt(), first=first)
    monkeypatch.setattr(database, "commit", interrupts)
    adding = [lambda n=n: store.execute("s", add(str(n))) for n in range(3)]

    leader, *others = together(store, joined, adding)

    assert type(leader) is KeyboardInterrupt
    assert {type(other) for other in others} <= {Executed, OutcomeUnknown}
    assert skus(store) == (["1", "2"] if first else ["0", "1", "2"])
    assert store.execute("s", add("next")).events
    assert verify(store) == []


def test_a_leader_that_any_error_interrupts_lets_nothing_be_done_twice(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    database = store.recorder.database
    of_a_signal = Interrupts(database.commit, TimeoutError())
    monkeypatch.setattr(database, "commit", of_a_signal)
    adding = [lambda n=n: store.execute("s", add(str(n))) for n in range(3)]

    leader, *others = together(store, joined, adding)

    assert type(leader) is TimeoutError
    assert [other.version for other in others] == [3, 4]
    assert skus(store) == ["0", "1", "2"]
    assert verify(store) == []


def test_an_error_that_comes_to_a_leader_who_waits_for_the_lock_is_his_alone(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    database = store.recorder.database
    begin, of_a_signal = database.begin, Interrupts(print, TimeoutError(), first=True)

    def begun(*given: Any, **named: Any) -> Any:
        found = begin(*given, **named)
        with closing_on_error(database, found):
            of_a_signal(end="")
        return found

    monkeypatch.setattr(database, "begin", begun)
    adding = [lambda n=n: store.execute("s", add(str(n))) for n in range(3)]

    leader, *others = together(store, joined, adding)

    assert type(leader) is TimeoutError
    assert [other.version for other in others] == [2, 3]
    assert skus(store) == ["1", "2"]


@contextmanager
def closing_on_error(database: Database, begun: Begun) -> Iterator[None]:
    try:
        yield
    except BaseException:
        database.end(begun.connection)
        raise


def test_a_task_whose_leader_meets_an_error_gets_it(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    monkeypatch.setattr(
        store.recorder.database, "begin", Interrupts(print, TimeoutError("mine"), first=True)
    )

    async def ask() -> None:
        await asyncio.wait_for(store.execute_async("s", add()), SOON)

    with pytest.raises(TimeoutError, match="mine"):
        asyncio.run(ask())


def test_the_place_of_a_task_whose_leader_meets_an_error_is_for_who_waits_outside(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    commits, database = store._commits, store.recorder.database
    commits._most = 1
    outside: list[Future[Executed]] = []

    async def ask() -> None:
        await asyncio.wait_for(store.execute_async("s", add("never")), SOON)

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as broken:

        def begin(*_: object, **__: object) -> None:
            broken.undo()
            outside.append(pool.submit(store.execute, "s", add("a")))
            until(lambda: len(commits._outside._places) == 1)
            raise TimeoutError

        broken.setattr(database, "begin", begin)
        with pytest.raises(TimeoutError):
            asyncio.run(ask())

        assert outside[0].result(SOON).version == 2
    assert skus(store) == ["a"]


def test_nothing_is_done_twice_when_the_log_cannot_be_asked_after_an_interrupt(
    store: SessionStore, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    database = store.recorder.database
    adding = [lambda n=n: store.execute("s", add(str(n))) for n in range(3)]
    busy = StoreBusy(path=database.path, seconds=1)

    def then_busy(*given: Any) -> None:
        commit(*given)
        monkeypatch.setattr(database, "begin", Interrupts(database.begin, busy, first=True))
        raise KeyboardInterrupt

    commit = database.commit
    monkeypatch.setattr(database, "commit", then_busy)
    leader, *others = together(store, joined, adding)
    monkeypatch.setattr(database, "commit", commit)

    assert type(leader) is KeyboardInterrupt
    assert {type(other) for other in others} == {OutcomeUnknown}
    assert skus(store) == ["0", "1", "2"]
    assert store.execute("s", add("next")).version == 5
    assert verify(store) == []


@pytest.mark.parametrize("first", [True, False], ids=["before it has", "when it has"])
def test_a_leader_that_is_interrupted_as_it_takes_the_others_leaves_the_lock_to_them(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    store = open_store()
    store.execute("s", OpenSession())
    with monkeypatch.context() as broken:
        interrupts = Interrupts(SharedCommits.take, KeyboardInterrupt(), first=first)
        broken.setattr(SharedCommits, "take", partialmethod(interrupts))
        with pytest.raises(KeyboardInterrupt):
            store.execute("s", add("never"))

    (done,) = in_threads(1, lambda _: store.execute("s", add("a")))
    assert done.version == 2
    assert open_store().execute("s", add("b")).version == 3
    assert verify(store) == []


@pytest.mark.parametrize("held", [Memory, InlineViews])
def test_what_others_wrote_is_taken_in_once_by_a_writer_that_is_interrupted(
    url: str, monkeypatch: pytest.MonkeyPatch, held: type[Memory | InlineViews]
) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url) as other:
        store.execute_many("s", [OpenSession(), add("a"), add("b"), add("c")])
        other.execute("s", RemoveItem(sku="a"))
        with monkeypatch.context() as broken:
            interrupts = Interrupts(held.catch_up, KeyboardInterrupt())
            broken.setattr(held, "catch_up", partialmethod(interrupts))
            with pytest.raises(KeyboardInterrupt):
                store.execute("s", add("never"))

        store.execute("s", RemoveItem(position=1))

        assert [line.sku for line in CustomerSessions(store).get("s").cart_items] == ["b"]
        assert verify(store) == []


def test_what_a_writer_wrote_is_taken_in_once_when_it_is_interrupted_then(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b"), add("c")])
    with monkeypatch.context() as broken:
        interrupts = Interrupts(Memory.hold, KeyboardInterrupt())
        broken.setattr(Memory, "hold", partialmethod(interrupts))
        with pytest.raises(KeyboardInterrupt):
            store.execute("s", RemoveItem(sku="a"))

    store.execute("s", RemoveItem(position=1))

    assert [line.sku for line in CustomerSessions(store).get("s").cart_items] == ["b"]
    assert verify(store) == []


def test_batches_and_commands_of_many_threads_keep_the_views(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    def write(number: int) -> None:
        for written in range(60):
            attributes = SetAttributes(attributes={f"n{number}": written})
            if number:
                store.execute("s", attributes)
            else:
                with store.batch():
                    store.execute("s", attributes)

    in_threads(3, write)

    assert store.position == 181
    assert verify(store) == []


def test_appended_events_and_commands_of_many_threads_keep_the_views(
    store: SessionStore,
) -> None:
    store.execute("s", OpenSession())

    def write(number: int) -> None:
        for written in range(40):
            if number:
                store.execute("s", SetAttributes(attributes={f"n{number}": written}))
            else:
                store.recorder.insert_events([])

    in_threads(3, write)

    assert store.position == 81
    assert verify(store) == []


def test_a_batch_that_is_open_while_the_store_is_closed_ends_as_it_says(
    open_store: OpenStore,
) -> None:
    store = open_store()
    store.execute("s", OpenSession())
    opened, closes = threading.Event(), threading.Event()

    def load() -> bool:
        try:
            with store.batch():
                store.execute("s", add("a"))
                opened.set()
                assert closes.wait(SOON)
                time.sleep(0.1)
        except StoreClosed:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(load)
        assert opened.wait(SOON)
        closing = pool.submit(store.close)
        closes.set()
        written = loading.result(SOON)
        closing.result(SOON)

    if not store.recorder.database.in_memory:
        assert skus(open_store()) == ["a"] * written
