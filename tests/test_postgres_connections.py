"""The store's connections to PostgreSQL, whatever others have set for them."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from projections import CustomerSessions, Runner, StoredProjection, verify
from sessions import OpenSession, SessionStore
from sessions.errors import StoreUnavailable
from tests.conftest import add
from tests.postgres_line import Line
from tests.sample_projections import SPEND, Spend, followed
from tests.test_parked import until
from tests.test_runner import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD = "Zoë 漢字 🛒"
"""Text of which LATIN1 has a part only."""


@contextmanager
def role_with(server: str, name: str, value: str) -> Iterator[str]:
    """A role for whose connections something is set."""
    role = f"role_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN".encode())
        try:
            connection.execute(f"ALTER ROLE {role} SET {name} = '{value}'".encode())
            yield role
        finally:
            connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER".encode())
            connection.execute(f"DROP ROLE {role}".encode())


def check_that_it_is_read_as_written(url: str) -> None:
    with SessionStore.open(url, projections=followed(SPEND)) as store, Runner(store):
        executed = store.execute("s", OpenSession(profile_id=ODD), metadata={"actor": ODD})
        store.execute("s", add("x"))

        (opened, _) = store.log()
        assert (opened.at, opened.metadata) == (executed.events[0].at, {"actor": ODD})
        session = CustomerSessions(store).get("s")
        assert (session.profile_id, session.created) == (ODD, opened.at)
        spend = StoredProjection(store, SPEND)
        spend.wait(executed.position, timeout=SOON)
        assert spend.get(ODD) == Spend(1)
        assert verify(store) == []


SETTINGS = [("DateStyle", "German"), ("client_encoding", "LATIN1"), ("timezone", "Asia/Tokyo")]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_what_is_set_for_a_role_changes_nothing_that_is_read(
    postgres: str, postgres_url: str, name: str, value: str
) -> None:
    with role_with(postgres, name, value) as role:
        url = f"{postgres_url}&user={role}"
        check_that_it_is_read_as_written(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PGDATESTYLE", "German"), ("PGCLIENTENCODING", "LATIN1"), ("PGTZ", "Japan")],
)
def test_what_is_set_in_the_environment_changes_nothing_that_is_read(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    check_that_it_is_read_as_written(postgres_url)


def test_a_schema_may_be_called_in_any_script_whatever_the_encoding(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    schema = f"漢字_{uuid4().hex}"
    try:
        check_that_it_is_read_as_written(
            f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}"
        )
    finally:
        utf8 = make_conninfo(postgres, client_encoding="UTF8")
        with closing(psycopg.connect(utf8, autocommit=True)) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


# --- a server that gives no connection


def test_a_pool_that_is_used_up_says_so(postgres_url: str) -> None:
    with SessionStore.open(f"{postgres_url}&pool=2", lock_timeout=0.5) as store:
        store.execute("s", OpenSession())
        busy = [threading.Thread(target=store.query, args=["SELECT pg_sleep(4)"]) for _ in "ab"]
        for thread in busy:
            thread.start()
        until(lambda: len(sleeping(postgres_url)) == 2)

        with pytest.raises(StoreUnavailable, match=r"reached: all 2 connections are in use") as no:
            store.query("SELECT 1")
        assert no.value.retry

        for thread in busy:
            thread.join()
        assert store.query("SELECT 1") == [(1,)]


def sleeping(url: str) -> list[Any]:
    """Those who hold a connection of a store just now."""
    asked = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = ?"
    with SessionStore.open(url, read_only=True) as store:
        return store.query(asked, ["SELECT pg_sleep(4)"])


def test_a_server_that_is_gone_says_why_it_cannot_be_reached(postgres_url: str) -> None:
    with Line(postgres_url) as line, SessionStore.open(line.url, lock_timeout=0.5) as store:
        store.execute("s", OpenSession())
        line.cut()

        with pytest.raises(StoreUnavailable, match="No such file or directory"):
            store.query("SELECT 1")
        with pytest.raises(StoreUnavailable, match="No such file or directory"):
            store.execute("s", add("x"))

        line.mend()
        assert store.query("SELECT 1") == [(1,)]
