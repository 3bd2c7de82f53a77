"""A writer that was alone takes the lock with its commit: others may have been faster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from projections import CustomerSessions, verify
from sessions import (
    CloseSession,
    IdempotencyKeyReused,
    OpenSession,
    ReopenSession,
    SessionNotOpen,
    SessionStore,
    SetProfile,
    StoreBusy,
    VersionConflict,
)
from tests.conftest import add
from tests.groups import joined
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.commits.job import Job

__all__ = ["joined"]


@pytest.fixture
def mine(url: str) -> Iterator[SessionStore]:
    """A store whose writer was alone up to now."""
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())
        for _ in range(3):
            store.execute("s", add())
        yield store


@pytest.fixture
def other(mine: SessionStore, url: str) -> Iterator[SessionStore]:
    assert mine.position == 4
    with SessionStore.open(url) as store:
        yield store


def test_what_others_wrote_meanwhile_is_what_a_command_is_decided_on(
    mine: SessionStore, other: SessionStore
) -> None:
    assert other.execute("s", CloseSession()).position == 5
    with pytest.raises(SessionNotOpen):
        mine.execute("s", add())
    assert other.execute("s", ReopenSession()).position == 6
    assert mine.execute("s", add(sku="new")).position == 7
    assert other.execute("s", add()).version == 8
    assert [line.sku for line in CustomerSessions(mine).get("s").cart_items] == ["9696", "new"]
    assert verify(mine) == []


def test_an_expected_version_is_compared_with_the_newest(
    mine: SessionStore, other: SessionStore
) -> None:
    other.execute("s", add())
    with pytest.raises(VersionConflict):
        mine.execute("s", add(), expected_version=4)
    mine.execute("s", add(), expected_version=5)


def test_a_no_op_answers_with_the_newest_version(mine: SessionStore, other: SessionStore) -> None:
    other.execute("s", SetProfile(profile_id="p"))
    done = mine.execute("s", SetProfile(profile_id="p"))
    assert (done.version, done.position, done.events) == (5, 5, [])


def test_a_first_session_of_others_is_seen(mine: SessionStore, other: SessionStore) -> None:
    other.execute("theirs", OpenSession(profile_id="p"))
    mine.execute("ours", OpenSession(profile_id="p"))
    assert not CustomerSessions(mine).get("ours").first_session


def test_a_key_that_others_used_without_an_event_is_seen(
    mine: SessionStore, other: SessionStore
) -> None:
    nothing = SetProfile(profile_id="")
    first = other.execute("s", nothing, idempotency_key="k")
    assert mine.execute("s", nothing, idempotency_key="k") == first
    with pytest.raises(IdempotencyKeyReused):
        mine.execute("s", add(), idempotency_key="k")


def test_a_key_that_others_use_at_the_very_moment_is_no_error(
    mine: SessionStore, other: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is looked up before the lock is taken, and is there when the answer is kept."""
    nothing, commit = SetProfile(profile_id=""), mine.recorder.database.commit
    used: list[str] = []

    def late(*arguments: Any) -> None:
        if not used and not mine.recorder.database.path.endswith("store.db"):
            used.append("k")
            other.execute("s", nothing, idempotency_key="k")
        commit(*arguments)

    monkeypatch.setattr(mine.recorder.database, "commit", late)
    done = mine.execute("s", nothing, idempotency_key="k")
    assert (done.version, done.events) == (4, [])


def test_a_log_that_has_moved_is_no_news_for_people(
    mine: SessionStore, other: SessionStore, caplog: pytest.LogCaptureFixture
) -> None:
    other.execute("s", CloseSession())

    many = [(f"{number}", OpenSession()) for number in range(2000)]
    assert mine.execute_all(many)[-1].position == 2005

    assert caplog.messages == []


def test_who_waits_for_a_lock_that_is_not_free_in_time_waits_for_it_once(
    mine: SessionStore, url: str, joined: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(url, lock_timeout=2) as store, ThreadPoolExecutor(4) as pool:
        for number in range(3):
            store.execute(f"alone-{number}", OpenSession())
        database, before, waits = store.recorder.database, len(joined), list[str]()

        def counted(name: str) -> Callable[..., Any]:
            call = getattr(database, name)

            def called(*given: Any, **how: Any) -> Any:
                try:
                    return call(*given, **how)
                except StoreBusy:
                    waits.append(name)
                    raise

            return called

        for name in ("begin", "commit"):
            monkeypatch.setattr(database, name, counted(name))
        with mine.recorder.database.writing():
            calls = [pool.submit(store.execute, f"s{number}", OpenSession()) for number in range(4)]
            until(lambda: len(joined) == before + 4)
            errors = [call.exception() for call in calls]

        assert [type(error) for error in errors] == [StoreBusy] * 4
        assert len(waits) == 1
        assert len({id(error) for error in errors}) == 4  # raising one writes into it
        assert verify(store) == []
