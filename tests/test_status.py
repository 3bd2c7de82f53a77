"""How the projections of a store are doing."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, assert_type

import pytest

from projections import ProjectionStatus, Runner, parked, rebuild, status
from sessions import InvalidValue, OpenSession, SessionStore, StoreNotFound
from tests.conftest import add
from tests.sample_projections import BAD, SALES, SPEND, Spend, followed, in_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Clock, OpenStore


@pytest.fixture
def store(open_store: OpenStore, clock: Clock) -> SessionStore:
    """Three events, ten seconds apart: the followers have seen two of them, and a key waits."""
    store = open_store(projections=followed(SALES, SPEND), now=clock)
    store.execute("a", OpenSession(profile_id="p"))
    clock.move(seconds=10)
    store.execute("a", add(BAD))
    clock.move(seconds=10)
    Runner(store, page=2).run(until=2)
    store.execute("b", OpenSession(profile_id="p"))
    return store


def of(store: SessionStore, name: str) -> list[ProjectionStatus]:
    return [each for each in status(store) if each.name == name]


def between_looks(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> list[float]:
    """Let a call be made instead of each wait; the answer is how long the waits would have been."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        call()

    monkeypatch.setattr(sys.modules[status.__module__], "time", SimpleNamespace(sleep=sleep))
    return waits


def test_an_inline_projection_is_always_at_the_end(store: SessionStore) -> None:
    (found,) = of(store, "customer_sessions")

    assert (found.mode, found.status, found.version, found.installed) == (
        "inline",
        "current",
        *[found.installed] * 2,
    )
    assert (found.position, found.lag_events, found.lag_seconds, found.parked) == (3, 0, 0.0, 0)
    assert found.rate is None


def test_a_type_checker_knows_which_modes_and_statuses_there_are(store: SessionStore) -> None:
    for found in status(store):
        assert_type(found.mode, Literal["inline", "followed", "live"])
        assert_type(found.status, Literal["current", "building", "old", "missing"])


def test_a_followed_one_is_as_far_behind_as_it_is(store: SessionStore, clock: Clock) -> None:
    clock.move(seconds=90)

    (found,) = of(store, "sales")

    assert (found.mode, found.position, found.lag_events, found.parked) == ("followed", 2, 1, 1)
    assert found.lag_seconds == 90
    Runner(store).run(until=3)
    (found,) = of(store, "sales")
    assert (found.position, found.lag_events, found.lag_seconds) == (3, 0, 0.0)


def test_it_is_behind_since_the_first_event_that_it_lacks_was_recorded_whenever_it_happened(
    store: SessionStore, clock: Clock
) -> None:
    Runner(store).run(until=3)
    clock.move(seconds=10)
    store.execute("c", OpenSession(at=clock.time - timedelta(days=1)))
    clock.move(seconds=30)
    store.execute("d", OpenSession())
    clock.move(seconds=60)

    assert [each.lag_seconds for each in of(store, "sales")] == [90]
    clock.move(hours=-1)
    assert [each.lag_seconds for each in of(store, "sales")] == [0]


def test_none_is_ahead_of_the_log_while_others_write_and_follow(open_store: OpenStore) -> None:
    busy = open_store(projections=followed(SPEND))
    busy.execute("a", OpenSession())

    class WithOthers(SessionStore):
        """A store that others write to whenever it has looked where the log ends."""

        @property
        def position(self) -> int:
            end = super().position
            Runner(busy).run(until=busy.execute("a", add("x")).position)
            return end

    store = WithOthers(busy.recorder.database, 1, read_only=True, projections=busy.projections)
    for _ in range(2):
        assert [each.lag_events for each in of(store, "spend")] == [0]


def test_the_rate_is_told_by_two_looks(store: SessionStore) -> None:
    rates = {each.name: each.rate for each in status(store, seconds=0.01)}

    assert rates == {
        "attachments": None,
        "customer_sessions": None,
        "sales": 0.0,
        "spend": 0.0,
    }


def test_the_rate_is_what_was_folded_between_the_looks_by_the_seconds_between_them(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = store.execute("b", add("x")).position

    waits = between_looks(monkeypatch, lambda: Runner(store, ["sales"]).run(until=last))
    rates = {each.name: each.rate for each in status(store, seconds=4)}

    assert (rates["sales"], rates["spend"], rates["customer_sessions"]) == (0.5, 0.0, None)
    assert waits == [4]


def test_what_is_being_built_is_as_far_behind_and_as_fast_as_it_is(
    store: SessionStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.pages._FIRST", 1)
    monkeypatch.setattr("projections.rebuilding.catching_up._LEFT_FOR_SWITCH", 0)
    clock.move(seconds=90)

    def build_a_page() -> None:
        rebuild(store, names=["sales"], mode="inline", stop=lambda: True)

    build_a_page()
    current, building = of(store, "sales")
    assert (current.status, current.position, current.lag_seconds) == ("current", 2, 90)
    assert (building.status, building.position) == ("building", 1)
    assert (building.lag_events, building.lag_seconds, building.parked) == (2, 100, 0)

    between_looks(monkeypatch, build_a_page)
    found = [each for each in status(store, seconds=2) if each.name == "sales"]
    assert [(each.position, each.rate, each.parked) for each in found] == [
        (2, 0.0, 1),
        (2, 0.5, 1),
    ]
    assert [each.key for each in parked(store)] == ["a"]  # of the current one alone


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "1", None])
def test_what_is_no_time_between_two_looks_is_refused(
    store: SessionStore,
    seconds: Any,
) -> None:
    with pytest.raises(InvalidValue, match=r"^seconds: seconds from 0 to 2147483, not "):
        status(store, seconds=seconds)


def test_what_is_building_and_what_is_old_is_told_by_name(store: SessionStore) -> None:
    rebuild(store, names=["spend"], mode="inline")
    rebuild(store, names=["spend"], mode="followed", stop=lambda: True)

    found = of(store, "spend")

    assert [(e.mode, e.status, e.position, e.lag_events, e.lag_seconds) for e in found] == [
        ("followed", "old", None, None, None),
        ("inline", "current", 3, 0, 0),
        ("followed", "building", 3, 0, 0),
    ]
    assert [each.build for each in found] == sorted([each.build or 0 for each in found])


def test_what_the_store_does_not_keep_yet_is_missing(store: SessionStore) -> None:
    other = replace(SPEND, name="other", mode="followed")
    newer = SessionStore(
        store.recorder.database,
        1,
        read_only=True,
        projections=(other, replace(SPEND, version=3)),
    )

    assert [(e.name, e.version, e.installed, e.status) for e in status(newer)] == [
        ("attachments", 1, None, "current"),
        ("customer_sessions", 1, None, "current"),
        ("other", None, 1, "missing"),
        ("sales", 1, None, "current"),
        ("spend", 1, 3, "current"),
    ]
    (found,) = of(newer, "other")
    assert (found.mode, found.position, found.lag_events, found.lag_seconds) == (
        "followed",
        None,
        None,
        None,
    )


def test_what_is_only_being_built_yet_is_missing_too(store: SessionStore) -> None:
    other = replace(SPEND, name="other", mode="live")
    newer = SessionStore(store.recorder.database, 1, read_only=True, projections=(other,))

    rebuild(newer, stop=lambda: True)  # and the claims, which are no projection

    assert [(e.name, e.version, e.mode, e.status) for e in status(newer)] == [
        ("attachments", 1, "inline", "current"),
        ("customer_sessions", 1, "inline", "current"),
        ("other", None, "live", "missing"),
        ("other", 1, "live", "building"),
        ("sales", 1, "followed", "current"),
        ("spend", 1, "followed", "current"),
    ]
    _, building = of(newer, "other")
    assert (building.position, building.lag_events) == (3, 0)  # nothing is folded for it


def test_keys_that_wait_are_told_by_their_position(open_store: OpenStore) -> None:
    def refuse(_: object, __: object) -> Spend:
        raise LookupError

    other = replace(SPEND, fold=refuse)
    store = open_store(projections=in_mode("inline", SALES, other))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add(BAD))
    store.execute("b", OpenSession(profile_id="q"))

    assert [(each.projection, each.key, each.position) for each in parked(store)] == [
        ("spend", "p", 1),
        ("sales", "a", 2),
        ("spend", "q", 3),
    ]
    assert {each.name: each.parked for each in status(store) if each.parked} == {
        "sales": 1,
        "spend": 2,
    }


def test_where_nothing_is_nothing_is_told(url: str) -> None:
    with SessionStore.open(url, read_only=True) as store:
        for ask in (status, parked):
            with pytest.raises(StoreNotFound):
                ask(store)
