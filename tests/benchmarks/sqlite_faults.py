"""Faults of the stock classes on SQLite, and faults that are the same on every database."""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from uuid import UUID

from eventsourcing.persistence import (
    ConnectionUnavailableError,
    InterfaceError,
    JSONTranscoder,
    Mapper,
    OperationalError,
    Tracking,
)
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteDatastore,
    SQLiteFactory,
    SQLiteTrackingRecorder,
)
from eventsourcing.utils import Environment

from tests.benchmarks.eventsourcing_side import on_sqlite
from tests.benchmarks.shop import (
    CART,
    Cart,
    ItemAdded,
    Shop,
    Warehouse,
    added,
    project,
    stored,
)

AT_ONCE = 1.0  # seconds; SQLite would wait five for a lock


class Totals(Projection[SQLiteTrackingRecorder]):
    def process_event(self, domain_event: object, tracking: Tracking) -> None: ...


def env_in(directory: Path) -> dict[str, str]:
    return on_sqlite(directory / "stock.db")


def recorder_in(directory: Path) -> SQLiteApplicationRecorder:
    recorder = SQLiteApplicationRecorder(SQLiteDatastore(str(directory / "stock.db")))
    recorder.create_table()
    return recorder


def no_subscription(directory: Path) -> bool:
    try:
        with ProjectionRunner(
            application_class=Shop,
            projection_class=Totals,
            view_class=SQLiteTrackingRecorder,
            env=env_in(directory),
        ):
            return False
    except NotImplementedError:
        return True


def shared_checkpoint(directory: Path) -> bool:
    factories = [SQLiteFactory(Environment(name, env_in(directory))) for name in ("A", "B")]
    first, second = (factory.tracking_recorder() for factory in factories)
    first.insert_tracking(Tracking("Shop", 5))
    return second.max_tracking_id("Shop") == 5


def shared_events_table(directory: Path) -> bool:
    env = env_in(directory)
    with Shop(env) as shop, Warehouse(env) as warehouse:
        shop.save(added(1))
        return len(warehouse.recorder.select_notifications(start=1, limit=10)) == 1


def leaked_writer_lock(directory: Path) -> bool:
    mounted_later = directory / "volume"
    datastore = SQLiteDatastore(str(mounted_later / "stock.db"), pool_timeout=0.2)
    recorder = SQLiteApplicationRecorder(datastore)
    try:
        recorder.create_table()
    except InterfaceError:
        mounted_later.mkdir()
    try:
        recorder.create_table()
    except ConnectionUnavailableError:
        return True
    return False


def deferred_transaction_locked(directory: Path) -> bool:
    ours, theirs = recorder_in(directory), recorder_in(directory)
    started = monotonic()
    try:
        with ours.datastore.transaction(commit=True) as cursor:
            cursor.execute("SELECT count(*) FROM stored_events")
            theirs.insert_events([stored()])
            cursor.execute("INSERT INTO stored_events VALUES ('cart', 1, 'ItemAdded', '{}')")
    except (OperationalError, sqlite3.OperationalError) as error:
        return "locked" in str(error) and monotonic() - started < AT_ONCE
    return False


def second_reader_in_memory(_directory: Path) -> bool:
    recorder = SQLiteApplicationRecorder(SQLiteDatastore(":memory:"))
    recorder.create_table()
    with recorder.datastore.transaction(commit=False):
        try:
            recorder.select_events(CART)
        except (OperationalError, sqlite3.OperationalError) as error:
            return "no such table" in str(error)
    return False


def position_given_out_again(directory: Path) -> bool:
    recorder = recorder_in(directory)
    recorder.insert_events([stored()])
    newest = recorder.insert_events([stored()])
    with recorder.datastore.transaction(commit=True) as cursor:
        cursor.execute(
            "DELETE FROM stored_events WHERE rowid = (SELECT max(rowid) FROM stored_events)"
        )
    return recorder.insert_events([stored()]) == newest


def cache_never_advances(directory: Path) -> bool:
    replayed: list[int] = []

    def counting(cart: Cart | None, events: Iterable[ItemAdded]) -> Cart | None:
        new = list(events)
        replayed.append(len(new))
        return project(cart, new)

    with Shop(env_in(directory) | {"AGGREGATE_CACHE_MAXSIZE": "10"}) as shop:
        shop.save(added(1))
        shop.repository.get(CART, projector_func=counting)
        shop.save(added(2), added(3))
        for _ in range(2):
            shop.repository.get(CART, projector_func=counting)
    return replayed == [1, 2, 2]


def version_beyond_the_newest(directory: Path) -> bool:
    with Shop(env_in(directory)) as shop:
        shop.save(added(1), added(2))
        return shop.repository.get(CART, version=99, projector_func=project).version == 2


def unvalidated_event(_directory: Path) -> bool:
    mapper = Mapper[UUID](JSONTranscoder())
    event = mapper.to_domain_event(stored())
    return isinstance(event, ItemAdded) and not hasattr(event, "sku")


FAULTS: tuple[tuple[int, str, Callable[[Path], bool]], ...] = (
    (4, "a projection cannot run on SQLite: no subscription", no_subscription),
    (5, "two projections in one SQLite file share a checkpoint", shared_checkpoint),
    (6, "two applications in one SQLite file share the events table", shared_events_table),
    (7, "one failed connection leaks SQLite's writer lock", leaked_writer_lock),
    (8, "read, then write: 'database is locked' at once", deferred_transaction_locked),
    (9, "':memory:' with a second reader: 'no such table'", second_reader_in_memory),
    (10, "a deleted newest event's position is given out again", position_given_out_again),
    (13, "the cache never advances for immutable state", cache_never_advances),
    (14, "a version beyond the newest is answered with the newest", version_beyond_the_newest),
    (15, "an event that lacks a field is rebuilt without a word", unvalidated_event),
)
