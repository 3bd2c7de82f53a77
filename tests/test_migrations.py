"""A store that an older library made is moved forward, wholly or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from projections import CustomerSessions
from projections.verify import verify
from sessions import (
    CloseSession,
    OpenSession,
    SessionNotOpen,
    SessionStore,
    StorageFailed,
    StoreTooNew,
    StoreTooOld,
    migrations,
)
from tests.conftest import add, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.dialect import Dialect

VERSION_1 = Path(__file__).with_name("store_of_version_1.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of version 1, with one session."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; {VERSION_1.read_text('utf-8')}")
    return path


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def relations(path: Path) -> dict[str, str]:
    return dict(rows(path, "SELECT name, sql FROM sqlite_master"))


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
        connection.execute(f"INSERT INTO migrations VALUES ({newer}, '')")  # noqa: S608
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
    assert "added" in relations(path)
