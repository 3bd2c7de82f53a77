"""What holds across sessions: exactly one first session, and redemptions that are counted."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from projections import CustomerSessions
from sessions import (
    CancelSession,
    ClaimRefused,
    CloseSession,
    InvalidValue,
    OpenSession,
    ProfileChanged,
    RemoveCoupon,
    ReopenSession,
    ReturnItem,
    ReturnItems,
    SessionOpened,
    SessionStore,
    SetProfile,
)
from sessions.claims import Claim, Usage, released_by, taken_by
from sessions.decide import Known, decide
from sessions.log.claim_rows import Ledger
from tests.conftest import add, in_threads
from tests.processes import in_processes
from tests.scenario import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.log.recorder import SessionRecorder

PROFILES = [f"p{number}" for number in range(10)]
LAST_ONE = Claim("limit", 2)


def _recomputed(store: SessionStore) -> set[tuple[str, str]]:
    held: set[tuple[str, str]] = set()
    for recorded in store.log():
        held -= {(claim.limit, recorded.stream_id) for claim in released_by(recorded.event)}
        held |= {(claim.limit, recorded.stream_id) for claim in taken_by(recorded.event)}
    return held


@pytest.fixture(autouse=True)
def stored_claims_are_those_of_the_events(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: what is stored can be computed from the events afresh."""
    stores = [request.getfixturevalue("store")] if "store" in request.fixturenames else []
    yield
    for store in stores:
        if "recorder" not in request.fixturenames:
            expected = _recomputed(store)
            claims = store.query("SELECT limit_name, holder FROM claims")
            limits = store.query("SELECT limit_name, used FROM limits")
            assert sorted(claims) == sorted(expected)
            assert dict(limits) == Counter(limit for limit, _ in expected)


@pytest.fixture
def recorder(store: SessionStore) -> SessionRecorder:
    store.execute("anonymous", OpenSession())
    return store.recorder


def _first_sessions(store: SessionStore, profile: str) -> list[bool]:
    return [view.first_session for view in CustomerSessions(store).of_profile(profile)]


def _used(store: SessionStore, limit: str) -> int:
    return sum(
        used for (used,) in store.query("SELECT used FROM limits WHERE limit_name = ?", [limit])
    )


def test_64_threads_that_open_sessions_of_one_profile_make_one_first_session(
    store: SessionStore,
) -> None:
    in_threads(64, lambda number: store.execute(f"s{number}", OpenSession(profile_id="p")))

    assert _first_sessions(store, "p") == [True] + [False] * 63


def test_64_threads_that_bring_sessions_to_one_profile_make_one_first_session(
    store: SessionStore,
) -> None:
    for number in range(64):
        store.execute(f"s{number}", OpenSession())

    in_threads(64, lambda number: store.execute(f"s{number}", SetProfile(profile_id="p")))

    assert _first_sessions(store, "p") == [True] + [False] * 63


def _open_all(url: str, number: int) -> None:
    with SessionStore.open(url) as store:
        for profile in PROFILES:
            store.execute(f"{profile}-{number}", OpenSession(profile_id=profile))


def test_8_processes_that_open_sessions_of_one_profile_make_one_first_session(
    url: str,
) -> None:
    in_processes(8, _open_all, url)

    with SessionStore.open(url) as store:
        assert [recorded.position for recorded in store.log()] == list(range(1, 81))
        for profile in PROFILES:
            assert _first_sessions(store, profile) == [True] + [False] * 7


def test_the_claim_on_the_first_session_is_never_released(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(profile_id="p"), CloseSession(), ReopenSession()])
    store.execute_many("s", [SetProfile(profile_id=""), CancelSession()])

    store.execute("t", OpenSession(profile_id="p"))

    assert _first_sessions(store, "p") == [False]


def test_a_session_that_leaves_its_profile_and_comes_back_is_first_again(
    store: SessionStore,
) -> None:
    store.execute("other", OpenSession(profile_id="q"))
    store.execute("s", OpenSession(profile_id="p"))

    moves = [store.execute("s", SetProfile(profile_id=profile)) for profile in ("q", "", "p")]

    assert [move.events[0].event for move in moves] == [
        ProfileChanged("p", "q", first_session=False),
        ProfileChanged("q", "", first_session=True),
        ProfileChanged("", "p", first_session=True),
    ]


def test_a_session_is_first_of_every_profile_that_it_was_first_to_come_to(
    store: SessionStore,
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    store.execute("s", SetProfile(profile_id="q"))

    store.execute("t", OpenSession(profile_id="q"))
    store.execute("u", OpenSession(profile_id="p"))

    assert (_first_sessions(store, "p"), _first_sessions(store, "q")) == ([False], [True, False])


def test_anonymous_sessions_are_all_first_and_claim_nothing(store: SessionStore) -> None:
    opened = [store.execute(session_id, OpenSession()) for session_id in "stu"]

    assert [CustomerSessions(store).get(o.session_id).first_session for o in opened] == [True] * 3
    assert store.query("SELECT * FROM claims") == []


def test_redemptions_are_counted_at_close_and_released_on_cancel_and_reopen(
    store: SessionStore,
) -> None:
    coupon, referral = "coupon-redemption:C", "referral-redemption:R"
    seen = []
    for session_id in ("s", "t"):
        store.execute(session_id, OpenSession(coupon="C", referral="R", cart_items=[]))
    store.execute("u", OpenSession(coupon="C", state="closed"))

    for session_id, command in (
        ("s", add()),
        ("s", CloseSession()),
        ("t", CloseSession()),
        ("s", ReopenSession()),
        ("s", CloseSession()),
        ("s", ReturnItems(items=[ReturnItem(position=0)])),
        ("t", ReopenSession()),
        ("t", RemoveCoupon()),
        ("t", CloseSession()),
        ("s", CancelSession()),
        ("t", CancelSession()),
    ):
        store.execute(session_id, command)
        seen.append((_used(store, coupon), _used(store, referral)))

    assert seen == [
        (1, 0), (2, 1), (3, 2), (2, 1), (3, 2), (3, 2), (2, 1), (2, 1), (2, 2), (1, 1), (1, 0)
    ]  # fmt: skip


def test_what_was_never_closed_redeems_and_releases_nothing(store: SessionStore) -> None:
    store.execute("s", OpenSession(coupon="C", state="closed"))
    store.execute_many("t", [OpenSession(coupon="C"), CancelSession()])

    assert _used(store, "coupon-redemption:C") == 1


def _ledger(recorder: SessionRecorder) -> Ledger:
    return Ledger(partial(recorder.claims.usage, recorder.database.query))


def _usage(recorder: SessionRecorder, limit: str, holder: str) -> Usage:
    """What is stored."""
    return recorder.claims.usage(recorder.database.query, limit, holder)


def _write(recorder: SessionRecorder, ledger: Ledger) -> None:
    with recorder.database.writing() as connection:
        recorder.claims.write(connection, ledger)


def test_a_decision_without_what_it_asks_for_says_what_is_lacking() -> None:
    known = Known("s", datetime(2026, 11, 23, tzinfo=UTC))
    said = r"known.used: the usage of each limit that `asks` names, such as 'first-session:p', not"

    for command, session in (
        (OpenSession(profile_id="p"), None),
        (SetProfile(profile_id="p"), folded(SessionOpened(first_session=True))),
    ):
        with pytest.raises(InvalidValue, match=said):
            decide(command, session, known)


def test_a_limit_that_is_used_up_refuses_and_counts_nothing(recorder: SessionRecorder) -> None:
    ledger = _ledger(recorder)
    ledger.take(LAST_ONE, "s")
    ledger.take(LAST_ONE, "t")
    with pytest.raises(ClaimRefused, match=r"limit .* has no room for another claim"):
        ledger.take(LAST_ONE, "u")
    _write(recorder, ledger)

    with pytest.raises(ClaimRefused):
        _ledger(recorder).take(LAST_ONE, "u")
    assert _usage(recorder, "limit", "t") == Usage(2, held=True)


def test_taken_twice_by_one_holder_it_is_once(recorder: SessionRecorder) -> None:
    for _ in range(2):
        ledger = _ledger(recorder)
        for _ in range(2):
            ledger.take(LAST_ONE, "s")
        _write(recorder, ledger)

    assert _usage(recorder, "limit", "s") == Usage(1, held=True)
    assert _usage(recorder, "limit", "t") == Usage(1, held=False)


def test_released_it_is_free_again_and_only_its_holder_can_release_it(
    recorder: SessionRecorder,
) -> None:
    ledger = _ledger(recorder)
    ledger.take(LAST_ONE, "s")
    ledger.release(LAST_ONE, "t")
    _write(recorder, ledger)
    assert _usage(recorder, "limit", "s") == Usage(1, held=True)

    ledger = _ledger(recorder)
    ledger.release(LAST_ONE, "s")
    ledger.release(LAST_ONE, "s")
    _write(recorder, ledger)
    assert _usage(recorder, "limit", "s") == Usage(0, held=False)
    assert recorder.database.query("SELECT * FROM limits") == []


def test_a_limit_without_a_number_admits_any_number(recorder: SessionRecorder) -> None:
    ledger = _ledger(recorder)
    for number in range(100):
        ledger.take(Claim("open"), f"s{number}")
    _write(recorder, ledger)

    assert _usage(recorder, "open", "s0").count == 100


def test_what_is_decided_on_top_of_a_ledger_counts_once_it_is_absorbed(
    recorder: SessionRecorder,
) -> None:
    ledger = _ledger(recorder)
    ledger.take(LAST_ONE, "s")
    dropped, kept = Ledger(ledger.usage), Ledger(ledger.usage)
    dropped.take(LAST_ONE, "t")
    kept.release(LAST_ONE, "s")
    kept.take(LAST_ONE, "u")
    assert ledger.usage("limit", "u") == Usage(1, held=False)

    ledger.absorb(kept)
    _write(recorder, ledger)

    held = {holder: _usage(recorder, "limit", holder) for holder in "stu"}
    assert held == {"s": Usage(1, held=False), "t": Usage(1, held=False), "u": Usage(1, held=True)}
