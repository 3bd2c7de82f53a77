"""Measures how far a followed projection lags behind a writer that does not wait for it.

The runner has a process of its own, `python -m tests.benchmarks.lagging URL SECONDS`, as people run
it: in this one, the garbage collector would walk through what the other benchmarks have left.

Another process flushes a page of its own file again and again: a disk that stands still holds up
every commit, and with it the views.
"""

import os
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import count, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import NamedTuple

from projections import Runner, StoredProjection
from sessions import (
    AddItem,
    ApplyCoupon,
    CloseSession,
    Command,
    OpenSession,
    SessionStore,
    SetDiscount,
    SetQuantity,
)
from sessions.errors import ViewBehind
from sessions.views.installed import installed
from tests.benchmarks.measuring import Row
from tests.benchmarks.open_carts import OPEN_CARTS, Cart
from tests.benchmarks.workload import session_id

RATE = 5_000  # events a second
TOGETHER = 50  # events of a commit
MOST = 100  # milliseconds
WARM_UP = 2.0  # seconds
STEADY = 0.98
SECONDS = 30
PAGE = bytes(4096)
PAUSE = 0.01  # seconds between two flushes


class Reached(NamedTuple):
    """A position of the log, and when it was answered, or seen in the views."""

    position: int
    at: float


class Flushed(NamedTuple):
    """When a page was written, and the seconds until it was on the disk."""

    at: float
    seconds: float


class Lag(NamedTuple):
    """How many events were written a second, and the milliseconds until they were seen.

    `flush` is the longest time in milliseconds that the disk took for a page of another file.
    """

    rate: float
    longest: float
    median: float
    flush: float


def lag(url: str, seconds: float) -> Iterator[Row]:
    """The longest lag, and the median; without a target if the writer did not keep pace."""
    command = [sys.executable, "-m", "tests.benchmarks.lagging", url, str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = Lag(*map(float, done.stdout.split()))
    against = f"{found.rate:,.0f} events/s were written"
    what = f"lag of a followed projection under {RATE:,} events/s, SQLite"
    most = MOST if found.rate >= STEADY * RATE else None
    yield Row(f"{what}: maximum", against, found.longest, most=most, unit="ms")
    yield Row(f"{what}: median", against, found.median, unit="ms")
    yield Row("longest flush of a page of another file meanwhile", "", found.flush, unit="ms")


def measured(url: str, seconds: float) -> Lag:
    """Write and follow, in this process and one that it starts."""
    with SessionStore.open(url, projections=(*installed(), OPEN_CARTS)) as store:
        store.make()
        with _flushing(Path(f"{url.removeprefix('sqlite:///')}.flushed")) as flushed:
            answered, seen = _followed(store, url, seconds)
    warm = answered[0].at + WARM_UP
    written = [each for each in answered if each.at >= warm]
    flushes = [each.seconds for each in flushed if warm <= each.at <= written[-1].at]
    rate = (written[-1].position - written[0].position) / (written[-1].at - written[0].at)
    lags = [_lag(each, seen) for each in written]
    return Lag(rate, max(lags), median(lags), max(flushes) * 1000)


@contextmanager
def _flushing(path: Path) -> Iterator[list[Flushed]]:
    """A process that flushes a page again and again; its flushes are there at the end."""
    flushed: list[Flushed] = []
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_flush, args=(path, theirs))
    process.start()
    theirs.close()
    try:
        yield flushed
        mine.send(None)
        flushed += [Flushed(*each) for each in mine.recv()]
    finally:
        mine.close()
        process.join(SECONDS)
        path.unlink(missing_ok=True)


def _flush(path: Path, caller: Connection) -> None:
    """Flush pages until the caller says something, and tell it of them."""
    flushed = []
    with path.open("wb", buffering=0) as file, suppress(EOFError):
        while not caller.poll(PAUSE):
            at = monotonic()
            os.pwrite(file.fileno(), PAGE, 0)
            os.fsync(file.fileno())
            flushed.append((at, monotonic() - at))
        caller.recv()  # fails if the caller did
        caller.send(flushed)


def _followed(store: SessionStore, url: str, seconds: float) -> tuple[list[Reached], list[Reached]]:
    """What was answered, and what was seen in the views."""
    context = get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_write, args=(url, seconds + WARM_UP, theirs))
    stored, seen = StoredProjection(store, OPEN_CARTS), [Reached(0, monotonic())]
    with Runner(store):
        process.start()
        theirs.close()  # so that the failure of a writer is noticed
        while not mine.poll():
            _see(stored, seen, seen[-1].position + 1, 1)
        answered = [Reached(*each) for each in mine.recv()]
        while seen[-1].position < answered[-1].position:
            _see(stored, seen, answered[-1].position, SECONDS)
    process.join(SECONDS)
    return answered, seen


def _see(
    stored: StoredProjection[Cart], seen: list[Reached], position: int, timeout: float
) -> None:
    with suppress(ViewBehind):
        stored.wait(position, timeout=timeout)
    seen.append(Reached(stored.position, monotonic()))


def _lag(answered: Reached, seen: Sequence[Reached]) -> float:
    """The milliseconds until the views had reached the position."""
    first = seen[bisect_left(seen, (answered.position,))]
    return max(0.0, first.at - answered.at) * 1000


def _write(url: str, seconds: float, answers: Connection) -> None:
    """Write at a steady pace, many sessions at a time; a writer that is late catches up at once."""
    answered, commits = [], _commits()
    with SessionStore.open(url) as store:
        started = monotonic()
        for number, commands in enumerate(islice(commits, int(seconds * RATE / TOGETHER))):
            sleep(max(0.0, started + number * TOGETHER / RATE - monotonic()))
            position = store.execute_all(commands)[-1].position
            answered.append((position, monotonic()))
    answers.send(answered)


def _commits() -> Iterator[list[tuple[str, Command]]]:
    """The next step of as many sessions as a commit has events; then new sessions."""
    for first in count(0, TOGETHER):
        numbers = range(first, first + TOGETHER)
        for command in _commands():
            yield [(session_id(number), command) for number in numbers]


def _commands() -> list[Command]:
    return [
        OpenSession(),
        AddItem(sku="9696", name="Tea pot, white", price=Decimal("59.90"), quantity=2),
        AddItem(sku="22423", name="Cake stand, three tiers", price=Decimal("12.75")),
        SetQuantity(position=0, quantity=3),
        ApplyCoupon(coupon="SPRING-24"),
        SetDiscount(label="spring", value=Decimal("5.50")),
        CloseSession(),
    ]


if __name__ == "__main__":
    sys.stdout.write(" ".join(map(str, measured(sys.argv[1], float(sys.argv[2])))) + "\n")
