"""A caller that is interrupted with Ctrl-C leaves a store that others, and itself, can use."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from projections.verify import verify
from sessions import OpenSession, SessionStore
from tests.conftest import add
from tests.groups import skus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def after() -> Iterator[Callable[[float], object]]:
    """Interrupts the test after some seconds, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def held(url: str, seconds: float) -> Iterator[None]:
    """Another store has the lock, for some seconds."""
    has_it = threading.Event()

    def hold() -> None:
        with SessionStore.open(url) as other, other.recorder.database.writing():
            has_it.set()
            time.sleep(seconds)

    holding = threading.Thread(target=hold)
    holding.start()
    assert has_it.wait(10)
    yield
    holding.join()


@pytest.mark.parametrize("how", ["execute", "batch", "writing"])
def test_an_interrupt_while_waiting_for_other_writers_leaves_the_lock_to_them(
    url: str, after: Callable[[float], object], how: str
) -> None:
    with SessionStore.open(url, lock_timeout=3) as store:
        store.execute("s", OpenSession())

        with held(url, 0.4):
            after(0.15)
            with pytest.raises(KeyboardInterrupt):
                interrupted(store, how)

        with SessionStore.open(url, lock_timeout=3) as other:
            assert other.execute("s", add("a")).version == 2
        assert store.execute("s", add("b")).version == 3
        assert skus(store) == ["a", "b"]
        assert verify(store) == []


def interrupted(store: SessionStore, how: str) -> None:
    if how == "execute":
        store.execute("s", add("never"))
    elif how == "batch":
        with store.batch():
            store.execute("s", add("never"))
    else:
        with store.recorder.database.writing():
            pass
    time.sleep(1)


def test_an_interrupt_while_waiting_for_a_leader_leaves_the_others_be(
    url: str, after: Callable[[float], object]
) -> None:
    with SessionStore.open(url, lock_timeout=5) as store:
        store.execute("s", OpenSession())
        leading = threading.Thread(target=store.execute, args=("s", add("a")))
        with held(url, 0.4):
            leading.start()
            time.sleep(0.1)
            after(0.1)
            with pytest.raises(KeyboardInterrupt):
                store.execute("s", add("never"))
        leading.join()

        assert store.execute("s", add("b")).version == 3
        assert skus(store) == ["a", "b"]
