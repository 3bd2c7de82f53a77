"""How the projections of a store are doing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, assert_type

import pytest

from projections import ProjectionStatus, Runner, parked, rebuild, status
from sessions import InvalidValue, OpenSession, SessionStore, StoreNotFound
from tests.conftest import add
from tests.sample_projections import BAD, SALES, SPEND, Spend, followed, in_mode

if TYPE_CHECKING:
    from tests.conftest import OpenStore


@pytest.fixture
def store(open_store: OpenStore) -> SessionStore:
    """Three events, of which the followers have seen two, and a key waits."""
    store = open_store(projections=followed(SALES, SPEND))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add(BAD))
    Runner(store, page=2).run(until=2)
    store.execute("b", OpenSession(profile_id="p"))
    return store


def of(store: SessionStore, name: str) -> list[ProjectionStatus]:
    return [each for each in status(store) if each.name == name]


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


def test_a_followed_one_is_as_far_behind_as_it_is(store: SessionStore) -> None:
    (found,) = of(store, "sales")

    assert (found.mode, found.position, found.lag_events, found.parked) == ("followed", 2, 1, 1)
    assert found.lag_seconds is not None
    assert 0 <= found.lag_seconds < 60
    Runner(store).run(until=3)
    (found,) = of(store, "sales")
    assert (found.position, found.lag_events, found.lag_seconds) == (3, 0, 0.0)


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

    assert [(each.mode, each.status, each.position) for each in found] == [
        ("followed", "old", None),
        ("inline", "current", 3),
        ("followed", "building", 3),
    ]
    assert [each.build for each in found] == sorted([each.build or 0 for each in found])


def test_what_the_store_does_not_keep_yet_is_missing(store: SessionStore) -> None:
    other = replace(SPEND, name="other", mode="inline")
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
