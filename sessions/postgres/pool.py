"""The connections to a PostgreSQL server: a pool, and private ones."""

from __future__ import annotations

import os
import threading
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

import psycopg
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from sessions import forks
from sessions.errors import StoreClosed
from sessions.postgres.connection import BEGIN, PostgresConnection
from sessions.postgres.place import options_of
from sessions.postgres.round_trip import ServerConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sessions.postgres.failures import PostgresFailures
    from sessions.postgres.place import Place
    from sessions.sql.connection import Statement

T = TypeVar("T")

CONNECT_SECONDS = 2.0
"""How long one attempt waits for a connection: a server that is back is then found soon."""

_LEAST_SECONDS = 1.0
"""How long it waits at least, even if the store does not wait for other writers."""

_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,  # psycopg would deallocate our statements with its own
    "fallback_application_name": "customer-sessions",
    "client_encoding": "UTF8",  # a schema's name is sent in it
}
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""With these, a caller that waits for a server notices within a minute that it is gone; the
system's own figure is two hours. They apply unless the URL says otherwise, or a service file
may."""

_SETTINGS = (
    "SELECT set_config('search_path', $1, false), set_config('lock_timeout', $2, false), "
    "set_config('timezone', 'UTC', false), "
    "set_config('DateStyle', 'ISO', false), "  # times are read as the server writes them
    "set_config('default_transaction_read_only', 'on', false)"  # a writer says that it writes
)
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)

_LEFT = "its connections were lost, and are being replaced"

_numbers = count(1)
_inherited: list[object] = []
"""Connections of a parent process: closing one in a child would harm the parent's."""


class Connections:
    """The connections of a store. They only read, except in a transaction that says that it writes.

    Attributes:
        closed: Whether they were closed, so that none is given any more.
    """

    def __init__(self, place: Place, lock_timeout: float, failures: PostgresFailures) -> None:
        self._place = place
        self._failures = failures
        self._options = {**_OPTIONS, **_keepalives(place.server)}
        self._lock_timeout = lock_timeout
        self._patience = max(_LEAST_SECONDS, min(lock_timeout, CONNECT_SECONDS))
        self._mutex = threading.Lock()
        self._pool: ConnectionPool[ServerConnection] | None = None
        self._taken: WeakSet[ServerConnection] = WeakSet()
        self._reached: list[ServerConnection] = []
        self.closed = False

    def reach(self) -> None:
        """Connect now. The pool begins with this connection; it is enough for a short command."""
        self._reached.append(self.connect())

    def take(self, confirms: Sequence[object] | None = None) -> PostgresConnection:
        """A connection of the pool; `give_back` must follow."""
        pool = self._opened()
        try:
            raw = pool.getconn(self._patience)
        except PoolTimeout as error:
            if self.closed:  # while it waited
                raise StoreClosed from error
            raise self._reason(pool, error) from error
        except PoolClosed as error:
            if self.closed:
                raise StoreClosed from error
            raise psycopg.OperationalError(_LEFT) from error
        taken = self._taken

        def give_back() -> None:
            try:
                taken.discard(raw)
            finally:
                pool.putconn(raw)

        try:
            taken.add(raw)
            return PostgresConnection(raw, give_back, confirms)
        except BaseException:  # an interrupt: nobody else would give it back
            give_back()
            raise

    def begun(
        self,
        asked: Sequence[Statement],
        made: Callable[[PostgresConnection, list[list[Any]]], T],
        confirms: Sequence[object] | None = None,
    ) -> T:
        """Begin a transaction with SELECTs, and return what `made` makes of it and their rows.

        If nothing is asked, the commit begins the transaction.
        """
        connection = self.take(confirms)
        try:
            answers = connection.ask([(BEGIN, ()), *asked])[1:] if asked else []
            return made(connection, [answer.fetchall() for answer in answers])
        except BaseException:
            connection.end()
            raise

    def _reason(self, pool: ConnectionPool[ServerConnection], error: PoolTimeout) -> psycopg.Error:
        """Why the pool gave no connection: all are in use, or the server says why itself.

        Otherwise it has lost them: a caller that is interrupted inside it leaves a connection that
        nobody has. The next attempt makes another pool.
        """
        size = self._place.pool_size
        all_taken = PoolTimeout(f"all {size} connections are in use (pool= in the URL allows more)")
        if len(self._taken) >= size:
            return all_taken
        try:
            self.connect(connect_timeout=CONNECT_SECONDS).close()
        except psycopg.Error as refused:
            return refused
        if len(self._taken) >= size or pool.get_stats().get("pool_available"):
            return all_taken  # until just now
        self._leave(pool)
        return error

    def _leave(self, pool: ConnectionPool[ServerConnection]) -> None:
        with self._mutex:
            if self._pool is pool:
                self._pool = None
        pool.close()

    def check(self) -> None:
        """Replace lost connections, so that the next attempt gets one that works."""
        self._opened().check()

    def _opened(self) -> ConnectionPool[ServerConnection]:
        pool = self._pool
        if pool is not None:
            return pool
        with self._mutex:
            if self.closed:
                raise StoreClosed
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._place.server,
                    connection_class=cast("Any", SimpleNamespace(connect=self._next)),
                    min_size=0,
                    max_size=self._place.pool_size,
                    timeout=max(_LEAST_SECONDS, self._lock_timeout),
                    reconnect_timeout=CONNECT_SECONDS,
                    name="customer-sessions",
                    open=True,
                )
            return self._pool

    def _next(self, _: str, **options: Any) -> ServerConnection:  # noqa: ANN401  as libpq's are
        """One more for the pool: the one of `reach`, or a new one."""
        try:
            return self._reached.pop()
        except IndexError:
            return self.connect(**options)

    def connect(self, **options: Any) -> ServerConnection:  # noqa: ANN401  as libpq's are
        """A new connection, with the store's settings."""
        raw = self._connected(options)
        raw.number = next(_numbers)
        forks.watch(raw)
        try:
            self._configure(raw)
        except BaseException:
            raw.close()
            raise
        return raw

    def _connected(self, options: Mapping[str, Any]) -> ServerConnection:
        try:
            return ServerConnection.connect(self._place.server, **self._options, **options)
        except psycopg.OperationalError as error:
            bare = type(error)(*error.args)
        raise bare  # without the other as its context, which has the password

    def _configure(self, raw: ServerConnection) -> None:
        self._failures.check_version(divmod(raw.info.server_version, 10_000))
        for name in ("json", "jsonb", "timestamptz"):
            raw.adapters.register_loader(name, TextLoader)
        raw.adapters.register_dumper(int, Int8Dumper)  # a statement is then prepared for all sizes
        milliseconds = max(1, round(self._lock_timeout * 1000))
        settings = [quoted(self._place.schema), f"{milliseconds}ms"]
        raw.trips.ask([(_SETTINGS, settings), (_DURABLE, ())])

    def close(self) -> None:
        """Close the pool; a connection that is taken is closed when it is given back."""
        with self._mutex:
            self.closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        for raw in self._reached:
            raw.close()

    def begin_again_in_child(self) -> None:
        """In a forked child, leave the parent's connections to the parent."""
        _inherited.append((self._pool, self._reached))
        self._mutex, self._pool, self._taken = threading.Lock(), None, WeakSet()
        self._reached = []


def _keepalives(server: str) -> Mapping[str, int]:
    """Those options that are not given otherwise."""
    given = options_of(server)
    if "service" in given or "PGSERVICE" in os.environ:
        return {}
    return {name: value for name, value in _KEEPALIVES.items() if name not in given}


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'
