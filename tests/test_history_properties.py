"""For any history of any customers: what the fold says is what the log says, read naively."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import CustomerHistories, CustomerHistory, CustomerSessions
from sessions import ProfileNotFound, Refused, SetProfile
from tests.conftest import Clock
from tests.histories import any_kind, closing, opening, reopening

if TYPE_CHECKING:
    from sessions import Recorded, SessionStore
    from sessions.commands import Command
    from tests.conftest import OpenStore

pytestmark = pytest.mark.no_cover

STATES = ("open", "closed", "partially_returned", "cancelled")
PROFILES = ("p", "q")

applications = count(1)
names = st.sampled_from("stu")
moving = st.builds(SetProfile, profile_id=st.sampled_from(["p", "p", "q", ""]))
likely = [*any_kind, *[moving] * 10, *[closing, reopening] * 3]
later = st.tuples(names, st.sampled_from(likely).flatmap(lambda kind: kind))
scripts = st.builds(
    lambda openings, others: [*zip("stu", openings, strict=True), *others],
    st.tuples(opening, opening, opening),
    st.lists(later, min_size=10, max_size=40),
)


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(scripts, st.data())
def test_a_history_is_what_the_log_says_at_any_moment(
    open_store: OpenStore, script: list[tuple[str, Command]], data: st.DataObject
) -> None:
    clock = Clock()
    store = open_store(next(applications), now=clock)
    _play(store, clock, script)
    histories, log = CustomerHistories(store), list(store.log())
    position = data.draw(st.integers(0, len(log)))
    at = data.draw(st.sampled_from([recorded.at for recorded in log]))

    for profile in PROFILES:
        known = [recorded for recorded in log if recorded.position <= position]
        happened = [recorded for recorded in log if recorded.at <= at]
        moments: list[tuple[dict[str, Any], list[Recorded]]] = [
            ({}, log), ({"position": position}, known), ({"as_of": at}, happened)
        ]  # fmt: skip
        for moment, events in moments:
            naive = _naive(store, profile, events)
            if not naive["sessions"]:
                assert _asked(histories, profile, moment) is None
                continue
            history = histories.get(profile, **moment)
            assert _shown(history) == naive
            _check_replay(histories, history, moment)


def _play(store: SessionStore, clock: Clock, script: list[tuple[str, Command]]) -> None:
    for session_id, command in script:
        clock.move(seconds=7)
        try:
            store.execute(session_id, command)
        except Refused:
            continue


def _asked(
    histories: CustomerHistories, profile: str, moment: dict[str, Any]
) -> CustomerHistory | None:
    try:
        return histories.get(profile, **moment)
    except ProfileNotFound:
        return None


def _check_replay(
    histories: CustomerHistories, history: CustomerHistory, moment: dict[str, Any]
) -> None:
    """It has each event of the history once, in order, and each history is that of its position."""
    steps = list(histories.replay(history.profile_id, **moment))
    assert steps[-1].history == history
    events = [recorded for each in history.sessions for recorded in each.events]
    assert [step.recorded for step in steps] == sorted(events, key=lambda event: event.position)
    if "as_of" not in moment:
        for step in steps[:: max(1, len(steps) // 8)]:
            asked = _asked(histories, history.profile_id, {"position": step.recorded.position})
            assert (asked or CustomerHistory(history.profile_id)) == step.history


def _shown(history: CustomerHistory) -> dict[str, Any]:
    figures = history.figures
    return {
        "sessions": [
            (each.session_id, each.attached.position, each.moved_to and each.moved_to.profile_id,
             list(each.events), each.customer_session)
            for each in history.sessions
        ],
        "first and latest": (history.first_session_id, history.latest_session_id),
        "states": figures.states,
        "sums": [figures.gross, figures.discounts, figures.returned, figures.net],
        "codes": (figures.coupons, figures.referrals),
        "gaps": [gap.total_seconds() for gap in figures.gaps],
        "average": figures.average_gap and figures.average_gap.total_seconds(),
    }  # fmt: skip


def _naive(store: SessionStore, profile: str, log: list[Recorded]) -> dict[str, Any]:
    """A history by going through all events again for each thing that is asked."""
    found = [_naive_session(store, profile, log, session_id) for session_id in "stu"]
    sessions = sorted([each for each in found if each], key=lambda each: int(each[1]))
    ours = [each for each in sessions if each[2] is None]
    orders = [each for each in ours if each[4].state in {"closed", "partially_returned"}]
    views = [each[4] for each in orders]
    gross = sum(Fraction(view.total) for view in views)
    discounts = sum(Fraction(value) for view in views for value in view.discounts.values())
    items = [item for view in views for item in view.cart_items]
    returned = sum(Fraction(item.price) * item.returned_quantity for item in items)
    times = sorted(
        [event.at for event in each[3] if event.type == "SessionClosed"][-1] for each in orders
    )
    gaps = [(times[i] - times[i - 1]).total_seconds() for i in range(1, len(times))]
    return {
        "sessions": sessions,
        "first and latest": (ours[0][0], ours[-1][0]) if ours else (None, None),
        "states": {state: [each[4].state for each in ours].count(state) for state in STATES},
        "sums": [_decimal(x) for x in (gross, discounts, returned, gross - discounts - returned)],
        "codes": (Counter(v.coupon for v in views if v.coupon),
                  Counter(v.referral for v in views if v.referral)),
        "gaps": gaps,
        "average": round(sum(gaps) / len(gaps), 6) if gaps else None,
    }  # fmt: skip


def _naive_session(
    store: SessionStore, profile: str, log: list[Recorded], session_id: str
) -> tuple[Any, ...]:
    stream = [recorded for recorded in log if recorded.stream_id == session_id]
    moves = [event for event in stream if hasattr(event.event, "first_session")]
    came = [event for event in moves if getattr(event.event, "profile_id", None) == profile]
    if not came:
        return ()
    next_move = [event for event in moves if event.position > came[-1].position]
    went = next_move[0].event if next_move else None
    events = [event for event in stream if not next_move or event.position <= next_move[0].position]
    view = CustomerSessions(store).get(session_id, version=events[-1].version)
    return session_id, came[-1].position, went and getattr(went, "profile_id", ""), events, view


def _decimal(value: Fraction | int) -> Decimal:
    exact = Fraction(value)
    return Decimal(exact.numerator * 10**6 // exact.denominator).scaleb(-6)
