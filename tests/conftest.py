"""What the tests of the store share: a store on every backend, a clock, and many callers."""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest

from projections import CustomerHistories, CustomerSessions
from sessions import AddItem, SessionStore
from sessions.views.installed import installed
from tests.postgres_server import UsedStores, new_schema, server_url
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from projections import Projection

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Tests start hundreds of processes, and none of them should compile the packages again."""

_MEMORY = Path("/dev/shm")  # noqa: S108  each run makes a directory in it that is its own
_ROOM = 4 * 2**30


def _root_in_memory() -> Path | None:
    """A directory in memory for this run's files, if there is room: it saves a sixth of the work.

    Each run has a root of its own, because pytest bars all other users from the root that it is
    given whenever a run begins. If root runs both, that would bar the server of the other run too.
    What ended runs have left there is removed.
    """
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK):
        return None
    for left in _MEMORY.glob("customer-sessions-*"):
        if not Path("/proc", left.name.rpartition("-")[2]).exists():
            rmtree(left, ignore_errors=True)
    if disk_usage(_MEMORY).free < _ROOM:
        return None
    root = _MEMORY / f"customer-sessions-{os.getpid()}"
    root.mkdir(exist_ok=True)
    return root


if "PYTEST_DEBUG_TEMPROOT" not in os.environ and (root := _root_in_memory()):
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(root)  # its workers' too

BACKENDS = ("memory", "sqlite", "postgres")

T = TypeVar("T")


def pytest_configure(config: pytest.Config) -> None:
    """End what pytest-cov begins in a worker before it is told that it is one.

    It would go on measuring wherever `no_cover` pauses what is measured after that.
    """
    coverage = sys.modules.get("coverage")
    if coverage and hasattr(config, "workerinput") and (first := coverage.Coverage.current()):
        first.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that also runs in memory is not measured once more on the other databases."""
    ids = {item.nodeid for item in items}
    for item in items:
        given = getattr(item, "callspec", None)
        if not given:
            continue
        on = given.params.get("open_store", given.params.get("any_url"))
        if on == "sqlite" or (on == "postgres" and item.nodeid.replace(on, "memory") in ids):
            item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from walking through thousands of tests each time."""
    gc.freeze()


class OpenStore:
    """Opens stores on the test's database, the same one each time: the first call chooses it."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._in_memory: dict[int, SessionStore] = {}
        self._url = ""
        self.opened = ExitStack()

    def __call__(self, application_id: int = 1, **options: Any) -> SessionStore:
        if application_id in self._in_memory:
            return self._in_memory[application_id]
        if not self._url:
            self._url = self._found(options.get("projections", installed()))
        opening = SessionStore.open(self._url, application_id, **options)
        store = self.opened.enter_context(opening)
        if self._url == "memory:":
            self._in_memory[application_id] = store
        return store

    def _found(self, projections: Sequence[Projection[Any]]) -> str:
        backend = self._request.param
        if backend == "memory":
            return "memory:"
        if backend == "postgres":
            used: UsedStores = self._request.getfixturevalue("used_stores")
            return self.opened.enter_context(used.empty(projections))
        url: str = self._request.getfixturevalue(f"{backend}_url")
        return url


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> datetime:
        self.time += timedelta(**by)
        return self.time


class Connection(sqlite3.Connection):
    """A connection that knows whether it was closed."""

    closed = False

    def close(self) -> None:
        super().close()
        self.closed = True


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Connection]]:
    """The connections that a test opens; it must leave none of them open."""
    opened: list[Connection] = []
    connect = sqlite3.connect

    def tracked(*args: Any, **options: Any) -> Connection:
        connection: Connection = connect(*args, **{"factory": Connection, **options})
        opened.append(connection)  # `opened[-1]` may be another thread's by now
        return connection

    monkeypatch.setattr(sqlite3, "connect", tracked)
    yield opened
    # a thread that a test does not wait for may still be reading
    until(lambda: all(connection.closed for connection in opened))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A test must leave no thread of a store behind: neither a pool's nor one that listens."""
    yield
    left = [each for each in threading.enumerate() if each.name.startswith("customer-sessions")]
    until(lambda: not any(each.is_alive() for each in left))


@pytest.fixture(autouse=True)
def _batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch commits at its end, however long the machine takes to get there."""
    monkeypatch.setattr("sessions.commits.batch.SECONDS", 3600.0)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a store in a file that does not exist yet."""
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(scope="session")
def postgres_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the PostgreSQL server, unless SESSIONS_TEST_POSTGRES names one."""
    mine = tmp_path_factory.getbasetemp()
    return (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "postgres"


@pytest.fixture(scope="session")
def postgres(postgres_directory: Path) -> str:
    """The URL of a PostgreSQL server: one for all workers, or SESSIONS_TEST_POSTGRES."""
    url = server_url(postgres_directory)
    if "SESSIONS_TEST_POSTGRES" not in os.environ:
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes"):  # processes die here, but no machine
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def used_stores(postgres: str) -> Iterator[UsedStores]:
    """Stores on the server that one test after the other reuses."""
    with closing(UsedStores(postgres)) as used:
        yield used


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of a store in a schema that does not exist yet."""
    with new_schema(postgres) as url:
        yield url


@pytest.fixture(params=[backend for backend in BACKENDS if backend != "memory"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a store that does not exist yet, and that several processes can open."""
    named: str = request.getfixturevalue(f"{request.param}_url")
    return named


@pytest.fixture(params=BACKENDS)
def any_url(request: pytest.FixtureRequest) -> str:
    """The URL of a store that does not exist yet; one in memory belongs to its process alone."""
    if request.param == "memory":
        return "memory:"
    named: str = request.getfixturevalue(f"{request.param}_url")
    return named


@pytest.fixture(params=BACKENDS)
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """Opens stores on one database; in memory, each application's store is opened once."""
    opener = OpenStore(request)
    with opener.opened:
        yield opener


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(open_store: OpenStore, clock: Clock) -> SessionStore:
    return open_store(now=clock)


@pytest.fixture
def views(store: SessionStore) -> CustomerSessions:
    return CustomerSessions(store)


@pytest.fixture
def histories(store: SessionStore) -> CustomerHistories:
    return CustomerHistories(store)


def add(sku: str = "9696", price: str = "59.9", **fields: Any) -> AddItem:
    """An AddItem whose price is written as text."""
    return AddItem(sku=sku, price=Decimal(price), **fields)


def deeper(frames: int, call: Callable[[], T]) -> T:
    """What a call answers if it is made this many frames further down the stack."""
    return deeper(frames - 1, call) if frames else call()


def in_threads(count: int, call: Callable[[int], T]) -> list[T]:
    """What a call answers to many threads that make it at the same moment, each with its number."""
    barrier = threading.Barrier(count)

    def called(number: int) -> T:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(called, range(count)))
