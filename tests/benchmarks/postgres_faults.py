"""Faults of the stock classes on PostgreSQL; each takes a few seconds at most."""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, cast

from eventsourcing.persistence import StoredEvent, Tracking
from eventsourcing.postgres import (
    PostgresApplicationRecorder,
    PostgresFactory,
    PostgresProcessRecorder,
    PostgresSubscription,
    PostgresTrackingRecorder,
)
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import Environment

from sessions.postgres.place import Place
from tests.benchmarks.eventsourcing_side import on_postgres
from tests.benchmarks.shop import ItemAdded, Shop, Warehouse, added, stored

FUNCTIONS = {"POSTGRES_ENABLE_DB_FUNCTIONS": "y"}
SECONDS = 2  # long enough for what should happen at once


class Totals(Projection[PostgresTrackingRecorder]):
    """Accepts every event, and records how far it has come."""

    def process_event(self, domain_event: object, tracking: Tracking) -> None:  # noqa: ARG002  as eventsourcing's
        self.view.insert_tracking(tracking)


class Closed(Totals):
    topics = ("shop:SessionClosed",)


class Picky(Totals):
    met: ClassVar[list[int]] = []

    def process_event(self, domain_event: object, tracking: Tracking) -> None:
        self.met.append(tracking.notification_id)
        message = f"what is {domain_event}?"
        raise ValueError(message)


def factory_at(place: Place, **settings: str) -> PostgresFactory:
    return PostgresFactory(Environment("Shop", on_postgres(place, **settings)))


def runner_at(place: Place, projection: type[Totals]) -> ProjectionRunner[Shop, Any]:
    return ProjectionRunner(
        application_class=Shop,
        projection_class=projection,
        view_class=PostgresTrackingRecorder,
        env=on_postgres(place),
    )


def reader_loses_an_event(place: Place) -> bool:
    """One writer has a position, and another one the next, and commits before the first does."""
    with factory_at(place, POSTGRES_LOCK_TIMEOUT="1", **FUNCTIONS) as factory:
        recorder = cast("PostgresApplicationRecorder", factory.application_recorder())
        slow = recorder.construct_pg_stored_event(*_columns(stored()))
        seen: list[int] = []
        with recorder.datastore.transaction(commit=True) as cursor:
            cursor.execute(recorder.sql_invoke_pg_function_insert_events, ([slow],))
            recorder.insert_events([stored()])
            seen += [n.id for n in recorder.select_notifications(1, 10)]
        seen += [n.id for n in recorder.select_notifications(seen[-1] + 1, 10)]
        written = [n.id for n in recorder.select_notifications(1, 10)]
    return written == [1, 2] and seen == [2]


def tracking_dropped(place: Place) -> bool:
    with factory_at(place, **FUNCTIONS) as factory:
        recorder = cast("PostgresProcessRecorder", factory.process_recorder())
        recorder.insert_events([stored()], tracking=Tracking("Shop", 5))
        return recorder.max_tracking_id("Shop") is None


def written_to_another(place: Place) -> bool:
    env = on_postgres(place, **FUNCTIONS)
    with Shop(env) as shop, Warehouse(env) as warehouse:
        shop.save(added(1))
        counts = [len(app.recorder.select_notifications(1, 10)) for app in (shop, warehouse)]
    return counts == [0, 1]


def wake_up_lost(place: Place) -> bool:
    """An event is written after the first pull and before LISTEN, which is slow here."""
    may_listen = threading.Event()

    class Slow(PostgresSubscription):
        def _listen(self) -> None:
            may_listen.wait(SECONDS)
            super()._listen()

    with factory_at(place) as factory:
        recorder = cast("PostgresApplicationRecorder", factory.application_recorder())
        recorder.insert_events([stored()])
        with Slow(recorder) as subscription:
            received: SimpleQueue[int] = SimpleQueue()
            next(subscription)  # the first pull is done
            threading.Thread(target=lambda: received.put(next(subscription).id)).start()
            recorder.insert_events([stored()])
            may_listen.set()
            lost = _nothing_in(received)
            recorder.insert_events([stored()])
            return lost and received.get(timeout=SECONDS) == 2


def wait_for_a_filtered_event(place: Place) -> bool:
    with runner_at(place, Closed) as runner:
        position = runner.app.save(added(1))[-1].notification.id
        try:
            runner.wait(position, timeout=SECONDS)
        except TimeoutError:
            return runner.view.max_tracking_id(Shop.name) is None
    return False


def dies_of_a_bad_event(place: Place) -> bool:
    """It dies again after each restart."""
    Picky.met.clear()
    with Shop(on_postgres(place)) as shop:
        shop.save(added(1))
    return [_dies(place) for _ in range(2)] == [True, True] and Picky.met == [1, 1]


def hangs_the_exit(place: Place) -> bool:
    """The interpreter waits for threads that are not daemons."""
    before = set(threading.enumerate())
    with runner_at(place, Totals):
        started = set(threading.enumerate()) - before
        return any(not thread.daemon for thread in started)


def commits_and_raises(place: Place) -> bool:
    class Reporting(PostgresApplicationRecorder):
        def _fetch_ids_after_insert_events(self, *_: object, **__: object) -> Sequence[int]:
            raise ArithmeticError

    with factory_at(place) as factory:
        recorder = Reporting(factory.datastore)
        recorder.create_table()
        try:
            recorder.insert_events([stored()])
        except ArithmeticError:
            return len(recorder.select_notifications(1, 10)) == 1
    return False


def _columns(event: StoredEvent) -> tuple[Any, int, str, bytes]:
    return event.originator_id, event.originator_version, event.topic, event.state


def _nothing_in(received: SimpleQueue[int]) -> bool:
    try:
        received.get(timeout=SECONDS)
    except Empty:
        return True
    return False


def _dies(place: Place) -> bool:
    try:
        with runner_at(place, Picky) as runner:
            runner.run_forever(SECONDS)
    except ValueError as error:
        return ItemAdded.__name__ in str(error)
    return False


FAULTS: tuple[tuple[int, str, Callable[[Place], bool]], ...] = (
    (1, "with database functions, a reader that follows loses events", reader_loses_an_event),
    (2, "with database functions, a process recorder's tracking is lost", tracking_dropped),
    (3, "with database functions, another application gets the events", written_to_another),
    (11, "LISTEN after the first pull: a wake-up is lost", wake_up_lost),
    (12, "waiting for an event that the topics leave out times out", wait_for_a_filtered_event),
    (16, "an error while ids are fetched: committed, and raised then", commits_and_raises),
    (17, "a projection dies of a bad event, and again when restarted", dies_of_a_bad_event),
    (17, "a runner that is not stopped hangs the exit", hangs_the_exit),
)
