"""A process with callers, a follower and projections; it may be killed at any moment.

Threads write to one application's log through the same store, and one of them loads whole batches;
others write to logs of their own on the same connections. Signals interrupt the main thread.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from tests.torture import holding, projecting
from tests.torture.caller import Caller
from tests.torture.disturbed import Disturbed, close
from tests.torture.interrupting import Signals
from tests.torture.loading import Loader, set_whole
from tests.torture.watching import Watcher
from tests.waiting import SOON, patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection as Pipe
    from pathlib import Path

    from sessions import SessionStore
    from sessions.sql.connection import Connection
    from sessions.sql.database import Database
    from sessions.sql.head import Head

C = TypeVar("C", bound=Caller)

LOCK_TIMEOUTS = (0.4, 2.0, 2.0, 10.0, 10.0, 10.0)
_SWITCH = (0.005, 0.0001, 0.00001)
"""Seconds after which another thread may go on: the default, or so few that it can be anywhere."""

_FEW = ("SessionOpened", "SessionClosed")


@dataclass(frozen=True)
class Plan:
    """What a process does.

    Attributes:
        noted: A position of the log, from which some follow it.
        whole: How many commands a batch has.
        others: The applications beside the first one.
    """

    url: str
    directory: Path
    seed: int
    round_: int
    threads: int
    seconds: float
    noted: int
    whole: int
    others: Sequence[int]
    process: int = 0

    @property
    def name(self) -> str:
        return f"{self.round_}.{self.process}"

    @property
    def said(self) -> Path:
        """Where it writes unexpected errors, and its stacks when it gets SIGUSR1."""
        return self.directory / f"{self.name}.said"

    def of(self, application_id: int) -> Path:
        """Where the journals of an application are."""
        return self.directory / str(application_id)


def run(plan: Plan, pipe: Pipe) -> None:
    """Do what the parent says, and report when it is done: open stores, work, compare, close."""
    said = os.open(plan.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 2)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    worker = _Worker(plan)
    pipe.send("ready")
    pipe.recv()
    worker.work()
    pipe.send("done")
    pipe.recv()
    worker.compare()
    worker.close()


class _Worker:
    def __init__(self, plan: Plan) -> None:
        set_whole(plan.whole)
        self._plan = plan
        self._random = random = Random(f"{plan.seed}/{plan.name}")
        sys.setswitchinterval(random.choice(_SWITCH))
        self._signals = Signals(Random(random.random()))
        lock_timeout = random.choice(LOCK_TIMEOUTS)
        self._stores = [
            patiently(lambda: projecting.open_store(plan.url, lock_timeout=lock_timeout))
            for _ in range(random.choice([1, 1, 1, 2]))
        ]
        self._others = [
            patiently(partial(projecting.beside, self._stores[0], each)) for each in plan.others
        ]
        if random.random() < 0.4:
            for store in self._stores:
                pause(store.recorder.database, Random(random.random()))
        after = random.choice([0, plan.noted, plan.noted, plan.noted])
        types = _FEW if random.random() < 0.25 else ()
        path = plan.of(1) / f"{plan.name}.watched"
        self._watcher = Watcher(self._stores[0], path, after, types)
        self._projections = ExitStack()
        if plan.process < projecting.RUNNERS:
            self._projections.enter_context(projecting.runner(self._stores[0], random))

    def work(self) -> None:
        """Let all threads make requests, until the time is over."""
        until = monotonic() + self._plan.seconds
        plan, signals = self._plan, self._signals
        threads = [threading.Thread(target=work) for work in self._works(until)]
        main = self._caller(partial(Disturbed, signals=signals, url=plan.url), "main")
        for thread in threads:
            thread.start()
        main.work(until)
        for thread in threads:
            thread.join()

    def _works(self, until: float) -> list[Callable[[], object]]:
        plan, random, stores = self._plan, self._random, self._stores
        works: list[Callable[[], object]] = [
            partial(self._caller(Caller, str(n), stores[n % len(stores)]).work, until)
            for n in range(random.choice([1, plan.threads]))
        ]
        works += [partial(self._caller(Caller, "0", other).work, until) for other in self._others]
        loader = self._caller(Loader, "load")
        works.append(partial(loader.load, plan.whole, until))
        if random.random() < projecting.REBUILDS:
            works.append(partial(projecting.rebuild_now_and_then, stores[-1], random, until))
        return works

    def _caller(self, kind: Callable[..., C], what: str, store: SessionStore | None = None) -> C:
        plan, store = self._plan, store or self._stores[0]
        return kind(store, f"{plan.name}.{what}", plan.of(store.application_id), plan.seed)

    def compare(self) -> None:
        """Check that what the stores hold equals the log."""
        found = [
            wrong
            for store in (*self._stores, *self._others)
            for wrong in holding.wrong(store, self._plan.url, self._random)
        ]
        assert not found, "\n".join(found[:5])

    def close(self) -> None:
        """Check that the follower reaches the log's end, and close the stores, in either order."""
        self._watcher.wait(patiently(lambda: self._stores[0].position), SOON)
        if self._random.random() < 0.5:
            self._watcher.stop()
            self._projections.close()
        for store in self._stores:
            close(store, self._signals)
        self._watcher.join()
        self._projections.close()


def pause(database: Database, random: Random) -> None:
    """Make a database's commits slow: before COMMIT, and after it."""
    commit = database.commit

    def slow(known: Head, connection: Connection, write: Callable[[Connection], bool]) -> None:
        before, after = (random.random() ** 40 / 5 for _ in range(2))

        def written(to: Connection) -> bool:
            wrote = write(to)
            time.sleep(before)
            return wrote

        commit(known, connection, written)
        time.sleep(after)

    setattr(database, "commit", slow)  # noqa: B010  a method is replaced
