"""PostgreSQL: connections and transactions.

One transaction at a time writes an application's log: its advisory lock is the first thing that a
writer takes. Each statement that follows sees all that was committed before (READ COMMITTED), so
that what a writer reads under the lock cannot change until it commits. What a writer has to say
at the beginning and at the end of a transaction goes to the server in one round trip each.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

try:
    import psycopg
    from psycopg import errors as pg
    from psycopg.types.string import TextLoader
    from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
except ImportError as error:  # pragma: no cover  the tests have it
    missing = "PostgreSQL needs psycopg: pip install 'customer-sessions[postgres]'"
    raise ImportError(missing) from error

from sessions import dialect, forks
from sessions.database import LOCK_TIMEOUT, Begun, Connection, Database
from sessions.errors import (
    Duplicate,
    InvalidURL,
    OutcomeUnknown,
    StatementTimeout,
    StorageFailed,
    StoreBusy,
    StoreClosed,
    StoreUnavailable,
)
from sessions.signals import signal_of
from sessions.url import without_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sessions.database import Query

T = TypeVar("T")

SCHEMA = "customer_sessions"
"""Where a store is, unless its URL says `schema=`."""

POOL_SIZE = 10
"""How many connections a store has at most, unless its URL says `pool=`."""

_POLL_SECONDS = 0.2
"""How often a follower looks by itself, should a notification be lost."""

_LISTEN_SECONDS = 0.5
_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds before each further attempt to reach a server that went away."""

_LEAST_POOL, _LARGEST_POOL = 2, 1000
_LONGEST_NAME = 64
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)
_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "cursor_factory": psycopg.RawCursor,
    "application_name": "customer-sessions",
}
_LOCK_ONE = "SELECT pg_advisory_xact_lock_shared(?), pg_advisory_xact_lock(?)"
_LOCK_ALL = "SELECT pg_advisory_xact_lock(?)"
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)
_QUOTED_OR_MARK = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\?(\d*)")

_inherited: list[object] = []
"""Pools of a parent process: closing one in a child would harm the parent's."""


@lru_cache(maxsize=2048)
def numbered(sql: str) -> str:
    """A statement with `$1` for its first `?`, and so on, as PostgreSQL has it."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[1] is None:
            return found[0]
        count += 1
        return f"${found[1] or count}"

    return _QUOTED_OR_MARK.sub(number, sql)


class PostgresConnection:
    """A connection on which statements are executed as they are on SQLite's."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> psycopg.Cursor[Any]:
        """Execute a statement with `?` for each parameter."""
        return self.raw.execute(cast("Any", numbered(sql)), parameters or None)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> psycopg.Cursor[Any]:
        """Execute a statement for each row."""
        cursor = self.raw.cursor()
        cursor.executemany(cast("Any", numbered(sql)), rows)
        return cursor


class _Failures:
    """Turns the database's errors into the store's."""

    def __init__(self, path: str, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, psycopg.Error):
            raise self.of(error) from error

    def of(self, error: psycopg.Error) -> Exception:
        """The store's error for one of psycopg's."""
        reason = _reason(error)
        match error:
            case PoolClosed():
                return StoreClosed()
            case pg.LockNotAvailable():
                return StoreBusy(path=self._path, seconds=self._lock_timeout)
            case pg.QueryCanceled() | pg.IdleInTransactionSessionTimeout():
                return StatementTimeout(path=self._path, reason=reason)
            case psycopg.IntegrityError():
                return Duplicate(path=self._path, reason=reason)
            case psycopg.OperationalError() | psycopg.InterfaceError() if is_gone(error):
                return StoreUnavailable(path=self._path, reason=reason)
            case _:
                return StorageFailed(path=self._path, reason=reason)


def is_gone(error: psycopg.Error) -> bool:
    """Whether the connection or the server went away, so that another connection may do."""
    if not isinstance(error, _GONE) or isinstance(error, PoolTimeout):
        return False
    state = error.sqlstate
    return state is None or state[:2] == "08" or state[:3] in {"57P", "533"}


class PostgresDatabase(Database):
    """The connections to one schema of a PostgreSQL database.

    They come from one pool, for readers and for the writer; threads may share it, and a forked
    child opens a pool of its own.
    """

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._place = place_of(url)
        self.path = without_password(url)
        self.dialect = dialect.POSTGRES
        self.lock_timeout = lock_timeout
        self.poll_seconds = _POLL_SECONDS
        self.signal = signal_of(self.path)
        self._failures = _Failures(self.path, lock_timeout)
        self._channel = f"sessions_{_digest(self._place.schema).hex()[:16]}"
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        self._closed = False
        self._start()
        forks.watch(self)
        with self._failures:
            self._connect().close()  # a pool would try for long what can never succeed

    def _start(self) -> None:
        self._mutex = threading.Lock()
        self._listener: threading.Thread | None = None
        self._hears = threading.Event()

    @property
    def failures(self) -> _Failures:
        """Turns the database's errors into the store's."""
        return self._failures

    @property
    def exists(self) -> bool:
        """Whether there is something to read: the schema may be empty, or not be there yet."""
        return True

    def relations(self, query: Query) -> set[str]:
        """The names of all relations in the schema."""
        sql = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = ?"
        return {name for (name,) in query(sql, (self._place.schema,))}

    def prepare(self, connection: Connection) -> None:
        """Make the schema, where nobody did."""
        sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?"
        if not connection.execute(sql, (self._place.schema,)).fetchall():
            connection.execute(f"CREATE SCHEMA {_quoted(self._place.schema)}")

    # --- reading

    def query(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        passing: bool = False,  # noqa: ARG002  SQLite's readers differ
    ) -> list[Any]:
        """All rows of one SELECT, as tuples; asked again where the server went away meanwhile."""

        def ask() -> list[Any]:
            with self._opened().connection() as raw:
                return PostgresConnection(raw).execute(sql, parameters).fetchall()

        with self._failures:
            return self._until_reached(ask)

    @contextmanager
    def private(self) -> Iterator[Connection]:
        """A connection that nobody else uses, with temporary tables of its own."""
        with self._failures, closing(self._connect()) as raw:
            yield PostgresConnection(raw)

    @contextmanager
    def snapshot(self, connection: Connection) -> Iterator[None]:
        """A transaction all of whose statements see one and the same commit."""
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        finally:
            connection.execute("COMMIT")

    # --- writing

    def begin(self, owner: object, application_id: int, sql: str) -> Begun:  # noqa: ARG002
        """Begin a transaction that has the application's lock, in one round trip."""
        locks = (self._lock_key(0), self._lock_key(application_id))

        def begun() -> Begun:
            connection = self._taken()
            try:
                with connection.raw.pipeline():
                    connection.execute("BEGIN")
                    connection.execute(_LOCK_ONE, locks)
                    rows = connection.execute(sql, (application_id,))
                return Begun(connection, rows.fetchall())
            except BaseException:
                self.end(connection)
                raise

        with self._failures:
            return self._until_reached(begun)

    def commit(
        self, owner: object, connection: Connection, write: Callable[[Connection], bool]
    ) -> None:
        """Let a function write, and make the transaction durable, in one round trip."""
        raw = cast("PostgresConnection", connection).raw
        try:
            with raw.pipeline():
                written = write(connection)
                if written:
                    connection.execute("SELECT pg_notify(?, '')", (self._channel,))
                connection.execute("COMMIT")
        except psycopg.Error as error:
            if is_gone(error):
                raise OutcomeUnknown(path=self.path, reason=_reason(error)) from error
            raise self._failures.of(error) from error
        if written:
            self.signal.give()

    def end(self, connection: Connection) -> None:
        """Roll back what is not committed, and give the lock to the next."""
        raw = cast("PostgresConnection", connection).raw
        try:
            if not raw.closed:
                raw.rollback()
        except psycopg.Error:
            raw.close()  # the server rolls back what has lost its connection
        finally:
            self._opened().putconn(raw)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that has the lock of all applications, and commits at its end."""

        def begun() -> PostgresConnection:
            connection = self._taken()
            try:
                connection.execute("BEGIN")
                connection.execute(_LOCK_ALL, (self._lock_key(0),))
            except BaseException:
                self.end(connection)
                raise
            return connection

        with self._failures:
            connection = self._until_reached(begun)
            try:
                yield connection
                connection.execute("SELECT pg_notify(?, '')", (self._channel,))
                connection.execute("COMMIT")
            finally:
                self.end(connection)
        self.signal.give()

    def _lock_key(self, application_id: int) -> int:
        """The advisory lock of an application, or with 0 of the store: 64 bits, by what it is."""
        name = f"customer-sessions/{self._place.schema}/{application_id}"
        return int.from_bytes(_digest(name)[:8], "big", signed=True)

    # --- connections

    def _taken(self) -> PostgresConnection:
        return PostgresConnection(self._opened().getconn())

    def _until_reached(self, work: Callable[[], T]) -> T:
        """Do what is safe to be done again, until the server is there; or give up."""
        deadline = time.monotonic() + self.lock_timeout
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            try:
                return work()
            except psycopg.Error as error:
                if not is_gone(error) or self._closed or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            self._opened().check()
        raise AssertionError

    def _opened(self) -> ConnectionPool[psycopg.Connection[Any]]:
        if self._closed:
            raise StoreClosed
        if self._pool is None:
            with self._mutex:
                if self._pool is None:
                    self._pool = ConnectionPool(
                        self._place.server,
                        kwargs=_OPTIONS,
                        configure=self._configure,
                        min_size=1,
                        max_size=self._place.pool_size,
                        timeout=self.lock_timeout,
                        name="customer-sessions",
                        open=True,
                    )
        return self._pool

    def _connect(self) -> psycopg.Connection[Any]:
        raw = psycopg.connect(self._place.server, **_OPTIONS)
        self._configure(raw)
        return raw

    def _configure(self, raw: psycopg.Connection[Any]) -> None:
        for name in ("json", "timestamptz"):
            raw.adapters.register_loader(name, TextLoader)
        milliseconds = max(1, round(self.lock_timeout * 1000))
        settings = (
            ("search_path", _quoted(self._place.schema)),
            ("timezone", "UTC"),
            ("lock_timeout", f"{milliseconds}ms"),
        )
        with raw.pipeline():
            for setting in settings:
                raw.execute("SELECT set_config($1, $2, false)", setting)
            raw.execute(_DURABLE)

    def close(self) -> None:
        """Close the connections; what is at work is finished first."""
        self._closed = True
        self.signal.give()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        if self._listener is not None:
            self._listener.join(2 * _LISTEN_SECONDS)

    def begin_again_in_child(self) -> None:
        """After a fork: the parent's connections stay the parent's."""
        _inherited.append(self._pool)
        self._pool = None
        self._start()

    # --- listening

    def listen(self) -> None:
        """Hear of what other processes commit, from now on; without it, a follower polls."""
        with self._mutex:
            if self._listener is None:
                self._listener = threading.Thread(
                    target=self._listen, name="customer-sessions-listen", daemon=True
                )
                self._listener.start()
        self._hears.wait(_LISTEN_SECONDS)

    def _listen(self) -> None:
        while not self._closed:
            try:
                with closing(self._connect()) as raw:
                    raw.execute(cast("Any", f"LISTEN {self._channel}"))
                    self._hears.set()
                    self.signal.give()  # for what came before
                    while not self._closed:
                        for _ in raw.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
                            self.signal.give()
            except psycopg.Error:
                self._hears.set()
                time.sleep(_LISTEN_SECONDS)


class Place(msgspec.Struct, frozen=True):
    """Where a store on PostgreSQL is.

    Attributes:
        server: What libpq takes: the URL without the parts that are ours.
        schema: The schema that holds the store.
        pool_size: How many connections there may be at a time.
    """

    server: str
    schema: str = SCHEMA
    pool_size: int = POOL_SIZE


def place_of(url: str) -> Place:
    """The place that a URL names.

    Raises:
        InvalidURL: libpq does not take it, or `schema` or `pool` makes no sense.
    """
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True)
        rest = urlencode([(n, v) for n, v in given if n not in {"schema", "pool"}], quote_via=quote)
        server = urlunsplit((*parts[:3], rest, ""))
        psycopg.conninfo.conninfo_to_dict(server)
    except (ValueError, psycopg.Error):  # whose words may show a password
        rule = "postgresql://user@host:port/database?schema=name, with options of libpq"
        raise InvalidURL(url=shown, rule=rule) from None
    ours = dict(given)
    schema, pool = ours.get("schema", SCHEMA), ours.get("pool", str(POOL_SIZE))
    if not 0 < len(schema.encode()) < _LONGEST_NAME or "\0" in schema or schema[:3] == "pg_":
        rule = f"schema= is a name of at most {_LONGEST_NAME - 1} bytes, not of PostgreSQL's own"
        raise InvalidURL(url=shown, rule=rule)
    if not (pool.isdecimal() and _LEAST_POOL <= int(pool) <= _LARGEST_POOL):
        rule = f"pool= is {_LEAST_POOL} to {_LARGEST_POOL} connections"
        raise InvalidURL(url=shown, rule=rule)
    return Place(server, schema, int(pool))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _reason(error: psycopg.Error) -> str:
    return str(error).strip() or type(error).__name__
