"""A customer's history at any moment, and event by event."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from projections import CustomerHistories, CustomerHistory, HistoryStep, Move
from projections.customer_history import fold
from sessions import (
    CancelSession,
    InvalidValue,
    OpenSession,
    PositionNotFound,
    ProfileNotFound,
    ProfileNotYet,
    SessionStore,
    SetProfile,
    SetQuantity,
    StoreNotFound,
)
from tests.conftest import add
from tests.customers import DAY, TEN, guest_becomes_known, ids, order, sums
from tests.test_times import Moment

if TYPE_CHECKING:
    from tests.conftest import Clock, OpenStore


@pytest.fixture
def guest(store: SessionStore, clock: Clock) -> Move:
    """A guest's session becomes cust's, as `guest_becomes_known` says."""
    return guest_becomes_known(store, clock)


def test_what_was_recorded_late_had_happened_and_was_known_late(
    store: SessionStore, histories: CustomerHistories
) -> None:
    order(store, "s", "1", at=TEN - DAY)
    order(store, "late", "2", at=TEN - 3 * DAY)

    happened = histories.get("p", as_of=TEN - 2 * DAY)
    known = histories.get("p", position=store.position - 1)

    assert (ids(happened), sums(happened.figures)[0]) == (["late"], "2")
    assert (ids(known), sums(known.figures)[0]) == (["s", "late"], "1")
    assert known.session("late").customer_session.state == "open"
    assert histories.get("p", as_of=TEN) == histories.get("p")


def test_a_profile_that_nobody_knows_is_an_error(
    store: SessionStore, histories: CustomerHistories
) -> None:
    with pytest.raises((ProfileNotFound, StoreNotFound)):
        histories.get("p")
    store.execute("other", OpenSession())
    store.execute("s", OpenSession(profile_id="p"))

    for moment in ({}, {"as_of": TEN}, {"position": 1}):
        with pytest.raises(ProfileNotFound, match=r"^no session ever came to profile 'nobody'$"):
            histories.get("nobody", **moment)
    with pytest.raises(ProfileNotYet, match="no session had come to profile 'p' by position 1"):
        histories.get("p", position=1)
    with pytest.raises(ProfileNotYet, match="no session had come to profile 'p' by 2026-11-22T10"):
        histories.replay("p", as_of=TEN - DAY)
    with pytest.raises(ProfileNotYet, match="no session had come to profile 'p' by 2026-11-22T10"):
        histories.get("p", as_of=Moment.fromisoformat("2026-11-22T10:00:00Z"))
    with pytest.raises(PositionNotFound, match="no position 3: its newest is 2"):
        histories.get("p", position=3)


WRONG: list[tuple[Any, dict[str, Any]]] = [
    ("", {}), (None, {}), ("p\0", {}), ("p", {"position": -1}), ("p", {"position": True}),
    ("p", {"as_of": TEN.replace(tzinfo=None)}), ("p", {"as_of": "2026-11-23"}),
    ("p", {"as_of": TEN, "position": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "moment"), WRONG)
def test_what_is_no_customer_or_no_moment_is_refused(
    store: SessionStore,
    histories: CustomerHistories,
    profile: Any,
    moment: dict[str, Any],
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    with pytest.raises(InvalidValue):
        histories.get(profile, **moment)
    with pytest.raises(InvalidValue):
        histories.replay(profile, **moment)


def test_a_history_is_that_of_the_application(open_store: OpenStore) -> None:
    for application in (1, 2):
        open_store(application).execute(f"of-{application}", OpenSession(profile_id="p"))
        open_store(application).execute("same", OpenSession(profile_id="p"))

    for application in (1, 2):
        history = CustomerHistories(open_store(application)).get("p")
        assert ids(history) == [f"of-{application}", "same"]


def test_a_batch_sees_its_own_writes(store: SessionStore, histories: CustomerHistories) -> None:
    with store.batch():
        order(store, "s", "1")
        inside = histories.get("p")

    assert inside == histories.get("p")


def test_a_replay_is_the_history_after_each_event(
    store: SessionStore, histories: CustomerHistories
) -> None:
    order(store, "a", "1", coupon="X")
    order(store, "other", "5", profile_id="q")
    order(store, "b", "2")
    store.execute("a", CancelSession())

    steps = list(histories.replay("p"))

    assert [(step.recorded.stream_id, step.recorded.type) for step in steps] == [
        ("a", "SessionOpened"), ("a", "CartReplaced"), ("a", "CouponApplied"),
        ("a", "SessionClosed"), ("b", "SessionOpened"), ("b", "CartReplaced"),
        ("b", "SessionClosed"), ("a", "SessionCancelled"),
    ]  # fmt: skip
    gross = [str(step.history.figures.gross) for step in steps]
    assert gross == ["0", "0", "0", "1", "1", "1", "3", "2"]
    for step in steps:
        assert step.history == histories.get("p", position=step.recorded.position)
        assert step.belongs
        assert step.session is not None
        assert step.session.events[-1] == step.recorded
    assert steps[-1].history == histories.get("p")


def test_what_a_session_brought_along_is_replayed_at_its_place_and_counts_when_it_came(
    guest: Move, histories: CustomerHistories
) -> None:
    of_cust = [_told(step) for step in histories.replay("cust")]
    of_guest = [_told(step) for step in histories.replay("guest")]

    assert of_cust == [
        ("old", "SessionOpened", True, 1),
        ("s", "SessionOpened", False, 1),
        ("s", "ItemAdded", False, 1),
        ("s", "ProfileChanged", True, 2),
        ("s", "SessionClosed", True, 2),
    ]
    assert of_guest == [
        ("s", "SessionOpened", True, 1),
        ("s", "ItemAdded", True, 1),
        ("s", "ProfileChanged", False, 0),
    ]
    assert len(list(histories.replay("cust", position=guest.position - 1))) == 1
    assert len(list(histories.replay("guest", as_of=guest.at))) == 3


def _told(step: HistoryStep) -> tuple[str, str, bool, int]:
    recorded, states = step.recorded, step.history.figures.states
    return recorded.stream_id, recorded.type, step.belongs, sum(states.values())


def test_a_fold_leaves_the_history_before_it_as_it_was(
    store: SessionStore, histories: CustomerHistories
) -> None:
    order(store, "s", "1", coupon="C")
    before = histories.get("p", position=1)
    (event,) = islice(store.log(after=1), 1)

    after = fold(before, event)

    assert before == histories.get("p", position=1)
    assert after == histories.get("p", position=2)
    assert fold(CustomerHistory("q"), event) == CustomerHistory("q")


def test_one_history_may_go_on_in_two_ways(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    before = histories.get("p")
    (one, other) = (store.execute("s", command).events[0] for command in (add("one"), add("other")))
    other = replace(other, version=one.version)

    after_one, after_other = fold(before, one), fold(before, other)

    (opened,) = before.session("s").events
    assert after_one.session("s").events == (opened, one)
    assert after_other.session("s").events == (opened, other)
    assert after_one.session("s").events[-1:] == (one,)
    assert fold(before, one) == after_one != after_other


def test_a_replay_of_a_long_session_takes_memory_for_its_events_and_not_for_their_square(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute_many("s", [OpenSession(profile_id="p"), add()])
    store.execute_many("s", [SetQuantity(position=0, quantity=2 + n % 2) for n in range(4000)])

    tracemalloc.start()
    replayed = list(histories.replay("p"))
    (_, peak) = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(replayed) == store.position
    assert peak < 30 * 2**20


def test_a_history_is_that_of_one_moment_whoever_writes_meanwhile(
    store: SessionStore, histories: CustomerHistories, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(store, "s", "1")
    store.execute("guest", OpenSession(profile_id="q"))
    expected, query = histories.get("p"), store.rows

    def interrupted(*args: Any, **options: Any) -> list[Any]:
        rows = query(*args, **options)
        order(store, f"new-{len(asked)}", "9")
        store.execute("s", CancelSession()) if not asked else None
        store.execute("guest", SetProfile(profile_id="p"))
        asked.append(args[0])
        return rows

    asked: list[str] = []
    monkeypatch.setattr(store, "rows", interrupted)
    assert histories.get("p") == expected
    assert len(asked) == 3


def test_a_customer_with_many_sessions_is_read_in_few_statements(
    store: SessionStore, histories: CustomerHistories, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.batch():
        for number in range(501):
            store.execute(f"s{number}", OpenSession(profile_id="p", at=TEN))
    asked: list[str] = []
    query = store.rows

    def counted(sql: str, *args: Any, **options: Any) -> list[Any]:
        asked.append(sql)
        return query(sql, *args, **options)

    monkeypatch.setattr(store, "rows", counted)
    history = histories.get("p")

    assert ids(history) == [f"s{number}" for number in range(501)]
    assert len(asked) == 4
