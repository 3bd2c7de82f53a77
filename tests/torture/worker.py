"""A process of callers, a follower and projections; at any moment it may be killed."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from tests.torture import projecting
from tests.torture.caller import Caller
from tests.torture.watching import Watcher
from tests.waiting import SOON, patiently

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection as Pipe
    from pathlib import Path

    from sessions.database import Connection, Database
    from sessions.head import Head

LOCK_TIMEOUTS = (0.4, 2.0, 2.0, 10.0, 10.0, 10.0)
_FEW = ("SessionOpened", "SessionClosed")


@dataclass(frozen=True)
class Plan:
    """What a process does."""

    url: str
    directory: Path
    seed: int
    round_: int
    process: int
    threads: int
    seconds: float
    noted: int

    @property
    def name(self) -> str:
        return f"{self.round_}.{self.process}"

    @property
    def said(self) -> Path:
        """Where it says what nobody expects, and its stacks when it gets SIGUSR1."""
        return self.directory / f"{self.name}.said"


def run(plan: Plan, pipe: Pipe) -> None:
    """Open a store, say so, and work when the parent says so."""
    said = os.open(plan.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 2)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    random = Random(f"{plan.seed}/{plan.name}")
    lock_timeout = random.choice(LOCK_TIMEOUTS)
    stores = [
        patiently(lambda: projecting.open_store(plan.url, lock_timeout=lock_timeout))
        for _ in range(random.choice([1, 1, 1, 2]))
    ]
    if random.random() < 0.4:
        for store in stores:
            pause(store.recorder.database, Random(random.random()))
    after = random.choice([0, plan.noted, plan.noted, plan.noted])
    types = _FEW if random.random() < 0.25 else ()
    watcher = Watcher(stores[0], plan.directory / f"{plan.name}.watched", after, types)
    projections = ExitStack()
    if plan.process < projecting.RUNNERS:
        projections.enter_context(projecting.runner(stores[0], random))
    pipe.send("ready")
    pipe.recv()
    until = monotonic() + plan.seconds
    callers = [
        Caller(stores[n % len(stores)], f"{plan.name}.{n}", plan.directory, plan.seed)
        for n in range(plan.threads)
    ]
    threads = [threading.Thread(target=caller.work, args=(until,)) for caller in callers]
    if random.random() < projecting.REBUILDS:
        arguments = (stores[-1], random, until)
        threads.append(threading.Thread(target=projecting.rebuild_now_and_then, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    newest = patiently(lambda: stores[0].position)  # once the server is there
    watcher.wait(newest, SOON)
    if random.random() < 0.5:
        watcher.stop()
        projections.close()
    for store in stores:
        store.close()
    watcher.join()
    projections.close()


def pause(database: Database, random: Random) -> None:
    """Let a database's commits take their time: before COMMIT, and behind it."""
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
