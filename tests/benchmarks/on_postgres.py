"""Measures one caller on PostgreSQL, and reading the log from there."""

from collections.abc import Iterator

from tests.benchmarks.databases import Database
from tests.benchmarks.measuring import Row, faster, in_turn
from tests.benchmarks.workload import new_sessions

BLOCK = 15
STOCK, PLAIN = "eventsourcing", "plain SQL"


def one_caller(database: Database, rounds: int) -> Iterator[Row]:
    """Each side gets, changes and saves."""
    what = f"a command, open to closed, {database.name}"
    with (
        database.ours() as ours_side,
        database.stock() as stock_side,
        database.plain() as plain_side,
    ):
        blocks = [new_sessions(side, BLOCK) for side in (ours_side, stock_side, plain_side)]
        ours, stock, plain = in_turn(rounds, *blocks)
    yield faster(what, STOCK, 1.6, ours, stock)
    yield faster(what, PLAIN, None, ours, plain)


def read_log(database: Database, rounds: int) -> Iterator[Row]:
    """The whole log, only decoded."""
    with database.ours() as ours_side, database.stock() as stock_side:
        store = ours_side.store
        blocks = (lambda: sum(1 for _ in store.log()), stock_side.replay_decoding)
        ours, stock = in_turn(rounds, *blocks)
    yield faster(f"the log decoded, an event, {database.name}", STOCK, 2, ours, stock)
