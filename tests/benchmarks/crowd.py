"""Many callers at a time, in threads and in processes."""

from collections.abc import Callable, Iterator
from itertools import count
from statistics import quantiles

from tests.benchmarks.callers import Callers
from tests.benchmarks.databases import Database
from tests.benchmarks.measuring import Row, costs, faster, in_turn
from tests.benchmarks.workers import CALLERS, PROCESSES, Workers
from tests.benchmarks.workload import Side

THREADS, CROWD = 16, 64
SESSIONS = 2  # of each caller in a block
LONGER = 6  # a process that finds SQLite locked may sleep for 100 ms
WARM, WARM_PROCESSES = 8, 3
"""Rounds after which SQLite's log has been written round: it grows no more, as in a server that has
run for seconds. A growing file costs the file system a commit of its own for each of ours."""

FIRST = 100_000_000
STOCK, PLAIN = "eventsourcing", "plain SQL"


def crowd(database: Database, rounds: int, say: Callable[[str], None]) -> Iterator[Row]:
    """All rows with many callers."""
    for measure in (threads, latencies, processes):
        say(f"{database.name}: {measure.__doc__}")
        yield from measure(database, rounds)


def threads(database: Database, rounds: int) -> Iterator[Row]:
    """callers in one process"""
    what = f"a command, {THREADS} callers, {database.name}"
    with (
        database.ours() as ours_side,
        database.stock() as stock_side,
        database.plain() as plain_side,
        _callers(ours_side) as ours_callers,
        _callers(stock_side) as stock_callers,
        _callers(plain_side) as plain_callers,
    ):
        blocks = [callers.block for callers in (ours_callers, stock_callers, plain_callers)]
        ours, stock, plain = in_turn(rounds, *blocks, warm=WARM)
    yield faster(what, STOCK, 5, ours, stock)
    yield faster(what, PLAIN, 1.5, ours, plain)


def latencies(database: Database, rounds: int) -> Iterator[Row]:
    """how long the slowest of many callers wait"""
    rare, usual = [], []
    with database.ours() as side, Callers(side, CROWD, SESSIONS, count(2 * FIRST)) as callers:
        callers.latencies()  # to warm up
        for _ in range(rounds):
            hundredths = quantiles(callers.latencies(), n=100)
            rare.append(hundredths[98])
            usual.append(hundredths[49])
    yield costs(f"a command, {CROWD} callers, {database.name}: p99", "p50", 3, rare, usual)


def processes(database: Database, rounds: int) -> Iterator[Row]:
    """callers in many processes"""
    blocks = WARM_PROCESSES + rounds
    what = f"a command, {PROCESSES} processes of {CALLERS} callers, {database.name}"
    with (
        Workers(database.ours, LONGER, blocks) as ours_workers,
        Workers(database.stock, LONGER, blocks) as stock_workers,
    ):
        both = ours_workers.block, stock_workers.block
        ours, stock = in_turn(rounds, *both, warm=WARM_PROCESSES)
    yield faster(what, STOCK, 3, ours, stock)


def _callers(side: Side) -> Callers:
    return Callers(side, THREADS, SESSIONS, count(FIRST))
