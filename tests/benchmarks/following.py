"""Measures how long it takes until a follower has what was committed."""

from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from random import Random
from statistics import median
from threading import Thread
from time import monotonic, sleep

from sessions import SessionStore
from tests.benchmarks.databases import Database
from tests.benchmarks.measuring import Row
from tests.benchmarks.ours_side import OursSide

HERE, ELSEWHERE = 5, 50  # milliseconds
SECONDS = 30

Seen = Callable[[], float]
"""When the follower had the next event; all processes read the same clock."""


def follow(database: Database, commits: int) -> Iterator[Row]:
    """The medians of a follower in this process, and of one in another."""
    what = f"commit to seen, {database.name}"
    with database.ours() as side:
        here = _here(side, commits)
        elsewhere = _elsewhere(side, commits)
    yield Row(f"{what}, same process", "", median(here), most=HERE, unit="ms")
    yield Row(f"{what}, other process", "", median(elsewhere), most=ELSEWHERE, unit="ms")


def _here(side: OursSide, commits: int) -> list[float]:
    seen: SimpleQueue[float] = SimpleQueue()
    follower = side.store.follow(side.store.position)

    def run() -> None:
        for _ in follower:
            seen.put(monotonic())

    thread = Thread(target=run)
    with follower:
        thread.start()
        delays = _delays(side, "here", commits, lambda: seen.get(timeout=SECONDS))
    thread.join()
    return delays


def _elsewhere(side: OursSide, commits: int) -> list[float]:
    context = get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    arguments = (side.url, side.store.position, commits + 1, theirs)
    process = context.Process(target=_follow, args=arguments)
    process.start()

    def seen() -> float:
        assert mine.poll(SECONDS)
        return float(mine.recv())

    seen()  # it follows
    delays = _delays(side, "elsewhere", commits, seen)
    process.join(SECONDS)
    return delays


def _follow(url: str, after: int, events: int, seen: Connection) -> None:
    with SessionStore.open(url, read_only=True) as store, store.follow(after) as follower:
        seen.send(monotonic())
        for _ in islice(follower, events):
            seen.send(monotonic())


def _delays(side: OursSide, name: str, commits: int, seen: Seen) -> list[float]:
    """The milliseconds from each commit's answer to its event; the first one warms up."""
    pauses, delays = Random(7), []
    for number in range(commits + 1):
        sleep(pauses.uniform(0.005, 0.025))  # at no pace that a follower could fall into step with
        side.open(f"{name}-{number}", "")
        answered = monotonic()
        delays.append(max(0.0, seen() - answered) * 1000)
    return delays[1:]
