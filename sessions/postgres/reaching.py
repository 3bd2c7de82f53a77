"""Waits for a server that went away or is starting up, and asks it again."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.pq import PGconn, Ping

from sessions.postgres.failures import is_cut, is_gone
from sessions.postgres.pool import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.postgres.pool import Connections

T = TypeVar("T")

_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds before each further attempt."""

_CUTS = 3
"""How often opening a store connects again if the connection was cut while it was made."""


class _Once(threading.local):
    """Whether the current thread asks only once, instead of until the server is there."""

    asks = False


class Reaching:
    """Asks a server again, through a store's connections, for as long as a writer waits."""

    def __init__(self, server: str, connections: Connections, lock_timeout: float) -> None:
        self._server = server
        self._connections = connections
        self._lock_timeout = lock_timeout
        self._once = _Once()

    def first(self) -> None:
        """Connect once, and wait for a server that is starting up; another error is final.

        A pool would long go on trying what can never succeed. A connection that was cut is made
        again, a few times. After either, one more error is not final yet: a server that was
        starting up may be up since just now.
        """
        deadline = time.monotonic() + self._lock_timeout
        hopes, cuts = False, 0
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            try:
                return self._connections.reach()
            except ConnectionTimeout:
                raise
            except psycopg.OperationalError as error:
                was_cut = is_cut(error)
                cuts += was_cut
                hoped, hopes = hopes, (was_cut and cuts < _CUTS) or self._is_starting()
                if not (hoped or hopes) or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
        raise AssertionError

    def _is_starting(self) -> bool:
        """Whether the server is there, but accepts no connections yet.

        Only a ping of libpq tells this. No other thread runs meanwhile, so it must not take long.
        """
        asked = make_conninfo(self._server, connect_timeout=round(CONNECT_SECONDS))
        return PGconn.ping(asked.encode()) == Ping.REJECT

    def until_reached(self, work: Callable[[], T]) -> T:
        """Do what is safe to repeat, until the server is there or the time is up."""
        deadline = time.monotonic() + (0 if self._once.asks else self._lock_timeout)
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            try:
                return work()
            except psycopg.Error as error:
                tried = is_gone(error)
                closed = self._connections.closed
                if not tried or closed or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            self._connections.check()
        raise AssertionError

    @contextmanager
    def once(self) -> Iterator[None]:
        """Within it, this thread gets an error at once if the server is away."""
        self._once.asks = True
        try:
            yield
        finally:
            self._once.asks = False
