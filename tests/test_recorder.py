"""Our recorder keeps eventsourcing's contract, and is free of the stock classes' faults."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    StoredEvent,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from projections import CustomerSessions
from sessions import (
    BatchOpen,
    InvalidValue,
    OpenSession,
    SessionsError,
    SessionStore,
    SetAttributes,
    StorageFailed,
    StoreNotFound,
    StoreReadOnly,
    UndecodableEvent,
    VersionNotFound,
)
from sessions.infrastructure import AggregateSessionRecorder
from sessions.log.recorder import SessionRecorder
from sessions.postgres.connection import PostgresConnection
from sessions.sql import migrations
from sessions.sql.connection import query_on
from sessions.sql.dialect import POSTGRES
from sessions.sqlite import SqliteDatabase
from sessions.url import database_of
from sessions.views.inline import InlineViews
from tests.conftest import add, in_threads
from tests.tampering import unguarded
from tests.test_unfit_values import scattered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import OpenStore


class Contract:
    """What the shipped test cases need; a mixin, so that none of them is collected here."""

    kind: type[SessionRecorder] = SessionRecorder
    url = "memory:"

    def new_originator_id(self) -> str:
        return f"session-{uuid4().hex}"

    def create_recorder(self) -> Any:
        database = database_of(self.url, lock_timeout=30)
        self.addCleanup(database.close)
        with database.writing() as connection:
            migrations.make(database, connection, query_on(connection))
        return self.kind(database, 1)

    if TYPE_CHECKING:
        addCleanup: Callable[..., None]  # noqa: N815  unittest's


class InFile(Contract):
    @pytest.fixture(autouse=True)
    def _place(self, sqlite_url: str) -> None:
        self.url = sqlite_url


class InPostgres(Contract):
    @pytest.fixture(autouse=True)
    def _place(self, postgres_url: str) -> None:
        self.url = postgres_url


class Application(Contract):
    def test_insert_subscribe(self) -> None:
        shipped: Any = super()
        shipped.optional_test_insert_subscribe()


class Aggregate(Contract):
    kind = AggregateSessionRecorder


class TestApplicationInMemory(Application, ApplicationRecorderTestCase[ApplicationRecorder]): ...


class TestApplicationInFile(
    InFile, Application, ApplicationRecorderTestCase[ApplicationRecorder]
): ...


class TestApplicationInPostgres(
    InPostgres, Application, ApplicationRecorderTestCase[ApplicationRecorder]
): ...


class TestAggregateInMemory(Aggregate, AggregateRecorderTestCase): ...


class TestAggregateInFile(Aggregate, InFile, AggregateRecorderTestCase): ...


class TestAggregateInPostgres(Aggregate, InPostgres, AggregateRecorderTestCase): ...


class TestNonInterleavingInMemory(Contract, NonInterleavingNotificationIDsBaseCase): ...


class TestNonInterleavingInFile(InFile, NonInterleavingNotificationIDsBaseCase): ...


class TestNonInterleavingInPostgres(InPostgres, NonInterleavingNotificationIDsBaseCase): ...


def _stored(stream: str, version: int, topic: str = "ItemAdded") -> StoredEvent:
    return StoredEvent(f"session-{stream}", version, topic, b"{}")


def _fail(*_: object) -> None:
    raise RuntimeError


def test_the_events_of_the_store_are_notifications_to_eventsourcing(store: SessionStore) -> None:
    store.execute_many("order-1", [OpenSession(), add(price="1.50")])

    opened, added = store.recorder.select_notifications(1, 10)

    assert (opened.id, opened.originator_id, opened.originator_version) == (1, "session-order-1", 1)
    assert (opened.topic, opened.state) == ("SessionOpened", b'{"firstSession":true}')
    assert b'"price":1.5,' in added.state
    assert [e.originator_version for e in store.recorder.select_events("session-order-1")] == [1, 2]
    assert store.recorder.max_notification_id() == 2


def test_a_topic_names_a_shape_and_its_version(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    store.recorder.insert_events([_stored("a", 1), _stored("a", 2, "ItemAdded.2")])

    def positions(*topics: str) -> list[int]:
        return [n.id for n in store.recorder.select_notifications(1, 10, topics=topics)]

    assert (positions("ItemAdded"), positions("ItemAdded.2")) == ([2], [3])
    assert positions("ItemAdded", "ItemAdded.2") == [2, 3]


@pytest.mark.parametrize("state", [b"{}", b'"text"', b"\x80"], ids=["json", "text", "bytes"])
def test_whatever_its_topic_a_stored_event_comes_back_as_it_was(
    store: SessionStore, state: bytes
) -> None:
    versions = [
        "",
        "0",
        "1",
        "2",
        "02",
        "10",
        "-1",
        "٣",
        "²",
        "2.3",
        "9" * 18,
        "9" * 19,
        "9" * 5000,
    ]
    topics = ["a:B", "a.b:B", *[f"a.b:B.{version}" for version in versions]]
    stored = [StoredEvent("a-1", n, topic, state) for n, topic in enumerate(topics, 1)]
    recorder = store.recorder
    store.execute("s", OpenSession())

    recorder.insert_events(stored)

    assert recorder.select_events("a-1") == stored
    for each in stored:
        (found,) = recorder.select_notifications(1, 100, topics=[each.topic])
        assert (found.topic, found.state) == (each.topic, state)
    store.execute("t", OpenSession())
    assert [each.stream_id for each in store.log(types=["SessionOpened"])] == ["s", "t"]


def test_a_state_that_is_nested_deeper_than_json_is_read_comes_back_as_it_was(
    store: SessionStore,
) -> None:
    deep = StoredEvent("a-1", 1, "m:T", b"[" * 5000 + b"]" * 5000)

    store.recorder.insert_events([deep])

    assert store.recorder.select_events("a-1") == [deep]


@pytest.mark.parametrize(
    "name",
    [
        *["a-1", "a", "a-", "-a", "-", "", "a--b", "é-\U0001f600"],
        *[f"{scattered(count)}-1" for count in (255, 256, 4000)],
    ],
)
def test_a_stream_comes_back_by_the_name_that_it_has(store: SessionStore, name: str) -> None:
    store.execute("s", OpenSession())
    names = {name, "a", "a-", "-a", "a-1"}
    stored = [StoredEvent(each, 1, "m:T", b"{}") for each in sorted(names)]

    for each in stored:
        store.recorder.insert_events([each])

    assert store.recorder.select_events(name) == [StoredEvent(name, 1, "m:T", b"{}")]
    found = store.recorder.select_notifications(2, 10)
    assert [each.originator_id for each in found] == sorted(names)


@pytest.mark.parametrize(
    ("name", "topic", "field"),
    [
        ("a\0b-1", "m:T", "originator_id"),
        ("a-\ud800", "m:T", "originator_id"),
        ("a-1", "m:T\0", "topic"),
    ],
)
def test_a_name_that_not_every_database_keeps_is_refused(
    store: SessionStore, name: str, topic: str, field: str
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(InvalidValue, match=f"^{field}: "):
        store.recorder.insert_events([StoredEvent(name, 1, topic, b"{}")])

    assert store.position == 1
    if field == "originator_id":
        with pytest.raises(InvalidValue, match=f"^{field}: "):
            store.recorder.select_events(name)


def test_topics_are_not_one_text_whose_letters_would_be_waited_for(store: SessionStore) -> None:
    with pytest.raises(InvalidValue, match="topics: a list of names, not 'SessionClosed'"):
        store.recorder.subscribe(topics="SessionClosed")


def test_a_thread_in_a_batch_does_not_wait_for_what_it_keeps_back(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with store.recorder.subscribe() as before:
        assert next(before).id == 1
        with store.batch():
            store.execute("t", OpenSession())
            with pytest.raises(BatchOpen, match="subscribe is not possible"):
                store.recorder.subscribe()
            with pytest.raises(BatchOpen, match="subscribe is not possible"):
                next(before)
        assert next(before).id == 2


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_who_may_only_read_writes_no_events_of_eventsourcing_either(
    open_store: OpenStore,
) -> None:
    open_store().execute("s", OpenSession())
    store = open_store(read_only=True)

    with pytest.raises(StoreReadOnly):
        store.recorder.insert_events([StoredEvent("a-1", 1, "m:T", b"{}")])

    assert store.position == 1


def test_a_store_that_is_not_made_yet_has_no_events_for_eventsourcing(url: str) -> None:
    with SessionStore.open(url) as store:
        recorder = store.recorder
        assert (recorder.max_notification_id(), recorder.select_notifications(1, 9)) == (None, [])
        assert recorder.select_events("session-s") == []
        with recorder.subscribe() as subscription:
            store.execute("s", OpenSession())
            assert next(subscription).originator_id == "session-s"

    with SessionStore.open(url, 2) as store:
        assert store.recorder.insert_events([StoredEvent("a-1", 1, "m:T", b"{}")]) == [1]


def test_eventsourcing_may_be_the_first_to_write(url: str) -> None:
    with SessionStore.open(url) as store:
        assert store.recorder.insert_events([StoredEvent("a-1", 1, "m:T", b"{}")]) == [1]
        assert store.execute("s", OpenSession()).position == 2


def test_a_version_that_is_taken_conflicts_and_writes_nothing(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(IntegrityError):
        store.recorder.insert_events([_stored("t", 1), _stored("s", 1)])

    assert (store.position, list(store.events("t"))) == (1, [])
    assert store.execute("t", OpenSession()).position == 2


def test_fault_6_two_applications_in_one_file_do_not_share_their_events(
    open_store: OpenStore,
) -> None:
    one, two = open_store(1), open_store(2)
    one.execute("s", OpenSession(profile_id="p"), idempotency_key="k")
    two.execute("t", OpenSession(profile_id="p"), idempotency_key="k")

    for store, session_id, other in ((one, "s", "t"), (two, "t", "s")):
        assert [recorded.stream_id for recorded in store.log()] == [session_id]
        assert (store.position, list(store.events(other))) == (1, [])
        (view,) = CustomerSessions(store).of_profile("p")
        assert (view.integration_id, view.first_session) == (session_id, True)
        assert CustomerSessions(store).find() == [view]
        assert len(store.recorder.select_notifications(1, 10)) == 1


@pytest.mark.parametrize(
    ("open_store", "owner", "name", "error"),
    [
        ("sqlite", sqlite3, "connect", sqlite3.OperationalError),
        ("postgres", PostgresConnection, "execute", psycopg.DataError),
    ],
    indirect=["open_store"],
    ids=["sqlite", "postgres"],
)
def test_fault_7_a_transaction_that_cannot_begin_does_not_keep_the_writers_lock(
    open_store: OpenStore,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    error: type[Exception],
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    store = open_store()
    for _ in range(3):
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, refuse)
            with pytest.raises(StorageFailed):
                store.execute("s", OpenSession())

    assert in_threads(2, lambda n: store.execute(f"s{n}", OpenSession()).version) == [1, 1]


def test_fault_8_who_reads_before_writing_is_not_turned_away_by_another_writer(
    open_store: OpenStore,
) -> None:
    one, two = open_store(), open_store()
    one.execute("s", OpenSession())

    def read_and_write(number: int) -> int:
        store = (one, two)[number % 2]
        for written in range(25):
            with store.recorder.database.writing() as connection:
                connection.execute("SELECT max(position) FROM events").fetchall()
                connection.execute("UPDATE answers SET request = ''")
            store.execute("s", SetAttributes(attributes={f"n{number}": written}))
        return store.position

    assert max(in_threads(4, read_and_write)) == one.position == 101


def test_fault_9_many_readers_of_one_store_all_find_its_tables(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    def read(_: int) -> list[tuple[int, int]]:
        return [(store.position, len(list(store.log()))) for _ in range(20)]

    assert in_threads(12, read) == [[(1, 1)] * 20] * 12


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM events WHERE position = 2",
        "DELETE FROM events",
        "UPDATE events SET position = 3 WHERE position = 2",
        "UPDATE events SET data = data",
    ],
)
def test_fault_10_no_position_is_given_out_again_since_no_event_can_be_deleted(
    store: SessionStore, open_store: OpenStore, change: str
) -> None:
    store.execute("s", OpenSession())
    store.execute("t", OpenSession())

    with (
        pytest.raises(SessionsError, match="the log is only added to"),
        store.recorder.database.writing() as connection,
    ):
        connection.execute(change)

    assert [recorded.stream_id for recorded in store.log()] == ["s", "t"]
    assert store.execute("u", OpenSession()).position == 3
    assert list(open_store().recorder.insert_events([_stored("v", 1)]) or []) == [4]


@pytest.mark.parametrize("open_store", ["postgres"], indirect=True)
def test_fault_10_nor_can_the_log_be_truncated(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    with (
        pytest.raises(SessionsError, match="the log is only added to"),
        store.recorder.database.writing() as connection,
    ):
        connection.execute("TRUNCATE events")

    assert store.position == 1


@pytest.mark.parametrize("others_write", [False, True])
def test_fault_13_a_session_that_was_read_is_not_read_again(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, *, others_write: bool
) -> None:
    read: list[int] = []
    stream_rows = SessionRecorder.stream_rows

    def watched(*args: Any, **options: Any) -> Sequence[Any]:
        rows = stream_rows(*args, **options)
        read.append(len(rows))
        return rows

    store, other = open_store(), open_store()
    store.execute_many("s", [OpenSession(), *[add(str(number)) for number in range(50)]])
    monkeypatch.setattr(SessionRecorder, "stream_rows", watched)
    for number in range(10):
        if others_write:
            other.execute("s", SetAttributes(attributes={"n": number}))
        store.execute("s", add("again"))

    assert store.execute("s", add("again")).version == (72 if others_write else 62)
    most = 51 + 2 * 10 if others_write and other is not store else 0
    assert sum(read) <= most


def test_fault_14_a_version_beyond_the_newest_is_an_error(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(VersionNotFound) as error:
        views.get("s", version=2)

    assert (error.value.version, error.value.newest) == (2, 1)


def _damage(store: SessionStore, data: str) -> None:
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE events SET data = ?", [data])


def _undecodable(store: SessionStore) -> None:
    with pytest.raises(UndecodableEvent, match=r"SessionOpened .version 1. at position 1 "):
        list(store.log())
    with pytest.raises(UndecodableEvent):
        CustomerSessions(store).get("s", version=1)


@pytest.mark.parametrize("data", ["{}", '{"firstSession":1}', "[]"])
def test_fault_15_an_event_that_lacks_a_field_is_found_out_where_it_is_read(
    store: SessionStore, data: str
) -> None:
    store.execute("s", OpenSession())
    _damage(store, data)

    _undecodable(store)


@pytest.mark.parametrize("data", ["", '{"firstSession":true'])
def test_fault_15_data_that_is_no_json_is_found_out_at_the_latest_where_it_is_read(
    store: SessionStore, data: str
) -> None:
    store.execute("s", OpenSession())
    if store.recorder.database.dialect is POSTGRES:
        with pytest.raises(StorageFailed, match="json"):
            _damage(store, data)
    else:
        _damage(store, data)

        _undecodable(store)


@pytest.mark.parametrize("where", ["fold", "write"])
def test_fault_16_an_error_after_the_insert_leaves_nothing_behind(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    store.execute("s", OpenSession())
    with monkeypatch.context() as broken:
        broken.setattr(InlineViews, where, _fail)
        with pytest.raises(RuntimeError):
            store.execute("s", add(), idempotency_key="k")

    assert (store.position, len(list(store.events("s"))), store.answered("k")) == (1, 1, None)
    assert store.execute("s", add("b"), idempotency_key="k").version == 2
    assert [line.sku for line in views.get("s").cart_items] == ["b"]


def test_a_recorder_that_only_reads_makes_no_file(tmp_path: Path) -> None:
    database = SqliteDatabase(str(tmp_path / "store.db"))

    with pytest.raises(StoreNotFound):
        SessionRecorder(database, 1).select_events("session-s")

    database.close()
    assert list(tmp_path.iterdir()) == []
