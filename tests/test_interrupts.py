"""A caller that is interrupted with Ctrl-C leaves a store that others, and itself, can use."""

from __future__ import annotations

import gc
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from projections.verifying.verify import verify
from sessions import OpenSession, SessionStore
from tests.conftest import add
from tests.groups import joined, skus
from tests.test_broken_commits import Interrupts
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.commits.job import Job

__all__ = ["joined"]


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Makes a call that waits, and interrupts it as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def made(call: Callable[[], object]) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        call()

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # an interrupt is lost within a callback of it, and other tests may have set one
    yield made
    gc.enable()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def held(url: str) -> Iterator[None]:
    """Another store has the lock, up to the end of the block."""
    with SessionStore.open(url) as other, other.recorder.database.writing():
        yield


@pytest.mark.parametrize("how", ["execute", "batch", "writing"])
def test_an_interrupt_while_waiting_for_other_writers_leaves_the_lock_to_them(
    url: str, interrupted: Callable[[Callable[[], object]], None], how: str
) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())

        with held(url), pytest.raises(KeyboardInterrupt):
            interrupted(lambda: wait(store, how))

        with SessionStore.open(url) as other:
            assert other.execute("s", add("a")).version == 2
        assert store.execute("s", add("b")).version == 3
        assert skus(store) == ["a", "b"]
        assert verify(store) == []


@pytest.mark.parametrize("first", [True, False], ids=["before it has it", "as it has it"])
def test_an_interrupt_as_a_thread_gets_its_turn_leaves_the_turn_to_others(
    url: str, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    with SessionStore.open(url) as store, ThreadPoolExecutor(1) as others:
        store.execute("s", OpenSession())
        database = store.recorder.database
        lock = database._lock
        acquire = Interrupts(lock.acquire, KeyboardInterrupt(), first=first)
        turns = SimpleNamespace(acquire=acquire, release=lock.release)

        with monkeypatch.context() as patched:
            patched.setattr(database, "_lock", turns)
            with pytest.raises(KeyboardInterrupt):
                store.execute("s", add("never"))

        assert others.submit(store.execute, "s", add("a")).result(SOON).version == 2
        assert store.execute("s", add("b")).version == 3
        assert skus(store) == ["a", "b"]


def wait(store: SessionStore, how: str) -> None:
    if how == "execute":
        store.execute("s", add("never"))
    elif how == "batch":
        with store.batch():
            store.execute("s", add("never"))
    else:
        with store.recorder.database.writing():
            pass


def test_an_interrupt_while_waiting_for_a_leader_leaves_the_others_be(
    url: str, interrupted: Callable[[Callable[[], object]], None], joined: list[Job]
) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
        leading = threading.Thread(target=store.execute, args=("s", add("a")))
        with held(url):
            leading.start()
            until(lambda: len(joined) == 2)
            with pytest.raises(KeyboardInterrupt):
                interrupted(lambda: store.execute("s", add("never")))
        leading.join()

        assert store.execute("s", add("b")).version == 3
        assert skus(store) == ["a", "b"]
