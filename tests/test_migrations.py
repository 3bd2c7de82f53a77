"""A store that an older library made is moved forward, wholly or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from projections import CustomerSessions, drop, rebuild, verify
from sessions import (
    CloseSession,
    NotAStore,
    OpenSession,
    SessionNotOpen,
    SessionStore,
    StorageFailed,
    StoreTooNew,
    StoreTooOld,
)
from sessions.sql import migrations
from tests.conftest import add
from tests.postgres_server import new_schema
from tests.processes import in_processes
from tests.tampering import change, definitions
from tests.tampering import dump as dump_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.sql.dialect import Dialect

VERSION_1 = Path(__file__).with_name("store_of_version_1.sql")
VERSION_2 = Path(__file__).with_name("store_of_version_2.sql")
VERSION_2_ON_POSTGRESQL = Path(__file__).with_name("store_of_version_2_on_postgresql.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of version 1, with one session."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; {VERSION_1.read_text('utf-8')}")
    return path


def test_a_store_that_does_not_say_what_made_it_is_none(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
    change(url, "DELETE FROM migrations")

    for read_only in (True, False):
        with pytest.raises(NotAStore, match="its table of migrations is empty"):
            SessionStore.open(url, read_only=read_only)


@pytest.fixture
def version_2(url: str) -> str:
    """The URL of a store of version 2, with two sessions."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(f"PRAGMA journal_mode = WAL; {VERSION_2.read_text('utf-8')}")
    else:
        server, _, schema = url.rpartition("schema=")
        made = f"CREATE SCHEMA {schema}; SET search_path = {schema};"
        with psycopg.connect(server.rstrip("?&")) as connection:
            connection.execute(f"{made}{VERSION_2_ON_POSTGRESQL.read_text('utf-8')}".encode())
    return url


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def relations(path: Path) -> list[Any]:
    return definitions(f"sqlite:///{path}")


def versions(path: Path) -> list[int]:
    return [version for (version,) in rows(path, "SELECT version FROM migrations ORDER BY version")]


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def execute(url: str, number: int) -> tuple[int, list[object]]:
    """Open a store, and write."""
    with SessionStore.open(url) as store:
        position = store.execute(f"new-{number}", OpenSession()).position
        return position, list(verify(store))


def breaking(statements: Callable[[Dialect], list[str]]) -> Callable[[Dialect], list[str]]:
    """A migration whose last statement fails."""
    return lambda dialect: [*statements(dialect), "CREATE TABLE events (there_is_one)"]


def test_an_old_store_is_moved_forward_when_it_is_opened(path: Path, tmp_path: Path) -> None:
    before = rows(path, "SELECT * FROM events")
    with SessionStore.open(f"sqlite:///{tmp_path}/fresh.db") as fresh:
        fresh.execute("s", OpenSession())

    with SessionStore.open(f"sqlite:///{path}") as store:
        assert store.position == 4
        assert verify(store) == []

    assert relations(path) == relations(tmp_path / "fresh.db")
    assert versions(path) == list(range(1, migrations.SCHEMA_VERSION + 1))
    assert rows(path, "SELECT * FROM events") == before


def test_what_it_holds_goes_on(path: Path) -> None:
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert [recorded.type for recorded in store.events("s")] == [
            "SessionOpened",
            "CouponApplied",
            "ItemAdded",
            "SessionClosed",
        ]
        opening = OpenSession(profile_id="p", coupon="C")
        assert store.execute("s", opening, idempotency_key="k").position == 2
        with pytest.raises(SessionNotOpen):
            store.execute("s", add())
        assert store.execute("t", OpenSession(profile_id="p")).position == 5
        store.execute("t", CloseSession())

        assert not CustomerSessions(store).get("t").first_session
        assert verify(store) == []


def test_its_log_is_only_added_to_from_then_on(path: Path) -> None:
    with SessionStore.open(f"sqlite:///{path}") as store:
        for change in ("DELETE FROM events", "UPDATE events SET version = 9"):
            with pytest.raises(StorageFailed), store.recorder.database.writing() as connection:
                connection.execute(change)

        assert verify(store) == []


def test_opening_it_once_more_changes_nothing(path: Path) -> None:
    with SessionStore.open(f"sqlite:///{path}"):
        moved = dump(path)

    with SessionStore.open(f"sqlite:///{path}"):
        assert dump(path) == moved


def test_four_processes_that_open_it_at_once_move_it_forward_once(path: Path) -> None:
    found = in_processes(4, execute, f"sqlite:///{path}")

    assert sorted(position for position, _ in found) == [5, 6, 7, 8]
    assert [differences for _, differences in found] == [[]] * 4
    assert versions(path) == list(range(1, migrations.SCHEMA_VERSION + 1))


def test_a_reader_does_not_move_it_forward(path: Path) -> None:
    before = dump(path)

    with pytest.raises(StoreTooOld, match="schema 1") as old:
        SessionStore.open(f"sqlite:///{path}", read_only=True)

    assert (old.value.found, old.value.known) == (1, migrations.SCHEMA_VERSION)
    assert dump(path) == before
    with SessionStore.open(f"sqlite:///{path}"):
        pass
    with SessionStore.open(f"sqlite:///{path}", read_only=True) as store:
        assert store.position == 4


def test_a_store_that_is_newer_than_the_library_is_left_alone(path: Path) -> None:
    newer = migrations.SCHEMA_VERSION + 1
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"INSERT INTO migrations VALUES ({newer}, '')")
    before = dump(path)

    for read_only in (True, False):
        with pytest.raises(StoreTooNew):
            SessionStore.open(f"sqlite:///{path}", read_only=read_only)

    assert dump(path) == before


@pytest.mark.parametrize("broken", range(2, migrations.SCHEMA_VERSION + 1))
def test_a_migration_that_fails_leaves_the_old_store_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    before = dump(path)
    with monkeypatch.context() as patched:
        steps = {**migrations.MIGRATIONS, broken: breaking(migrations.MIGRATIONS[broken])}
        patched.setattr(migrations, "MIGRATIONS", steps)
        for _ in range(2):
            with pytest.raises(StorageFailed, match="events"):
                SessionStore.open(f"sqlite:///{path}")

    assert dump(path) == before
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert store.execute("t", OpenSession()).position == 5
        assert verify(store) == []


def test_a_store_is_moved_forward_by_its_own_migrations_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = migrations.SCHEMA_VERSION + 1

    def added(_: Dialect) -> list[str]:
        return ["CREATE TABLE added (id INTEGER)"]

    with SessionStore.open(f"sqlite:///{path}"):
        pass
    monkeypatch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, newest: added})
    monkeypatch.setattr(migrations, "SCHEMA_VERSION", newest)

    with SessionStore.open(f"sqlite:///{path}") as store:
        assert store.execute("t", OpenSession()).position == 5
    assert versions(path) == list(range(1, newest + 1))
    assert "CREATE TABLE added (id INTEGER)" in relations(path)


# --- from version 2, on both databases


@pytest.fixture
def fresh_url(version_2: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new store on the same kind of database."""
    if version_2.startswith("sqlite"):
        yield f"sqlite:///{tmp_path}/fresh.db"
    else:
        with new_schema(request.getfixturevalue("postgres")) as url:
            yield url


def test_a_store_of_version_2_becomes_what_a_new_one_is(version_2: str, fresh_url: str) -> None:
    with SessionStore.open(fresh_url) as fresh:
        fresh.make()
    before = dump_of(version_2, ["events", "answers", "claims", "limits"])

    with SessionStore.open(version_2) as store:
        assert store.position == 5
        assert verify(store) == []

    assert definitions(version_2) == definitions(fresh_url)
    assert dump_of(version_2, ["events", "answers", "claims", "limits"]) == before
    assert dump_of(version_2, ["projections", "parked", "positions"]) == {
        "projections": [
            ("attachments", 1, 1, "inline", "current", 0, "attachments"),
            ("customer_sessions", 1, 1, "inline", "current", 0, "customer_sessions"),
        ],
        "parked": [],
        "positions": [],
    }


def test_what_a_store_of_version_2_holds_goes_on(version_2: str) -> None:
    with SessionStore.open(version_2) as store:
        assert store.execute("order-2", add(), idempotency_key="k-2").position == 6
        opened_again = store.execute("order-3", OpenSession(profile_id="cust-7"))
        views = CustomerSessions(store)
        assert opened_again.position == 7
        assert [view.integration_id for view in views.of_profile("cust-7")] == [
            "order-1",
            "order-2",
            "order-3",
        ]
        assert not views.get("order-3").first_session
        assert rebuild(store).events == 7
        assert verify(store) == []


def test_the_first_stores_of_version_2_become_what_a_new_one_is(
    version_2: str, fresh_url: str
) -> None:
    with SessionStore.open(fresh_url) as fresh:
        fresh.make()
    change(version_2, "DROP TABLE positions")
    if version_2.startswith("postgres"):
        change(version_2, "DROP FUNCTION begin_writing")
        change(version_2, "DROP FUNCTION confirm_writing")

    with SessionStore.open(version_2) as store:
        store.execute("order-3", OpenSession())
        assert rebuild(store).events == 6
        assert verify(store) == []

    with SessionStore.open(version_2) as store:
        drop(store, "attachments")
        drop(store, "customer_sessions")
    assert dump_of(version_2, ["positions"]) == {"positions": []}
    assert definitions(version_2) == definitions(fresh_url)


def test_a_reader_does_not_move_a_store_of_version_2_forward(version_2: str) -> None:
    before = definitions(version_2)

    with pytest.raises(StoreTooOld, match="schema 2"):
        SessionStore.open(version_2, read_only=True)

    assert definitions(version_2) == before


def test_a_migration_that_fails_leaves_a_store_of_version_2_whole(
    version_2: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = definitions(version_2)
    with monkeypatch.context() as patched:
        steps = {**migrations.MIGRATIONS, 3: breaking(migrations.MIGRATIONS[3])}
        patched.setattr(migrations, "MIGRATIONS", steps)
        with pytest.raises(StorageFailed, match="events"):
            SessionStore.open(version_2)

    assert definitions(version_2) == before
    with SessionStore.open(version_2) as store:
        assert verify(store) == []


def test_four_processes_that_open_a_store_of_version_2_at_once_move_it_forward_once(
    version_2: str,
) -> None:
    found = in_processes(4, execute, version_2)

    assert sorted(position for position, _ in found) == [6, 7, 8, 9]
    assert [differences for _, differences in found] == [[]] * 4
    noted = dump_of(version_2, ["migrations"])["migrations"]
    assert [version for version, _ in noted] == list(range(2, migrations.SCHEMA_VERSION + 1))
