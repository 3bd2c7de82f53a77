"""Measures what projections cost a store's commands, and how long a caller waits for them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, sleep

from projections import Runner, StoredProjection
from sessions.views.installed import installed
from tests.benchmarks.databases import sqlite_url
from tests.benchmarks.measuring import Row, in_turn
from tests.benchmarks.open_carts import OPEN_CARTS, Cart
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.workload import new_sessions
from tests.postgres_server import new_schema

BLOCK = 15
SHARE, WAITED = 25, 5  # per cent, milliseconds


def projecting(directory: Path, server: str, rounds: int, commits: int) -> Iterator[Row]:
    """The rows of both databases."""
    names = ("with", "without", "waited")
    yield from _rows("SQLite", [sqlite_url(directory / f"{n}.db") for n in names], rounds, commits)
    with ExitStack() as schemas:
        urls = [schemas.enter_context(new_schema(server)) for _ in names]
        yield from _rows("PostgreSQL", urls, rounds, commits)


def _rows(name: str, urls: list[str], rounds: int, commits: int) -> Iterator[Row]:
    yield share(name, urls[0], urls[1], rounds)
    yield waited(name, urls[2], commits)


def share(name: str, url: str, bare_url: str, rounds: int) -> Row:
    """The inline projections' share of a command's cost."""
    with OursSide(url) as side, OursSide(bare_url, projections=()) as bare:
        blocks = [new_sessions(each, BLOCK) for each in (side, bare)]
        full, less = in_turn(rounds, *blocks)
    part = 100 * (1 - median(b / a for a, b in zip(full, less, strict=True)))
    against = f"{median(full):,.0f} µs with them, {median(less):,.0f} µs without"
    what = f"inline projections' share of a command's cost, {name}"
    return Row(what, against, part, most=SHARE, unit="%")


def waited(name: str, url: str, commits: int) -> Row:
    """The time from a command's answer until a followed projection has reached its position."""
    with OursSide(url, projections=(*installed(), OPEN_CARTS)) as side:
        side.open("waited-for", "")
        stored = StoredProjection(side.store, OPEN_CARTS)
        with Runner(side.store):
            stored.wait(side.store.position)
            waits = [_wait(side, stored, number) for number in range(commits)]
    return Row(
        f"position waited for, in one process, {name}", "", median(waits), most=WAITED, unit="ms"
    )


def _wait(side: OursSide, stored: StoredProjection[Cart], number: int) -> float:
    sleep(Random(number).uniform(0.005, 0.025))
    side.open(f"waited-for-{number}", f"cust-{number}")
    position = side.store.position
    answered = perf_counter()
    stored.wait(position)
    return (perf_counter() - answered) * 1000
