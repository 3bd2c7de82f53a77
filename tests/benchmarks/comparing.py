"""Compares ours with the other sides, on sessions of seven events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from tests.benchmarks import straight_line
from tests.benchmarks.databases import sqlite_url
from tests.benchmarks.eventsourcing_side import EventsourcingSide, on_sqlite
from tests.benchmarks.measuring import Block, Row, faster, in_turn
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.plain_sqlite_side import PlainSqliteSide
from tests.benchmarks.workload import EVENTS, each, new_sessions, open_to_closed, session_id

STOCK, PLAIN = "eventsourcing", "plain SQL"
OURS, THEIRS = "ours.db", "eventsourcing.db"
BLOCK, BULK, READS = 15, 300, 200
VERSION = 4


@dataclass(frozen=True)
class Sides:
    ours: OursSide
    stock: EventsourcingSide
    plain: PlainSqliteSide
    loaded: int
    path: Path


def compare(directory: Path, loaded: int, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """All rows of the comparison, with one caller on SQLite."""
    with (
        OursSide(sqlite_url(directory / OURS)) as ours,
        EventsourcingSide(on_sqlite(directory / THEIRS)) as stock,
        PlainSqliteSide(directory / "plain.db") as plain,
    ):
        say(f"{loaded} sessions for each side")
        sides = Sides(ours, stock, plain, loaded, directory / OURS)
        for number in range(loaded):
            for side in (ours, stock, plain):
                open_to_closed(side, number)
        rows: list[Row] = []
        for measure in (commands, reads, past, whole_log, bulk_load):
            say(measure.__doc__ or "")
            rows += measure(sides, rounds)
        events = ours.store.position, stock.recorder.max_notification_id()
    return [*rows, _disk(directory, *events)]


def commands(sides: Sides, rounds: int) -> Iterator[Row]:
    """one caller, open to closed, one durable commit a command"""
    blocks = [
        new_sessions(side, BLOCK, sides.loaded) for side in (sides.ours, sides.stock, sides.plain)
    ]
    ours, stock, plain = in_turn(rounds, *blocks)
    yield faster("a command, open to closed", STOCK, 1.7, ours, stock)
    yield faster("a command, open to closed", PLAIN, 0.45, ours, plain)


def reads(sides: Sides, rounds: int) -> Iterator[Row]:
    """the current view of one session"""
    works: list[Callable[[str], object]] = [sides.ours.read, sides.stock.read, sides.plain.read]
    ours, stock, plain = in_turn(rounds, *[each(work, _ids(sides), READS) for work in works])
    yield faster("current view of one session", STOCK, 10, ours, stock)
    yield faster("current view of one session", PLAIN, 0.5, ours, plain)


def past(sides: Sides, rounds: int) -> Iterator[Row]:
    """a session as it was"""
    ours, stock = sides.ours, sides.stock
    moments = {
        recorded.stream_id: recorded.at
        for recorded in ours.store.log()
        if recorded.version == VERSION
    }
    works: list[Callable[[str], object]] = [
        lambda session: ours.read_version(session, VERSION),
        lambda session: ours.read_as_of(session, moments[session]),
        lambda session: ours.read_version(session, EVENTS),
        lambda session: stock.read(session, VERSION),
        lambda session: stock.read(session, EVENTS),
        stock.read,
    ]
    blocks = [each(work, _ids(sides), READS) for work in works]
    version, time, newest, *stocks = in_turn(rounds, *blocks)
    measured = {
        f"as it was at version {VERSION} of {EVENTS}": (version, VERSION, stocks[0]),
        "as it was at that version's time": (time, VERSION, stocks[0]),
        f"as it was at version {EVENTS} of {EVENTS}": (newest, EVENTS, stocks[1]),
    }
    for what, (then, number, same) in measured.items():
        yield faster(what, f"{STOCK} get", 8, then, stocks[2])
        yield faster(what, f"{STOCK} get(version={number})", None, then, same)


def whole_log(sides: Sides, rounds: int) -> Iterator[Row]:
    """the whole log folded into views"""
    passing, stock, kept, straight = in_turn(rounds, *_replays(sides))
    yield faster("whole log into views, an event", f"{STOCK}, only decoded", 2.5, passing, stock)
    what = "whole log into views that are all kept, an event"
    yield faster(what, "straight-line limit", 0.6, kept, straight)


def bulk_load(sides: Sides, rounds: int) -> Iterator[Row]:
    """bulk load"""
    new = new_sessions(sides.ours, BULK, sides.loaded + (rounds + 1) * BLOCK)

    def batch() -> int:
        with sides.ours.bulk():
            return new()

    saves = new_sessions(sides.stock, BLOCK, sides.loaded + (rounds + 1) * BLOCK)
    ours, stock = in_turn(rounds, batch, saves)
    yield faster("bulk load, a command", STOCK, 20, ours, stock)


def _disk(directory: Path, ours: int, stock: int | None) -> Row:
    a = (directory / OURS).stat().st_size / ours
    b = (directory / THEIRS).stat().st_size / (stock or 1)
    return Row("bytes on disk per event, views included", STOCK, a, b, a / b, unit="B")


def _replays(sides: Sides) -> list[Block]:
    return [
        lambda: EVENTS * sides.ours.replay_passing(),
        sides.stock.replay_decoding,
        lambda: EVENTS * len(sides.ours.replay()),
        lambda: EVENTS * len(straight_line.replay(sides.path)),
    ]


def _ids(sides: Sides) -> Iterator[str]:
    return cycle([session_id(number) for number in range(sides.loaded)])
