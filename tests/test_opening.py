"""Where a store can be, what is no store, and who may use one."""

from __future__ import annotations

import math
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from errno import EACCES
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from psycopg.conninfo import conninfo_to_dict

from projections import CustomerHistories, CustomerSessions, StoredProjection, copy, parked, verify
from projections.customer_session import PROJECTION
from sessions import (
    BatchFailed,
    CloseSession,
    InvalidURL,
    NotAStore,
    OpenSession,
    ProfileNotFound,
    SessionNotFound,
    SessionStore,
    StorageFailed,
    StoreBusy,
    StoreClosed,
    StoreNotFound,
    StoreTooNew,
)
from sessions.errors import InvalidValue, ProjectionNotKept, StoreReadOnly
from sessions.postgres.failures import PostgresFailures
from sessions.postgres.place import place_of
from sessions.sqlite import connections
from sessions.sqlite.failures import SqliteFailures
from tests.conftest import Connection, add, in_threads
from tests.processes import in_processes
from tests.tampering import change, opened
from tests.waiting import patiently
from tests.watching import watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.sql.failures import Failures
    from tests.conftest import OpenStore


RELATIONS = "CREATE TABLE events (id bigint)", "INSERT INTO events VALUES (1)"


def _sql(path: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements]


@pytest.mark.parametrize(
    "url",
    [
        "shop.db",
        "",
        "sqlite:shop.db",
        "sqlite://shop.db",
        "mysql:///shop.db",
        "sqlite:///",
        "sqlite:///directory",
        "sqlite:////no/such/directory/shop.db",
        "sqlite:///a%00b.db",
        "sqlite:///shop.db?mode=ro",
        "sqlite:///shop.db?",
    ],
)
def test_a_url_that_names_no_place_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()

    with pytest.raises(InvalidURL) as refusal:
        SessionStore.open(url)

    assert refusal.value.url == url
    assert {file.name for file in tmp_path.iterdir()} == {"directory"}


@pytest.mark.parametrize("url", [None, b"memory:", 7])
def test_a_url_is_a_text(url: Any) -> None:
    with pytest.raises(InvalidURL, match=f"'{type(url).__name__}' .*: a URL is a str"):
        SessionStore.open(url)


def test_a_file_may_have_a_question_mark_in_its_name(tmp_path: Path) -> None:
    with SessionStore.open(f"sqlite:///{tmp_path}/shop.db%3Fmode=ro") as store:
        store.execute("s", OpenSession())

    assert (tmp_path / "shop.db?mode=ro").exists()


@pytest.mark.parametrize(
    ("options", "unknown"),
    [
        ("schema=s&sslmod=require", "sslmod"),
        ("mode=ro&connect_timeout=2&cache=shared", "mode, cache"),
        ("a%20b=1", r"\*\*\*"),
    ],
)
def test_an_option_that_nobody_knows_is_named(options: str, unknown: str) -> None:
    with pytest.raises(InvalidURL, match=f"libpq has no option {unknown}$"):
        SessionStore.open(f"postgresql://localhost/d?{options}")


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ("schema=$user", "schema= must be a name"),  # PostgreSQL takes it for the role's
        ("schema=%24user", "schema= must be a name"),
        (f"pool={'9' * 5000}", "pool= must be 2 to 1000 connections"),
        ("pool=%D9%A3", "pool= must be 2 to 1000 connections"),
        ("connect_timeout=soon", "connect_timeout= must be a whole number"),
        ("tcp_user_timeout=1.5", "tcp_user_timeout= must be a whole number"),
        ("schema=a&schema=b", "schema= must be given only once"),
        ("schema=%ff", "schema= must be Unicode text"),
        ("pool=4&%70ool=4", "pool= must be given only once"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: str, rule: str) -> None:
    with pytest.raises(InvalidURL, match=re.escape(rule)):
        SessionStore.open(f"postgresql://localhost/d?{options}")


@pytest.mark.parametrize("name", ["%FF", "%E9"])
def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidURL, match="Unicode"):
        SessionStore.open(f"sqlite:///{tmp_path}/{name}.db")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "it names a directory, not a file"),
        ("x" * 300, "File name too long"),
        ("x" * 300 + "/shop.db", "File name too long"),
        ("circle/shop.db", "symbolic links"),
        ("\ud800.db", "Unicode"),
        ("a%20\udcff.db", "Unicode"),
    ],
    ids=ascii,
)
def test_a_file_that_the_system_refuses_is_refused(tmp_path: Path, name: str, rule: str) -> None:
    (tmp_path / "circle").symlink_to("circle")

    with pytest.raises(InvalidURL, match=rule):
        SessionStore.open(f"sqlite:///{tmp_path}/{name}")


def test_a_folder_that_one_may_not_enter_is_refused(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.stat", forbidden)

    with pytest.raises(InvalidURL, match="the operating system refuses it: Permission denied"):
        SessionStore.open(sqlite_url)


@pytest.mark.parametrize(
    "text", [b"x", b"hello", b"hello " * 1000, b"SQLite format 3\0 is a lie" * 100]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(text)

    with pytest.raises(NotAStore) as refusal:
        SessionStore.open(f"sqlite:///{path}")

    assert str(path) in str(refusal.value)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (text, [path])


@pytest.mark.parametrize(
    ("fixture", "failures", "message"),
    [
        ("sqlite_url", SqliteFailures, f"SQLite 99.1 or newer .* is {sqlite3.sqlite_version}$"),
        ("postgres_url", PostgresFailures, r"PostgreSQL 99.1 or newer .* is \d\d\.\d+$"),
    ],
)
def test_a_database_that_is_too_old_is_named_with_its_version(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fixture: str,
    failures: type[Failures],
    message: str,
) -> None:
    url = request.getfixturevalue(fixture)
    monkeypatch.setattr(failures, "least", (99, 1))

    with pytest.raises(StorageFailed, match=message):
        SessionStore.open(url)


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    _sql(path, *RELATIONS)
    before = path.read_bytes()

    with pytest.raises(NotAStore):
        SessionStore.open(f"sqlite:///{path}")

    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


def test_a_schema_of_another_program_is_refused_and_left_alone(postgres_url: str) -> None:
    with opened(postgres_url) as database:
        with database.writing() as connection:
            database.prepare(connection)
            for statement in RELATIONS:
                connection.execute(statement)

        for read_only in (True, False):
            with pytest.raises(NotAStore):
                SessionStore.open(postgres_url, read_only=read_only)

        assert database.relations(database.query) == {"events"}
        assert database.query("SELECT * FROM events") == [(1,)]


def test_a_server_is_named_by_its_unix_socket_as_libpq_has_it(postgres_url: str) -> None:
    place = place_of(postgres_url)
    named = conninfo_to_dict(place.server)
    options = urlencode(
        [(name, str(named[name])) for name in ("host", "port", "user") if name in named]
    )
    url = f"postgresql:///{named['dbname']}?{options}&schema={place.schema}"

    with SessionStore.open(url) as store:
        assert store.execute("s", OpenSession()).position == 1


LIBPQS = [
    ("postgresql:///d?host=/dir&user=u", {"host": "/dir", "dbname": "d", "user": "u"}),
    ("postgresql:///?pool=3&host=/dir", {"host": "/dir"}),
    ("postgres://?host=/dir&", {"host": "/dir"}),
    ("postgresql://h/?password=a+b%2Bc%20d", {"host": "h", "password": "a+b+c d"}),
    ("postgresql://u+v:a+b@h/", {"user": "u+v", "password": "a+b", "host": "h"}),
    ("postgresql://a:1,b:2/?schem%61=x+y", {"host": "a,b", "port": "1,2"}),
]


@pytest.mark.parametrize(("url", "server"), LIBPQS)
def test_what_is_libpqs_of_a_url_stays_as_it_is_written(url: str, server: dict[str, str]) -> None:
    assert conninfo_to_dict(place_of(url).server) == server


@pytest.mark.parametrize(
    "url",
    ["postgresql://h/\ud800", "postgresql://h/d?schema=\ud800", "postgresql://h/d\0", "postgresql://h?user"],
    ids=ascii,
)  # fmt: skip
def test_a_url_that_libpq_does_not_take_is_refused(url: str) -> None:
    with pytest.raises(InvalidURL):
        SessionStore.open(url)


def test_a_database_that_another_program_made_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with SessionStore.open(f"sqlite:///{path}") as store:
        _sql(path, "CREATE TABLE other (id)")

        with pytest.raises(NotAStore):
            store.execute("s", OpenSession())

    assert _sql(path, "SELECT name FROM sqlite_master") == [[("other",)]]


def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
    change(url, "INSERT INTO migrations VALUES (99, '2030-01-01T00:00:00.000000Z')")

    for read_only in (True, False):
        with pytest.raises(StoreTooNew, match=r"99.*upgrade"):
            SessionStore.open(url, read_only=read_only)


def test_reading_never_makes_a_store(url: str, tmp_path: Path) -> None:
    reads: list[Callable[[SessionStore], Any]] = [
        lambda store: store.position,
        lambda store: list(store.log()),
        lambda store: list(store.events("s")),
        lambda store: store.answered("k"),
    ]
    with SessionStore.open(url, read_only=True) as store:
        for read in reads:
            with pytest.raises(StoreNotFound, match="first executed command makes one"):
                read(store)
        assert not store.exists

    assert list(tmp_path.iterdir()) == []


def test_a_store_that_may_be_written_to_is_empty_before_the_first_command(
    url: str, tmp_path: Path
) -> None:
    with SessionStore.open(url) as store:
        views, histories = CustomerSessions(store), CustomerHistories(store)

        assert (store.position, [*store.log()], [*store.events("s")]) == (0, [], [])
        assert (store.answered("k"), parked(store)) == (None, [])
        assert (views.find(), views.of_profile("p"), [*views.all()]) == ([], [], [])
        with pytest.raises(SessionNotFound):
            views.get("s")
        with pytest.raises(ProfileNotFound):
            histories.get("p")
        assert list(tmp_path.iterdir()) == []

        store.execute("s", OpenSession())
        assert views.get("s").state == "open"


def test_a_follower_waits_for_the_first_command(url: str) -> None:
    with SessionStore.open(url) as store, watching(store.follow()) as seen:
        seen.wait_for(store.execute("s", OpenSession()).position)


def test_a_read_only_store_takes_no_commands(url: str) -> None:
    with (
        SessionStore.open(url) as store,
        SessionStore.open(url, read_only=True) as it,
    ):
        store.execute("s", OpenSession())

        with pytest.raises(StoreReadOnly):
            it.execute("s", add())
        assert it.position == store.position == 1


def test_an_empty_file_becomes_a_store_with_the_first_command(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert list(store.log()) == []
        assert path.stat().st_size == 0

        assert store.execute("s", OpenSession()).position == 1


@pytest.mark.parametrize("name", ["a shop?.db", "50%.db", "ü#&=;.db", "file:x.db"])
def test_any_file_name_can_be_written_percent_encoded(tmp_path: Path, name: str) -> None:
    with SessionStore.open(f"sqlite:///{quote(str(tmp_path))}/{quote(name)}") as store:
        store.execute("s", OpenSession())

        assert (tmp_path / name).stat().st_size > 0
        assert store.position == 1


def test_a_relative_path_is_where_it_was_when_the_store_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    with SessionStore.open("sqlite:///shop.db") as store:
        store.execute("s", OpenSession())
        monkeypatch.chdir(elsewhere)
        assert store.position == 1

    assert (tmp_path / "shop.db").exists()
    assert list(elsewhere.iterdir()) == []


def _open_and_add(url: str, number: int) -> list[int]:
    with SessionStore.open(url) as store:
        store.execute(f"s{number}", OpenSession())
        return [store.execute(f"s{number}", add()).position for _ in range(5)]


def test_several_processes_may_make_the_same_store_at_once(url: str) -> None:
    in_processes(6, _open_and_add, url)

    with SessionStore.open(url) as store:
        assert [recorded.position for recorded in store.log()] == list(range(1, 37))


def test_a_closed_store_says_so(open_store: OpenStore) -> None:
    store = open_store()
    store.execute("s", OpenSession())
    log = store.log()
    store.close()

    store.close()
    with pytest.raises(StoreClosed):
        store.execute("s", add())
    with pytest.raises(StoreClosed):
        list(log)
    with pytest.raises(StoreClosed):
        store.recorder.subscribe()


@pytest.fixture
def _eager_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_threads")
def test_readers_that_begin_as_the_store_is_closed_are_told_so(url: str) -> None:
    with SessionStore.open(url) as made:
        made.execute("s", OpenSession())

    for _ in range(50):
        store = SessionStore.open(url)

        def read(number: int, store: SessionStore = store) -> None:
            if number == 0:
                store.close()
            with suppress(StoreClosed):
                for _ in range(5):
                    store.query("SELECT 1")

        in_threads(4, read)


def test_a_reader_that_ends_as_the_store_is_closed_leaves_nothing_open(sqlite_url: str) -> None:
    class Closes(deque[sqlite3.Connection]):
        def append(self, connection: sqlite3.Connection) -> None:
            store.close()
            super().append(connection)

    store = SessionStore.open(sqlite_url)
    store.execute("s", OpenSession())
    store.query("SELECT 1")
    idle = store.recorder.database._connections._readers  # type: ignore[attr-defined]  # SQLite's
    idle[False] = Closes(idle[False])

    assert store.query("SELECT 1") == [(1,)]

    assert not idle[False]  # and `connections` looks whether all are closed


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_writer_that_waits_too_long_is_told_that_a_retry_can_help(
    url: str, seconds: float
) -> None:
    with (
        SessionStore.open(url) as store,
        patiently(lambda: SessionStore.open(url, lock_timeout=seconds)) as other,
    ):
        store.execute("s", OpenSession())
        patiently(lambda: other.position)  # it has a connection
        with store.batch():
            store.execute("s", add())
            with pytest.raises(StoreBusy) as busy:
                other.execute("s", add())
            assert other.position == 1

        assert busy.value.retry
        assert patiently(lambda: other.execute("s", add())).position == 3


def test_a_reader_in_memory_waits_for_a_batch_no_longer_than_it_may() -> None:
    with SessionStore.open("memory:", lock_timeout=0.05) as store, ThreadPoolExecutor(1) as thread:
        with store.batch():
            store.execute("s", OpenSession())
            with pytest.raises(StoreBusy):
                thread.submit(lambda: store.position).result()

        assert thread.submit(lambda: store.position).result() == 1


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, 2_147_484, "1"])
def test_what_is_no_time_to_wait_for_others_is_refused(url: str, seconds: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^lock_timeout: seconds from 0 to 2147483, not "):
        SessionStore.open(url, lock_timeout=seconds)


def test_the_longest_time_to_wait_for_others_is_one_that_the_database_takes(url: str) -> None:
    with SessionStore.open(url, lock_timeout=2_147_483) as store:
        assert store.execute("s", OpenSession()).position == 1


def test_a_file_that_loses_its_name_is_not_written_into_nothing(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0)
    name, elsewhere = tmp_path / "store.db", tmp_path / "elsewhere.db"
    with SessionStore.open(sqlite_url) as store:
        store.execute("order-1", OpenSession())
        views = CustomerSessions(store)
        assert views.get("order-1").state == "open"

        name.rename(elsewhere)

        for used in (lambda: store.execute("order-1", add()), lambda: views.get("order-1")):
            with pytest.raises(StorageFailed, match="deleted, moved or replaced") as refused:
                used()
            assert refused.value.path == str(name)
        name.write_bytes(elsewhere.read_bytes())
        with pytest.raises(StorageFailed, match="deleted, moved or replaced"):
            store.execute("order-1", add())

        elsewhere.replace(name)

        assert store.execute("order-1", add()).version == 2
        assert views.get("order-1").total > 0


@pytest.mark.parametrize("begin", [CustomerSessions.get, lambda views, _: views._store])
def test_a_file_of_newest_commits_that_is_deleted_takes_none_of_them_along(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, begin: Callable[..., object]
) -> None:
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0)
    with SessionStore.open(sqlite_url) as store:
        store.execute("order-1", OpenSession())
        begin(CustomerSessions(store), "order-1")

        (tmp_path / "store.db-wal").unlink()

        for used in (lambda: store.execute("order-2", OpenSession()), lambda: store.position):
            with pytest.raises(StorageFailed, match=r"\(-wal\) was deleted, moved or replaced"):
                used()
    with SessionStore.open(sqlite_url) as store:
        assert [recorded.stream_id for recorded in store.log()] == ["order-1"]
        assert verify(store) == []


def test_the_file_of_newest_commits_is_known_from_the_first_of_them_on(
    tmp_path: Path, sqlite_url: str
) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("order-1", OpenSession())

        (tmp_path / "store.db-wal").unlink()

        time.sleep(connections._LOOK_SECONDS)
        with pytest.raises(StorageFailed, match=r"\(-wal\) was deleted, moved or replaced"):
            store.execute("order-2", OpenSession())


def test_a_batch_is_not_committed_into_a_file_that_lost_its_name(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0)
    store = SessionStore.open(sqlite_url)
    with store, pytest.raises(BatchFailed, match=r"1 commands .* deleted, moved or replaced"):  # noqa: PT012  the batch raises at its end
        store.execute("order-1", OpenSession())
        with store.batch():
            store.execute("order-2", OpenSession())
            (tmp_path / "store.db").rename(tmp_path / "elsewhere.db")


def test_what_goes_wrong_in_a_snapshot_is_told_though_the_transaction_is_gone(
    sqlite_url: str,
) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("order-1", OpenSession())
        database = store.recorder.database

        def look() -> None:
            with database.private() as connection, database.snapshot(connection):
                connection.execute("ROLLBACK")  # as SQLite does where it lacks memory
                raise MemoryError

        with pytest.raises(MemoryError):
            look()


def test_a_file_with_two_names_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("order-1", OpenSession())
    other = tmp_path / "other.db"
    other.hardlink_to(tmp_path / "store.db")

    for url in (sqlite_url, f"sqlite:///{other}"):
        with pytest.raises(StorageFailed, match=r"2 names \(hard links\)"):
            SessionStore.open(url)

    other.unlink()
    with SessionStore.open(sqlite_url) as store:
        assert store.position == 1


def test_a_store_behind_a_symbolic_link_is_the_store_that_it_leads_to(
    tmp_path: Path, sqlite_url: str
) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "store.db")

    with SessionStore.open(sqlite_url) as store, SessionStore.open(f"sqlite:///{link}") as linked:
        linked.execute("s", OpenSession())
        assert store.position == 1
        with (
            store.recorder.database.held("rebuild") as mine,
            linked.recorder.database.held("rebuild") as other,
        ):
            assert (mine is not None, other) == (True, None)
    assert [each.name for each in link.parent.iterdir()] == ["link.db"]


def test_what_is_no_store_no_clock_and_no_projection_is_refused_by_its_name() -> None:
    anything: Any = "sales"
    one: Any = PROJECTION
    with SessionStore.open("memory:") as store:
        for wrong, message in (
            (lambda: SessionStore.open("memory:", now=anything), "now: a function, not 'sales'"),
            (lambda: SessionStore.open("memory:", projections=one), "projections: an iterable of"),
            (lambda: StoredProjection(store, anything), "projection: a Projection, not 'sales'"),
            (lambda: copy(store, anything), "target: a SessionStore, not 'sales'"),
            (lambda: copy(anything, store), "source: a SessionStore, not 'sales'"),
        ):
            with pytest.raises(InvalidValue, match=f"^{message}"):
                wrong()


def test_a_symbolic_link_into_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "gone" / "store.db")

    with pytest.raises(InvalidURL, match=f"the directory {tmp_path}/gone does not exist"):
        SessionStore.open(f"sqlite:///{tmp_path}/link.db")


def test_after_a_crowd_of_readers_only_a_few_connections_stay_open(
    sqlite_url: str, connections: list[Connection]
) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("s", OpenSession())
        together = threading.Barrier(30)

        def read(_: int) -> None:
            database = store.recorder.database
            connection = database._connections.take_reader(passing=False)  # type: ignore[attr-defined]  # SQLite's
            together.wait(30)
            database._connections.give_back(connection, passing=False)  # type: ignore[attr-defined]  # SQLite's

        in_threads(30, read)
        still_open = sum(not each.closed for each in connections)

        assert store.position == 1
    assert 2 <= still_open < 30


def test_no_read_transaction_stays_open_between_the_pages_of_the_log(
    tmp_path: Path, sqlite_url: str
) -> None:
    with SessionStore.open(sqlite_url) as store:
        with store.batch():
            for number in range(1200):
                store.execute(f"s{number}", OpenSession())
        log = store.log()
        first = list(islice(log, 700))
        store.execute("later", OpenSession())

        ((checkpoint,),) = _sql(tmp_path / "store.db", "PRAGMA wal_checkpoint(TRUNCATE)")

        assert checkpoint == (0, 0, 0)
        assert [recorded.position for recorded in [*first, *log]] == list(range(1, 1202))


def test_a_commit_waits_for_the_disk_and_not_for_its_cache(sqlite_url: str) -> None:
    with SessionStore.open(sqlite_url) as store, store.batch():
        store.execute("s", OpenSession())  # from here it is asked where it is written

        ((synchronous,),) = store.query("SELECT synchronous FROM pragma_synchronous")
        ((full,),) = store.query("SELECT fullfsync FROM pragma_fullfsync")  # on macOS

        assert (synchronous, full) == (2, 1)


def test_a_store_may_be_used_after_a_fork_by_parent_and_child(url: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORK, url], check=True, timeout=60)

    with SessionStore.open(url) as store:
        assert store.position == 1 + 3 * 40


FORK = """
import os, sys
from sessions import SessionStore, OpenSession, SetAttributes

store = SessionStore.open(sys.argv[1])
store.execute("s", OpenSession())
assert store.position == 1
children = []
for name in ("a", "b"):
    child = os.fork()
    if child == 0:
        children = []
        break
    children.append(child)
else:
    name = "parent"
for number in range(40):
    store.execute("s", SetAttributes(attributes={name: number}))
    assert len(list(store.events("s"))) > number
for child in children:
    assert os.waitpid(child, 0)[1] == 0
store.close()
"""


def test_a_batch_that_is_open_is_committed_before_a_fork_and_goes_on_in_both(url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", FORK_IN_BATCH, url]
    subprocess.run(command, check=True, timeout=60)

    with SessionStore.open(url) as store:
        streams = [each.stream_id for each in store.log()]
        assert streams[0] == "parent"
        assert sorted(streams) == ["child", "child", "parent", "parent"]
        assert verify(store) == []


FORK_IN_BATCH = """
import os, sys
from sessions import CloseSession, OpenSession, SessionStore

store = SessionStore.open(sys.argv[1])
with store.batch():
    store.execute("parent", OpenSession())
    child = os.fork()
    name = "parent" if child else "child"
    if not child:
        store.execute(name, OpenSession())
    store.execute(name, CloseSession())
if child:
    assert os.waitpid(child, 0)[1] == 0
store.close()
"""


def test_what_a_process_executes_that_a_batch_started_is_durable_when_it_is_answered(
    url: str,
) -> None:
    command = [sys.executable, "-W", "error", "-c", PROCESSES_IN_BATCH, url]
    said = subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE, text=True)

    with SessionStore.open(url) as store:
        assert said.stdout.split() == ["outside", "open", "closed"]
        streams = [each.stream_id for each in store.log()]
        assert streams == ["parent", "by itself", "keyed", "in its own", "in its own", "parent"]
        assert store.answered("k") is not None
        assert verify(store) == []


@pytest.mark.parametrize("forks_in", ["clock", "fold as it is read", "fold as it is committed"])
def test_a_fork_in_the_middle_of_a_call_of_a_batch_takes_nothing_from_it(
    any_url: str, forks_in: str
) -> None:
    command = [sys.executable, "-W", "error", "-c", FORK_IN_A_CALL, any_url, forks_in]
    said = subprocess.run(command, check=True, timeout=60, stdout=subprocess.PIPE, text=True)

    assert said.stdout.split() == ["8", "8", "0", "1", "9"]


FORK_IN_A_CALL = """
import os, sys
from datetime import UTC, datetime
import msgspec
from projections import Projection, installed, verify
from sessions import OpenSession, SessionStore, SetAttributes

url, forks_in = sys.argv[1:]
forks, calls = 0, {"clock": 0, "fold": 0}
at = {"clock": 5, "fold as it is read": 2, "fold as it is committed": 7}[forks_in]

def called(what):
    global forks
    calls[what] += 1
    if forks_in.startswith(what) and calls[what] == at:
        forks += 1
        if os.fork() == 0:
            os._exit(0)
        os.wait()

def now():
    called("clock")
    return datetime.now(UTC)

class Seen(msgspec.Struct, frozen=True):
    events: int = 0

def fold(view, recorded):
    called("fold")
    return Seen((view.events if view else 0) + 1)

seen = Projection(name="seen", version=1, view=Seen, fold=fold, mode="inline")
with SessionStore.open(url, now=now, projections=[*installed(), seen]) as store:
    store.make()
    answers = []
    with store.batch():
        for number in range(8):
            command = OpenSession() if number < 3 else SetAttributes(attributes={"a": number})
            answers.append(store.execute(f"s{number % 3}", command))
            if number == 5:
                store.query("SELECT 1")
    stored = store.position
    print(len(answers), stored, len(verify(store)), forks)
    print(store.execute("after", OpenSession()).position)
"""


PROCESSES_IN_BATCH = """
import sys
from multiprocessing import get_context
from sessions import CloseSession, OpenSession, OutsideBatch, SessionStore

store = SessionStore.open(sys.argv[1], lock_timeout=10)

def by_itself(batch):
    store.execute("by itself", OpenSession())
    try:
        batch.commit()
    except OutsideBatch:
        print("outside", flush=True)

def keyed(batch):
    store.execute("keyed", OpenSession(), idempotency_key="k")
    store.close()
    print("open" if store.exists else "gone", flush=True)

def in_its_own(batch):
    with store.batch():
        store.execute("in its own", OpenSession())
        store.execute("in its own", CloseSession())
    print("closed", flush=True)

with store.batch() as batch:
    store.execute("parent", OpenSession())
    for work in (by_itself, keyed, in_its_own):
        process = get_context("fork").Process(target=work, args=(batch,))
        process.start()
        process.join()
        assert process.exitcode == 0
    store.execute("parent", CloseSession())
store.close()
"""


def test_a_store_that_keeps_no_views_says_so_to_readers_too(url: str) -> None:
    with SessionStore.open(url, projections=()) as bare:
        bare.execute("s", OpenSession(profile_id="p"))

    with SessionStore.open(url, read_only=True) as store:
        views = CustomerSessions(store)
        for asked in (
            lambda: views.get("s"),
            views.find,
            lambda: views.of_profile("p"),
            lambda: CustomerHistories(store).get("p"),
        ):
            with pytest.raises(ProjectionNotKept, match="run `sessions projections rebuild "):
                asked()
        assert views.get("s", version=1) == next(views.all())
        assert [each.key for each in verify(store)] == [("attachments",), ("customer_sessions",)]


READ_AS_NOBODY = """
import os, sys
from sessions import SessionStore, StorageFailed, OpenSession
from sessions.cli import app
path = sys.argv[1]
with SessionStore.open(f"sqlite:///{path}/a.db") as store:
    store.execute("s", OpenSession())
os.chmod(f"{path}/a.db", 0o444)
os.chmod(path, 0o555)
if os.getuid() == 0:
    os.chown(path, 0, 0)
    os.setresuid(65534, 65534, 65534)
try:
    SessionStore.open(f"sqlite:///{path}/a.db", read_only=True)
except StorageFailed as error:
    print(error)
"""


def test_a_file_in_a_directory_that_may_not_be_written_says_why_it_cannot_be_read() -> None:
    with TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        ran = subprocess.run(
            [sys.executable, "-c", READ_AS_NOBODY, path], capture_output=True, text=True, check=True
        )
        Path(path).chmod(0o755)

    assert "SQLite keeps two files there while a store is read" in ran.stdout


def test_to_ask_why_a_file_cannot_be_opened_leaves_its_locks_alone(
    sqlite_url: str, tmp_path: Path
) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    path = tmp_path / "store.db"
    with SessionStore.open(sqlite_url) as store:
        store.execute("s", OpenSession())

        SqliteFailures(str(path), 1).of(error)
        _in_another_process(path, "SELECT count(*) FROM events")

        assert Path(f"{path}-wal").exists()  # else the other took itself for the last to close it
        store.execute("s", CloseSession())
    with SessionStore.open(sqlite_url) as store:
        assert store.position == 2


def _in_another_process(path: Path, sql: str) -> None:
    asking = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()"
    subprocess.run([sys.executable, "-c", asking, path, sql], check=True)


WITHOUT_DESCRIPTORS = """
import resource, sqlite3, sys
from sessions.sqlite.failures import SqliteFailures
error = sqlite3.OperationalError("unable to open database file")
error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
print(SqliteFailures(sys.argv[1], 1).of(error))
"""


def test_too_many_open_files_are_named_as_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    command = [sys.executable, "-c", WITHOUT_DESCRIPTORS, str(path)]

    ran = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ran.stdout == f"{path}: the database failed: Too many open files\n"


def test_a_file_that_cannot_be_opened_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    path = tmp_path / "store.db"

    missing = SqliteFailures(str(path), 1).of(error)
    path.touch()
    unknown = SqliteFailures(str(path), 1).of(error)
    monkeypatch.setattr("os.access", lambda asked, _: Path(asked) == path)  # but its directory not
    beside = SqliteFailures(str(path), 1).of(error)
    path.unlink()
    new = SqliteFailures(str(path), 1).of(error)

    assert str(missing) == f"{path}: the database failed: No such file or directory"
    assert str(unknown) == f"{path}: the database failed: unable to open database file"
    assert "its directory is not writable" in str(beside)
    assert str(new).endswith("it does not exist yet, and its directory is not writable")
