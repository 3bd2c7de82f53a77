"""Measures what ours costs when a session grows, and when the log does."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from random import Random

from tests.benchmarks.databases import sqlite_url
from tests.benchmarks.measuring import Block, Row, costs, in_turn
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.workload import (
    EVENTS,
    each,
    new_sessions,
    open_to_closed,
    profile,
    session_id,
)

LINES, LONG, SHORT = 10, 1000, 10
BLOCK, OLD, READS = 10, 20, 100
SMALL_LOG = 1000
MOST = 1.3
STEP = 20_000
SAME, ENOUGH = 1.1, 100_000
"""A difference of memory below this is no growth, once SQLite's page cache is full."""


def session_growth(directory: Path, rounds: int) -> Row:
    """A command on a session of 1000 events, compared with sessions of 10."""
    with OursSide(sqlite_url(directory / "sessions.db")) as side:
        shorts = [f"short-{number}" for number in range((rounds + 1) * BLOCK)]
        with side.bulk():
            for session, events in [("long", LONG), *[(short, SHORT) for short in shorts]]:
                side.open_with_cart(session, LINES)  # two events
                for number in range(events - 2):
                    _turn(side, session, number)
        numbers = count(LONG)
        long, short = in_turn(
            rounds,
            each(lambda session: _turn(side, session, next(numbers)), _always("long"), BLOCK),
            each(lambda session: _turn(side, session, SHORT), shorts, BLOCK),
        )
    return costs(f"a command at {LONG} events of a session", f"at {SHORT}", 1.5, long, short)


def log_growth(
    directory: Path, events: int, rounds: int, say: Callable[[str], None]
) -> Iterator[Row]:
    """Commands, reads, disk and memory with a long log."""
    path = directory / "big.db"
    small_url = sqlite_url(directory / "small.db")
    with OursSide(sqlite_url(path)) as big, OursSide(small_url) as small:
        sizes = {big: events // EVENTS, small: SMALL_LOG // EVENTS}
        for side, sessions in sizes.items():
            load(side, sessions, say)
        say("commands and reads of a long log")
        for what, most, (long, short) in _measured(sizes, rounds):
            at = f"{what}, at {events:,} events of the log"
            yield costs(at, f"at {SMALL_LOG:,}", most, long, short)
        position = big.store.position
    say("memory of a replay")
    yield disk(path, position)
    fewer = events // 10
    yield memory("replaying", events, replay_peak(path, events), replay_peak(path, fewer))
    with OursSide(sqlite_url(directory / "tenth.db")) as tenth:
        load(tenth, fewer // EVENTS, say)
    say("memory of a rebuild")
    peaks = [rebuild_peak(directory / name) for name in ("big.db", "tenth.db")]
    yield memory("a rebuild of", events, *peaks)


def load(side: OursSide, sessions: int, say: Callable[[str], None]) -> None:
    with side.bulk():
        for number in range(sessions):
            if number and number % STEP == 0:
                say(f"loaded {number * EVENTS:,} of {sessions * EVENTS:,} events")
            open_to_closed(side, number)


def _measured(
    sizes: Mapping[OursSide, int], rounds: int
) -> Iterator[tuple[str, float | None, Sequence[Sequence[float]]]]:
    """What is measured, the most that it may cost, and the rounds of the long log and the short."""
    new = [new_sessions(side, BLOCK, sessions) for side, sessions in sizes.items()]
    yield "a command, open to closed", MOST, in_turn(rounds, *new)
    for side, sessions in sizes.items():
        for session in islice(_scattered(sessions), sessions):
            side.read(session)
    reads = [each(side.read, _scattered(sessions), READS) for side, sessions in sizes.items()]
    yield "a read", MOST, in_turn(rounds, *reads)
    asked = [each(side.customer, _customers(sessions), BLOCK) for side, sessions in sizes.items()]
    yield "a customer's sessions and history", None, in_turn(rounds, *asked)

    def forget() -> None:
        for side, work in zip(sizes, new, strict=True):
            side.forget()
            work()  # opens the writing connection; the next line opens a reading one
            side.read(session_id(0))

    first = [each(side.read, _scattered(sessions), READS) for side, sessions in sizes.items()]
    what = "a read, the first of a session since the store was opened"
    yield what, None, in_turn(rounds, *first, before=forget)
    old = [_reopening(side, sessions) for side, sessions in sizes.items()]
    what = "a command on a session not in memory"
    yield what, MOST, in_turn(rounds, *old, before=forget)


def _reopening(side: OursSide, sessions: int) -> Block:
    ids = _scattered(sessions)
    reopened: set[str] = set()

    def block() -> int:
        for session in islice(ids, OLD):
            (side.close_session if session in reopened else side.reopen)(session)
            reopened.symmetric_difference_update([session])
        return OLD

    return block


def disk(path: Path, events: int) -> Row:
    size = path.stat().st_size / events
    return Row(f"bytes on disk per event, {events:,} events", "", size, unit="B")


def memory(doing: str, events: int, more: float, less: float) -> Row:
    """The peak memory of a pass over a log, compared with a pass over a tenth of it."""
    fewer = events // 10
    what = f"peak memory of {doing} {events:,} events"
    most = SAME if fewer >= ENOUGH else None
    return Row(what, f"of {fewer:,}", more, less, more / less, most=most, unit="MiB")


def replay_peak(path: Path, until: int) -> float:
    return _peak("replay", sqlite_url(path), str(until))


def rebuild_peak(path: Path) -> float:
    return _peak("rebuild_memory", sqlite_url(path))


def _peak(module: str, *arguments: str) -> float:
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[1]) / 1024


def _turn(side: OursSide, session: str, number: int) -> None:
    """Set the quantity of each line in turn, always to another value."""
    side.set_quantity(session, number % LINES, 2 + number // LINES % 5)


def _always(session: str) -> Iterator[str]:
    while True:
        yield session


def _scattered(sessions: int) -> Iterator[str]:
    """The sessions in a random order, over and over."""
    return map(session_id, _numbers(sessions))


def _customers(sessions: int) -> Iterator[str]:
    """The customers with one session, in a random order, over and over."""
    return (profile(number) for number in _numbers(sessions) if number % 2)


def _numbers(sessions: int) -> Iterator[int]:
    numbers = list(range(sessions))
    Random(7).shuffle(numbers)
    return cycle(numbers)
