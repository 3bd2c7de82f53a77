"""When a command happened: as it says, within reason, or else now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from projections import verify
from sessions import (
    CancelSession,
    CloseSession,
    InvalidValue,
    OpenSession,
    ReopenSession,
    SetProfile,
    clock,
)
from tests.scenario import AT, NOW, OPENED, Given, given

if TYPE_CHECKING:
    from tests.conftest import OpenStore

TICK = timedelta(microseconds=1)
FIVE_MINUTES = timedelta(minutes=5)
EAST = timezone(timedelta(hours=14))
WEST = timezone(timedelta(hours=-12))


def test_a_command_without_a_time_happens_now() -> None:
    assert given(OPENED).when(CloseSession()).decide().at == NOW
    assert given().when(OpenSession()).decide().at == NOW


def test_a_clock_that_lags_is_lifted_to_the_latest_event() -> None:
    lagging = given(OPENED).when(CloseSession(), now=AT - timedelta(hours=1))
    assert lagging.decide().at == AT
    assert lagging.after().updated == AT
    assert given().when(OpenSession(), now=AT - timedelta(hours=1)).decide().at == AT - timedelta(
        hours=1
    )


def test_a_command_may_happen_with_the_latest_event_but_not_before_it() -> None:
    assert given(OPENED).when(CloseSession(at=AT)).decide().at == AT
    given(OPENED).when(CloseSession(at=AT - TICK)).refused(
        InvalidValue,
        field="at",
        rule=f"no earlier than the session's latest event at {clock.text(AT)}",
    )


def test_the_latest_event_counts_and_not_the_first() -> None:
    later = given(OPENED).when(SetProfile(profile_id="cust-7", at=AT + timedelta(minutes=9)))
    session = Given(later.after())
    session.when(CloseSession(at=AT + timedelta(minutes=9))).decide()
    session.when(CloseSession(at=AT + timedelta(minutes=8))).refused(InvalidValue, field="at")


def test_a_command_may_be_5_minutes_ahead_of_the_clock_and_no_more() -> None:
    edge, rule = NOW + FIVE_MINUTES, "no more than five minutes ahead of the clock"
    assert given(OPENED).when(CloseSession(at=edge)).decide().at == edge
    assert given().when(OpenSession(at=edge)).decide().at == edge
    given(OPENED).when(CloseSession(at=edge + TICK)).refused(InvalidValue, field="at", rule=rule)
    given().when(OpenSession(at=edge + TICK)).refused(InvalidValue, field="at", rule=rule)


def test_after_a_command_ahead_of_the_clock_a_default_time_is_lifted_to_it() -> None:
    ahead = Given(given(OPENED).when(CloseSession(at=NOW + FIVE_MINUTES)).after())
    assert ahead.when(CancelSession()).decide().at == NOW + FIVE_MINUTES
    ahead.when(CancelSession(at=NOW)).refused(InvalidValue, field="at")


def test_a_session_may_have_been_opened_at_any_time_in_the_past() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert given().when(OpenSession(at=first)).decide().at == first


@pytest.mark.parametrize("zone", [EAST, WEST, UTC])
def test_a_time_is_an_instant_whatever_its_timezone(zone: timezone) -> None:
    decision = given(OPENED).when(CloseSession(at=AT.astimezone(zone))).decide()
    assert decision.at == AT
    assert decision.at.utcoffset() == timedelta(0)
    past = (AT - TICK).astimezone(zone)
    given(OPENED).when(CloseSession(at=past)).refused(InvalidValue, field="at")


@pytest.mark.parametrize(
    "wrong", [AT.replace(tzinfo=None), "2026-11-23T10:00:00Z", AT.date(), 0, False, ""], ids=ascii
)
def test_a_time_has_a_timezone(wrong: Any) -> None:
    rule = "a time with a timezone"
    given(OPENED).when(CloseSession(at=wrong)).refused(InvalidValue, field="at", rule=rule)
    given().when(OpenSession(at=wrong)).refused(InvalidValue, field="at", rule=rule)


class Nowhere(tzinfo):
    """A timezone that does not say how far it is from UTC."""

    def utcoffset(self, dt: datetime | None) -> None:
        del dt

    dst = tzname = utcoffset


def test_a_timezone_without_an_offset_is_none() -> None:
    nowhere = NOW.replace(tzinfo=Nowhere())
    given(OPENED).when(CloseSession(at=nowhere)).refused(InvalidValue, field="at")


@pytest.mark.parametrize(
    "beyond",
    [datetime(1, 1, 1, 13, 59, tzinfo=EAST), datetime(9999, 12, 31, 12, tzinfo=WEST)],
    ids=str,
)
def test_a_time_that_utc_has_no_year_for_is_refused(beyond: datetime) -> None:
    rule = "a time from year 1 to 9999 in UTC"
    given().when(OpenSession(at=beyond)).refused(InvalidValue, field="at", rule=rule)
    given(OPENED).when(CloseSession(at=beyond)).refused(InvalidValue, field="at", rule=rule)


def test_the_first_moment_that_utc_has_a_year_for_is_a_time() -> None:
    edge = datetime(1, 1, 1, 14, tzinfo=EAST)
    assert given().when(OpenSession(at=edge)).decide().at == datetime(1, 1, 1, tzinfo=UTC)


class Moment(datetime):
    """A time as other libraries have it."""


def test_a_time_of_another_class_is_kept_as_a_plain_one() -> None:
    moment = Moment(2026, 11, 23, 10, 30, tzinfo=UTC)
    closing = given(OPENED).when(CloseSession(at=moment))
    assert closing.decide().at == moment
    for command in (ReopenSession(), CancelSession()):  # their events hold the time of closing
        next_one = Given(closing.after()).when(command)
        next_one.then(*next_one.decide().events)


def test_a_clock_may_be_of_any_timezone(open_store: OpenStore) -> None:
    store = open_store(now=lambda: NOW.astimezone(EAST))

    store.execute("s", OpenSession())

    (opened,) = store.events("s")
    assert (opened.at, opened.at.tzinfo, opened.recorded_at) == (NOW, UTC, NOW)
    assert given(OPENED).when(CloseSession(), now=NOW.astimezone(EAST)).decide().at.tzinfo is UTC
    assert verify(store) == []


@pytest.mark.parametrize("says", [datetime.min, datetime(1969, 12, 31), datetime.max])  # noqa: DTZ001, DTZ901  it must have a timezone
def test_a_clock_may_say_any_time(open_store: OpenStore, says: datetime) -> None:
    says = says.replace(tzinfo=UTC)

    (opened,) = open_store(now=lambda: says).execute("s", OpenSession(at=says)).events

    assert (opened.at, opened.recorded_at) == (says, says)
    assert UUID(opened.command_id).version == 7


def test_a_clock_without_a_timezone_is_refused(open_store: OpenStore) -> None:
    naive = NOW.replace(tzinfo=None)
    store = open_store(now=lambda: naive)

    with pytest.raises(InvalidValue, match="now: a time with a timezone"):
        store.execute("s", OpenSession())
    given(OPENED).when(CloseSession(), now=naive).refused(InvalidValue, field="now")
    assert store.position == 0


def test_a_clock_that_is_refused_once_leaves_nothing_of_the_command(open_store: OpenStore) -> None:
    times = [NOW.replace(tzinfo=None), NOW]
    store = open_store(now=lambda: times.pop(0))

    with pytest.raises(InvalidValue):
        store.execute("s", OpenSession(), idempotency_key="k")

    assert (store.position, store.answered("k")) == (0, None)
    assert store.execute("s", OpenSession(), idempotency_key="k").version == 1


def test_what_is_kept_for_a_key_is_of_the_time_of_its_events(open_store: OpenStore) -> None:
    times = [NOW + number * TICK for number in range(3)]
    store = open_store(now=lambda: times.pop(0))

    store.execute("s", OpenSession(), idempotency_key="k")

    same = (
        "SELECT idempotency_key FROM answers JOIN events "
        "ON answers.recorded_at = events.recorded_at"
    )
    assert (len(times), store.query(same)) == (2, [("k",)])
