"""Wherever a signal interrupts a command, the store goes on, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from projections.verifying.verify import verify
from sessions import OpenSession, SessionStore
from sessions.commits.awaited_commits import AwaitedCommits
from sessions.commits.job import Job
from tests.interrupts import each_moment
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.commits.shared_commits import Jobs
    from tests.interrupts import Interrupt

pytestmark = pytest.mark.no_cover


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before
@pytest.mark.parametrize("how", ["execute", "await", "batch", "left"])
def test_an_interrupt_at_any_moment_leaves_a_store_that_works(url: str, how: str) -> None:
    options, step = ("&pool=2", 3) if url.startswith("postgresql") else ("", 1)
    store = SessionStore.open(url + options)
    store.execute("before", OpenSession())
    interrupted = HOW[how]

    moments = []
    for interrupt in each_moment(1 + list(HOW).index(how) % step, step):
        moments.append(moment := interrupt.moment)
        session = f"interrupted {moment}"
        with suppress(KeyboardInterrupt), interrupt:
            interrupted(store, session)
        soon(partial(store.execute, f"after {moment}", OpenSession()), moment)
        execute(store, session)
        assert len(list(store.events(session))) == 1

    assert moment > 10
    assert len(list(store.log())) == 1 + 2 * len(moments)
    assert verify(store) == []
    store.close()


def execute(store: SessionStore, session: str) -> None:
    store.execute(session, OpenSession(), idempotency_key=session)


def awaited(store: SessionStore, session: str) -> None:
    asyncio.run(store.execute_async(session, OpenSession(), idempotency_key=session))


def batch(store: SessionStore, session: str) -> None:
    with store.batch():
        execute(store, session)
        store.query("SELECT 1")


def left(store: SessionStore, session: str) -> None:
    with suppress(ZeroDivisionError), store.batch():
        execute(store, f"{session} and dropped")
        raise ZeroDivisionError


HOW = {"execute": execute, "await": awaited, "batch": batch, "left": left}


def soon(call: Callable[[], object], moment: int) -> None:
    """Let another thread make a call, which must not wait for ever."""
    errors: list[BaseException] = []

    def calling() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  raised below
            errors.append(error)

    thread = in_background(calling)
    thread.join(SOON)
    assert not thread.is_alive(), f"it waits for ever after moment {moment}"
    assert not errors, f"{errors[0]!r} after moment {moment}"


def in_background(call: Callable[[], object]) -> threading.Thread:
    """A thread that makes a call, and is left alone if it waits for ever."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


class Crowd:
    """Callers that wait together with one that is interrupted.

    Each kind is a thread ("t"), a task ("a"), or one that closes ("c").
    """

    def __init__(self, interrupt: Interrupt, together: int, waiting: int) -> None:
        self._interrupt = interrupt
        self._all_wait = threading.Event()
        self._answers: list[object] = []
        self._loop = asyncio.new_event_loop()
        self._commits = AwaitedCommits(
            self._perform, path="the store", timeout=2 * SOON, together=together, waiting=waiting
        )

    def _perform(self, jobs: Jobs) -> None:
        self._all_wait.wait()
        for job in jobs.take():
            job.finish([])

    def come(self, before: str, after: str) -> None:
        """Come before and after the one that is interrupted; all others must be answered."""
        looping = in_background(self._loop.run_forever)
        self._let_come(before, 0)
        directing = in_background(partial(self._let_come, after, len(before) + 1))
        with suppress(KeyboardInterrupt), self._interrupt:
            self._commits.do(Job((), None, {}))
        directing.join()
        until(lambda: len(self._answers) == len(before + after))
        self._commits.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        looping.join()
        self._loop.close()

    def _let_come(self, kinds: str, number: int) -> None:
        calls = {"t": self._call, "a": self._await, "c": self._close}
        for waiting, kind in enumerate(kinds, number):
            self._wait_for(waiting)
            in_background(calls[kind])
        self._wait_for(number + len(kinds))
        if number:
            self._all_wait.set()

    def _call(self) -> None:
        self._answers.append(self._commits.do(Job((), None, {})))

    def _await(self) -> None:
        awaited = self._commits.do_async(Job((), None, {}))
        self._answers.append(asyncio.run_coroutine_threadsafe(awaited, self._loop).result())

    def _close(self) -> None:
        self._commits.close()
        self._answers.append("closed")

    def _wait_for(self, number: int) -> None:
        until(lambda: self._interrupt.came or self._number() >= number)

    def _number(self) -> int:
        commits = self._commits
        return len(commits._queue) + len(commits._outside._places) + len(commits._closing)


@pytest.mark.parametrize(
    ("before", "after", "together", "waiting"),
    [
        ("", "tat", 9, 9),
        ("", "at", 1, 9),
        ("", "tt", 1, 1),
        ("", "ttt", 9, 2),
        ("", "c", 9, 9),
        ("t", "aat", 9, 9),
        ("a", "tat", 9, 9),
        ("t", "att", 1, 9),
    ],
)
def test_an_interrupt_at_any_moment_takes_none_along_who_wait_too(
    before: str, after: str, together: int, waiting: int
) -> None:
    for interrupt in each_moment():
        Crowd(interrupt, together, waiting).come(before, after)
    assert interrupt.moment > 10
