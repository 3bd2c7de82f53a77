"""Eventsourcing's applications and projections run on a store."""

from __future__ import annotations

import unittest.mock
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import StoredEvent, Tracking, TrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.tests.persistence import (
    InfrastructureFactoryTestCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)
from eventsourcing.utils import Environment

from projections import copy, verify
from sessions import (
    CloseSession,
    CopyUnfinished,
    InvalidValue,
    LimitExceeded,
    OpenSession,
    SessionStore,
    StoreNotFound,
)
from sessions.infrastructure import (
    AggregateSessionRecorder,
    PositionedRecorder,
    PositionRecorder,
    SessionsFactory,
)
from sessions.log.recorder import SessionRecorder
from sessions.url import database_of
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Given:
    """A store on a database that is there; a mixin, so that no shipped case is collected here."""

    url = "memory:"

    @pytest.fixture(autouse=True)
    def _place(self, request: pytest.FixtureRequest) -> None:
        if not self.url.endswith(":"):
            self.url = request.getfixturevalue(self.url)

    def made(self, kind: Any, *arguments: object) -> Any:
        database = database_of(self.url, lock_timeout=30)
        self.addCleanup(database.close)
        SessionStore(database, 1).make()
        return kind(database, *arguments)

    def new_originator_id(self) -> str:
        return f"session-{uuid4().hex}"

    if TYPE_CHECKING:
        addCleanup: Callable[..., None]  # noqa: N815  unittest's


class Positions(Given):
    def create_recorder(self) -> Any:
        return self.made(PositionRecorder, "follower")


class Process(Given):
    def create_recorder(self) -> Any:
        return self.made(PositionedRecorder, 1, "follower")


class TestPositionsInMemory(Positions, TrackingRecorderTestCase): ...


class TestPositionsInFile(Positions, TrackingRecorderTestCase):
    url = "sqlite_url"


class TestPositionsInPostgres(Positions, TrackingRecorderTestCase):
    url = "postgres_url"


class TestProcessInMemory(Process, ProcessRecorderTestCase): ...


class TestProcessInFile(Process, ProcessRecorderTestCase):
    url = "sqlite_url"


class TestProcessInPostgres(Process, ProcessRecorderTestCase):
    url = "postgres_url"


class OtherPositions(PositionRecorder): ...


class Factory(Given):
    env: Environment

    @pytest.fixture(autouse=True)
    def _environment(self, _place: None) -> None:
        env = {"PERSISTENCE_MODULE": "sessions.infrastructure", "SESSIONS_STORE": self.url}
        self.env = Environment("Shop", env)

    def expected_factory_class(self) -> type[SessionsFactory]:
        return SessionsFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateSessionRecorder]:
        return AggregateSessionRecorder

    def expected_application_recorder_class(self) -> type[SessionRecorder]:
        return SessionRecorder

    def expected_tracking_recorder_class(self) -> type[PositionRecorder]:
        return PositionRecorder

    def tracking_recorder_subclass(self) -> type[OtherPositions]:
        return OtherPositions

    def expected_process_recorder_class(self) -> type[PositionedRecorder]:
        return PositionedRecorder


class TestFactoryInMemory(Factory, InfrastructureFactoryTestCase[SessionsFactory]): ...


class TestFactoryInFile(Factory, InfrastructureFactoryTestCase[SessionsFactory]):
    url = "sqlite_url"


class TestFactoryInPostgres(Factory, InfrastructureFactoryTestCase[SessionsFactory]):
    url = "postgres_url"


def test_without_a_store_the_factory_says_what_is_missing() -> None:
    with pytest.raises(OSError, match="SESSIONS_STORE"):
        SessionsFactory(Environment("Shop", {}))


def test_snapshots_are_not_kept(url: str) -> None:
    with SessionStore.open(url) as store:
        store.make()
    factory = SessionsFactory(Environment("Shop", {"SESSIONS_STORE": url}))
    with pytest.raises(NotImplementedError, match="a store keeps no snapshots: leave IS_SNAPSH"):
        factory.aggregate_recorder("snapshots")
    factory.close()


def test_fault_2_what_a_recorder_writes_with_a_position_is_there_with_it_or_not_at_all(
    url: str,
) -> None:
    database = database_of(url, lock_timeout=30)
    SessionStore(database, 1).make()
    recorder = PositionedRecorder(database, 1, "follower")
    recorder.insert_events([], tracking=Tracking("upstream", 7))
    assert recorder.max_tracking_id("upstream") == 7
    database.close()


def test_fault_5_two_followers_in_one_database_do_not_share_a_position(url: str) -> None:
    database = database_of(url, lock_timeout=30)
    SessionStore(database, 1).make()
    one, other = (PositionRecorder(database, name) for name in ("one", "other"))
    one.insert_tracking(Tracking("shop", 3))
    assert (one.max_tracking_id("shop"), other.max_tracking_id("shop")) == (3, None)
    database.close()


def test_fault_6_one_follower_of_two_applications_has_a_position_in_each(url: str) -> None:
    with SessionStore.open(url) as store:
        store.make()
    positions: dict[str, list[int | None]] = {}
    for application in ("1", "2", "", "2"):
        env = {"SESSIONS_STORE": url, "SESSIONS_APPLICATION": application}
        factory = SessionsFactory(Environment("count", env))
        found = positions[application] = []
        for recorder in (factory.tracking_recorder(), factory.process_recorder()):
            found.append(recorder.max_tracking_id("Shop"))
            recorder.insert_tracking(Tracking("Shop", (found[-1] or 0) + 5))
        factory.close()

    assert positions == {"1": [None, 5], "": [10, 15], "2": [10, 15]}


@pytest.mark.parametrize("wrong", ["abc", "-1", "0", "1.5", str(2**63)])
def test_an_application_is_a_whole_number_from_1(url: str, wrong: str) -> None:
    env = {"SESSIONS_STORE": url, "SESSIONS_APPLICATION": wrong}
    with pytest.raises((InvalidValue, LimitExceeded), match=r"^SESSIONS_APPLICATION: "):
        SessionsFactory(Environment("Shop", env))


def test_a_store_that_is_not_to_be_made_is_not_made(tmp_path: Path) -> None:
    env = {"SESSIONS_STORE": f"sqlite:///{tmp_path / 'shop.db'}", "CREATE_TABLE": "n"}
    factory = SessionsFactory(Environment("Shop", env))

    with pytest.raises(StoreNotFound):
        factory.application_recorder()

    factory.close()
    assert list(tmp_path.iterdir()) == []


def test_nobody_writes_to_a_copy_before_it_is_complete(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with (
        SessionStore.open("memory:") as one,
        SessionStore.open(url, read_only=True) as other,
    ):
        one.execute("s", OpenSession())
        with monkeypatch.context() as patched:
            patched.setattr("projections.copying.copy.differences_within", interrupted)
            with pytest.raises(KeyboardInterrupt):
                copy(one, other)

        for makes in ("y", "n"):
            env = {"SESSIONS_STORE": url, "CREATE_TABLE": makes}
            factory = SessionsFactory(Environment("Shop", env))
            with pytest.raises(CopyUnfinished):
                factory.application_recorder().insert_events([StoredEvent("a-1", 1, "T", b"{}")])
            factory.close()

        assert copy(one, other).events == 1


class Shop(Application[str]): ...


class Seen(Projection[PositionRecorder]):
    name = "seen"
    topics = ()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        assert domain_event is not None
        self.view.insert_tracking(tracking)


def test_fault_4_a_projection_runner_follows_a_store(url: str) -> None:
    """Its own mapper cannot read our events, so that it is shown them as they are."""
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
        env = {
            "PERSISTENCE_MODULE": "sessions.infrastructure",
            "SESSIONS_STORE": url,
            "MAPPER_TOPIC": "tests.bare_mapper:BareMapper",
        }
        with ProjectionRunner(
            application_class=Shop, projection_class=Seen, view_class=PositionRecorder, env=env
        ) as runner:
            store.execute("t", OpenSession())
            runner.wait(2, timeout=SOON)
            view: TrackingRecorder = runner.projection.view
            assert view.max_tracking_id("Shop") == 2
        runner.app.close()
        runner.projection.view.database.close()


def test_the_clock_of_another_host_makes_nothing_wrong_of_what_it_writes(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
        names = [("stock-1", 1, "Counted"), ("stock-1", 2, "Counted")]
        for number, (stream, version, topic) in enumerate(names):
            event = StoredEvent(stream, version, topic, b"{}")
            with unittest.mock.patch("sessions.clock.now") as now:
                now.return_value = datetime(2026, 1, 2 - number, tzinfo=UTC)
                store.recorder.insert_events([event])

        assert verify(store) == []


class Dog(Aggregate):
    """Somebody else's aggregate, in the same application."""


def test_the_log_of_sessions_passes_by_what_applications_of_eventsourcing_write(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
        env = {"PERSISTENCE_MODULE": "sessions.infrastructure", "SESSIONS_STORE": url}
        dogs: Application[Any] = Application(env={**env, "SESSIONS_APPLICATION": "1"})
        dogs.save(Dog())
        dogs.close()
        done = store.execute("s", CloseSession())

        assert done.position == 3
        assert [recorded.position for recorded in store.log()] == [1, 3]
        with store.follow() as follower:
            assert [next(follower).position for _ in range(2)] == [1, 3]
        assert verify(store) == []
