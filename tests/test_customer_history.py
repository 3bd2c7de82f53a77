"""A customer's history: the sessions, what happened in each, and where they came from or went."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from projections import CustomerHistories, CustomerHistory, Move, Runner, Stay, rebuild
from sessions import (
    CloseSession,
    NotInHistory,
    OpenSession,
    ProfileNotFound,
    ProfileNotYet,
    ReopenSession,
    SessionStore,
    SetProfile,
    ViewBehind,
)
from tests.conftest import add
from tests.customers import DAY, TEN, guest_becomes_known, ids, order, sums, types

if TYPE_CHECKING:
    from projections import CustomerSessions
    from tests.conftest import Clock


@pytest.fixture
def guest(store: SessionStore, clock: Clock) -> Move:
    """A guest's session becomes cust's, as `guest_becomes_known` says."""
    return guest_becomes_known(store, clock)


def test_a_history_has_the_sessions_in_the_order_in_which_they_came_with_what_happened(
    store: SessionStore, histories: CustomerHistories, views: CustomerSessions
) -> None:
    store.execute("late", OpenSession())
    store.execute("b", OpenSession(profile_id="p", at=TEN - DAY))
    store.execute("a", OpenSession(profile_id="p", at=TEN - 2 * DAY))
    store.execute("other", OpenSession(profile_id="q"))
    store.execute("b", add())
    store.execute("late", SetProfile(profile_id="p"))

    history = histories.get("p")

    assert (history.profile_id, ids(history)) == ("p", ["b", "a", "late"])
    assert (history.first_session_id, history.latest_session_id) == ("b", "late")
    assert [each.customer_session for each in history.sessions] == views.of_profile("p")
    assert [each.first_session for each in history.sessions] == [True, False, False]
    for each in history.sessions:
        assert list(each.events) == list(store.events(each.session_id))
        assert history.session(each.session_id) is each
    assert history.session("b").attached == Stay(TEN - DAY, 2, first_session=True)


def test_a_session_that_is_not_in_the_history_is_an_error(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    store.execute("t", OpenSession(profile_id="q"))

    for name in ("t", "none"):
        with pytest.raises(
            NotInHistory, match=f"the history of profile 'p' has no session '{name}"
        ):
            histories.get("p").session(name)


def test_a_history_is_one_moments_where_its_sessions_are_followed_too(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    rebuild(store, names=["attachments"], mode="followed")
    store.execute("t", OpenSession(profile_id="p"))
    store.execute("s", CloseSession())

    assert [types(each.events) for each in histories.get("p").sessions] == [["SessionOpened"]]
    assert [step.recorded.position for step in histories.replay("p")] == [1]
    assert ids(histories.get("p", position=1)) == ["s"]
    with pytest.raises(ViewBehind, match="attachments has reached position 1, not 2: it is fol"):
        histories.get("p", position=2)

    store.execute("u", OpenSession(profile_id="q"))
    for moment in (None, TEN):
        with pytest.raises(ViewBehind, match="attachments has reached position 1, not 4") as late:
            histories.get("q", as_of=moment)
        assert late.value.retry
    with pytest.raises(ProfileNotYet):
        histories.get("q", position=1)
    with pytest.raises(ProfileNotFound):
        histories.get("nobody")

    Runner(store).run(until=4)

    with pytest.raises(ProfileNotYet):
        histories.get("q", position=1)
    assert ids(histories.get("q")) == ["u"]
    assert ids(histories.get("p", position=2)) == ids(histories.get("p")) == ["s", "t"]
    assert histories.get("p").figures.orders == 1


def test_a_time_before_the_first_session_that_is_followed_is_too_early_however_far_that_has_come(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    rebuild(store, names=["attachments"], mode="followed")
    store.execute("t", OpenSession(profile_id="p"))

    with pytest.raises(ProfileNotYet):
        histories.get("p", as_of=TEN - DAY)


def test_a_guests_session_moves_to_the_known_customer_with_its_past(
    guest: Move, histories: CustomerHistories, store: SessionStore
) -> None:
    history = histories.get("cust")

    assert ids(history) == ["old", "s"]
    came = Stay(guest.at, guest.position, first_session=False, came_from="guest")
    assert history.session("s").stays == (came,)
    assert list(history.session("s").events) == list(store.events("s"))
    assert sums(history.figures)[0] == "59.9"


def test_the_guests_history_says_where_it_went_and_ends_there(
    guest: Move, histories: CustomerHistories, views: CustomerSessions
) -> None:
    history = histories.get("guest")

    (left,) = history.sessions
    assert (left.belongs, left.moved_to, left.first_session) == (False, guest, True)
    assert types(left.events) == ["SessionOpened", "ItemAdded", "ProfileChanged"]
    assert left.customer_session == views.get("s", version=3)
    assert (history.first_session_id, history.latest_session_id) == (None, None)
    assert history.figures == CustomerHistory("nobody").figures


def test_a_move_counts_from_its_moment_on(guest: Move, histories: CustomerHistories) -> None:
    before = {"position": guest.position - 1}, {"as_of": guest.at - timedelta(seconds=1)}
    after = {"position": guest.position}, {"as_of": guest.at}

    for moment in before:
        assert ids(histories.get("guest", **moment)) == ["s"]
        assert ids(histories.get("cust", **moment)) == ["old"]
    for moment in after:
        assert ids(histories.get("guest", **moment)) == []
        assert ids(histories.get("guest", **moment), belongs=False) == ["s"]
        assert ids(histories.get("cust", **moment)) == ["old", "s"]


def test_a_session_comes_from_nobody_and_goes_to_nobody(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession())
    for profile in ("p", ""):
        store.execute("s", SetProfile(profile_id=profile))

    (left,) = histories.get("p").sessions

    moved = Move("", TEN, 3)
    assert left.stays == (Stay(TEN, 2, first_session=True, came_from="", moved_to=moved),)


def test_a_session_that_comes_back_brings_what_happened_meanwhile(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession(profile_id="a"))
    store.execute("t", OpenSession(profile_id="a"))
    store.execute("s", SetProfile(profile_id="b"))
    store.execute("s", add("1", "7"))
    away = histories.get("a")
    store.execute("s", SetProfile(profile_id="a"))
    store.execute("s", CloseSession())
    back, other = histories.get("a"), histories.get("b")

    assert (ids(away), ids(away, belongs=False)) == (["t"], ["s"])
    assert types(away.session("s").events) == ["SessionOpened", "ProfileChanged"]
    assert away.session("s").moved_to == Move("b", TEN, 3)
    assert ids(back) == ["t", "s"]
    assert (back.first_session_id, back.latest_session_id) == ("t", "s")
    assert list(back.session("s").events) == list(store.events("s"))
    assert back.session("s").stays == (
        Stay(TEN, 1, first_session=True, moved_to=Move("b", TEN, 3)),
        Stay(TEN, 5, first_session=True, came_from="b"),
    )
    assert (sums(back.figures)[0], sums(other.figures)[0]) == ("7", "0")
    assert (ids(other), other.session("s").moved_to) == ([], Move("a", TEN, 5))
    assert len(other.session("s").events) == 4


def test_a_reopened_order_takes_its_sums_away_when_it_moves(
    store: SessionStore, histories: CustomerHistories
) -> None:
    order(store, "s", "10", coupon="A")
    for command in (ReopenSession(), SetProfile(profile_id="q"), CloseSession()):
        store.execute("s", command)

    of_p, of_q = histories.get("p").figures, histories.get("q").figures

    assert (of_p.orders, sum(of_p.states.values()), of_p.coupons) == (0, 0, {})
    assert (of_q.orders, sums(of_q)[0], of_q.coupons) == (1, "10", {"A": 1})
