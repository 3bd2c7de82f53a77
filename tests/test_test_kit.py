"""The kit for tests of projections says what is wrong with one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace as changed

from projections import Column, Projection, Rows
from projections.testing import AT, given
from sessions import (
    InvalidValue,
    ItemsReturned,
    ReturnedLine,
    SessionCancelled,
    SessionClosed,
    SessionOpened,
    SessionReopened,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions import Recorded


class Count(msgspec.Struct):
    events: int = 0

    @property
    def shown(self) -> Any:
        return self.events


def _count(view: Count | None, _: Recorded) -> Count:
    return Count(1 + (view.events if view else 0))


COUNTS = Projection(name="counts", version=1, view=Count, fold=_count)
ORDER = given(SessionOpened(first_session=True), SessionClosed(total=Decimal(60)))


def test_another_view_than_the_expected_one_is_shown() -> None:
    folded = ORDER.when_folded(COUNTS).then("order-1", Count(2)).then_nothing("order-2")

    with pytest.raises(AssertionError, match=r"of 'order-1' is Count\(events=2\), not .*events=3"):
        folded.then("order-1", Count(3))
    with pytest.raises(AssertionError, match=r"no event touches 'order-2', only \['order-1'\]"):
        folded.then("order-2", Count(1))
    with pytest.raises(AssertionError, match=r"an event touches 'order-1': its view is Count"):
        folded.then_nothing("order-1")


class Days(msgspec.Struct, frozen=True):
    at: tuple[datetime, ...] = ()


def test_what_is_no_event_or_no_moment_is_refused() -> None:
    opened: Any = SessionOpened
    with pytest.raises(InvalidValue, match="events: event instances, not <class"):
        given(opened)
    with pytest.raises(InvalidValue, match="at: "):
        given(SessionOpened(first_session=True), at=datetime(2026, 11, 23, 10))  # noqa: DTZ001  it has no timezone
    last = given(SessionOpened(first_session=True), at=datetime.max.replace(tzinfo=UTC))
    with pytest.raises(InvalidValue, match="at: a time from year 1 to 9999"):
        last.and_given(SessionOpened(first_session=True), session="order-2")
    assert (
        last.and_given(SessionOpened(first_session=True), session="order-2", at=AT).log[1].at == AT
    )


def test_events_are_as_they_are_when_they_were_stored() -> None:
    total: Any = 60
    items: Any = [ReturnedLine(position=0, sku="a", quantity=1, price=Decimal(3))]

    log = given(SessionClosed(total), ItemsReturned(items)).log

    closed, returned = [each.event for each in log]
    assert isinstance(closed, SessionClosed)
    assert isinstance(returned, ItemsReturned)
    assert (type(closed.total), type(returned.items)) == (Decimal, tuple)
    assert [UUID(each.command_id).version for each in log] == [7, 7]
    assert len({each.command_id for each in log}) == 2


@pytest.mark.parametrize("wrong", [{"total": None}, {"total": "sixty"}, {"total": object()}])
def test_an_event_that_no_store_could_hold_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="events: events that a store can hold, not SessionClo"):
        given(SessionClosed(**wrong))


def test_what_no_store_would_take_is_refused() -> None:
    opened, no_text, no_json = SessionOpened(first_session=True), cast("Any", 5), object()
    for session in ("", no_text):
        with pytest.raises(InvalidValue, match="session: "):
            given(opened, session=session)
    with pytest.raises(InvalidValue, match=r"metadata\.till: "):
        given(opened, metadata={"till": no_json})
    with pytest.raises(InvalidValue, match="projection: a Projection, not 'counts'"):
        ORDER.when_folded(cast("Any", "counts"))


def test_events_may_be_given_on_any_day() -> None:
    days = Projection(
        name="days",
        version=1,
        view=Days,
        fold=lambda view, recorded: Days((*(view or Days()).at, recorded.at)),
    )
    second, later = timedelta(seconds=1), AT + timedelta(days=3)

    (
        given(SessionOpened(first_session=True), SessionClosed(total=Decimal(60)))
        .and_given(SessionReopened(AT), SessionClosed(total=Decimal(60)), at=later)
        .and_given(SessionCancelled("closed", later))
        .when_folded(days)
        .then("order-1", Days((AT, AT + second, later, later + second, later + 2 * second)))
    )
    once = given(SessionOpened(first_session=True), at=later)
    once.when_folded(days).then("order-1", Days((later,)))


class Steps(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_fold_that_is_another_one_after_a_while_is_told(most: int) -> None:
    called = count(1)

    def begins_anew(view: Steps | None, _: Recorded) -> Steps:
        return Steps(1 + (view.number if view and next(called) <= most else 0))

    steps = Projection(name="steps", version=1, view=Steps, fold=begins_anew)

    with pytest.raises(AssertionError, match=r"in pages of \[.*\] events, the views are"):
        ORDER.when_folded(steps)


class Payer(msgspec.Struct, frozen=True):
    profile: str = ""


def test_a_fold_that_remembers_other_events_is_told() -> None:
    profiles: dict[str, str] = {}

    def remembers(_: Payer | None, recorded: Recorded) -> Payer:
        if isinstance(recorded.event, SessionOpened):
            profiles[recorded.stream_id] = recorded.event.profile_id
            return Payer()
        return Payer(profiles.get(recorded.stream_id, ""))

    payers = Projection(name="payers", version=1, view=Payer, fold=remembers)
    opened = SessionOpened(first_session=True, profile_id="p")

    said = r"makes Payer\(profile=''\) of SessionClosed at position 2 alone"
    with pytest.raises(AssertionError, match=rf"payers {said}, but Payer\(profile='p'\) after oth"):
        given(opened, SessionClosed(total=Decimal(60))).when_folded(payers)


def test_a_fold_that_needs_a_view_may_raise_without_one() -> None:
    def goes_on(view: Steps | None, recorded: Recorded) -> Steps:
        if isinstance(recorded.event, SessionOpened):
            return Steps(1)
        assert view is not None
        return Steps(1 + view.number)

    steps = Projection(name="steps", version=1, view=Steps, fold=goes_on)

    ORDER.when_folded(steps).then("order-1", Steps(2))


def test_keys_may_come_in_any_order() -> None:
    turns = count()

    def of_both(_: Recorded) -> list[str]:
        return ["a", "b"] if next(turns) % 2 else ["b", "a"]

    both = replace(COUNTS, key=Column("name", "id"), keys=of_both)

    ORDER.when_folded(both).then("a", Count(2)).then("b", Count(2))


@pytest.mark.parametrize("lacking", ["", None])
def test_keys_that_remember_earlier_events_are_told(lacking: str | None) -> None:
    profiles: dict[str, str] = {}

    def of_profile(recorded: Recorded) -> list[str]:
        if isinstance(recorded.event, SessionOpened):
            profiles[recorded.stream_id] = recorded.event.profile_id
        if lacking is None:
            return [profiles[recorded.stream_id]]
        return [profile for profile in [profiles.get(recorded.stream_id)] if profile]

    orders = given(
        SessionOpened(first_session=True, profile_id="p"), SessionClosed(total=Decimal(60))
    )
    counts = replace(COUNTS, key=Column("profile", "id"), keys=of_profile)

    first = r"nothing \(it raises\)" if lacking is None else r"\[\]"
    said = rf"{first} for SessionClosed at position 2 alone, but \['p'\] after other events"
    with pytest.raises(AssertionError, match=rf"`keys` of counts gives {said}"):
        orders.when_folded(counts)


def test_keys_that_change_their_event_are_told() -> None:
    def marks(recorded: Recorded) -> list[str]:
        recorded.metadata["seen"] = len(recorded.metadata)
        return [recorded.stream_id]

    marking = replace(COUNTS, key=Column("name", "id"), keys=marks)

    with pytest.raises(AssertionError, match="`keys` of counts changes the event"):
        ORDER.when_folded(marking)


class Names(msgspec.Struct):
    names: list[str] = []


def test_a_fold_that_changes_its_view_in_place_is_told() -> None:
    def adds(view: Names | None, recorded: Recorded) -> Names:
        names = view.names if view else []
        names.append(recorded.type)
        return Names(names)

    with pytest.raises(AssertionError, match="the fold of names changes the view that it is given"):
        ORDER.when_folded(Projection(name="names", version=1, view=Names, fold=adds))


def _twice(view: Count) -> Sequence[Sequence[object]]:
    return [("sku", number) for number in range(view.events)]


ROWS: Rows[Count] = Rows("rows", (Column("sku"), Column("n", "integer")), key=("sku",), of=_twice)
WRONG: Any = "two"


@pytest.mark.parametrize(
    ("projection", "reason"),
    [
        (replace(COUNTS, columns=(Column("shown", "text"),)), r"counts\.shown: text, not"),
        (replace(COUNTS, fold=lambda *_: Count(WRONG)), "Expected `int`, got `str`"),
        (replace(COUNTS, rows=(ROWS,)), "rows: a different key for each row"),
    ],
)
def test_a_view_that_cannot_be_kept_is_told_with_its_event_and_the_reason(
    projection: Projection[Count], reason: str
) -> None:
    waits = rf"counts of 'order-1' is parked at position \d \(Session.*\): .*{reason}"

    with pytest.raises(AssertionError, match=waits):
        ORDER.when_folded(projection)


def test_the_rows_of_a_view_are_expected_in_whatever_order() -> None:
    numbers: Rows[Count] = changed(ROWS, key=("n",))
    folded = ORDER.when_folded(replace(COUNTS, rows=(numbers,)))

    folded.then_rows("rows", "order-1", [("sku", 1), ["sku", 0]]).then("order-1", Count(2))

    with pytest.raises(
        AssertionError, match=r"rows of 'order-1' are \[.*1\)\], not \[\('sku', 0\)\]"
    ):
        folded.then_rows("rows", "order-1", [("sku", 0)])
    with pytest.raises(AssertionError, match="rows of 'order-1' are"):
        folded.then_rows("rows", "order-1", [("sku", 0), ("sku", 0)])
    with pytest.raises(AssertionError, match="no event touches 'order-2'"):
        folded.then_rows("rows", "order-2", [])
    with pytest.raises(AssertionError, match="counts has no rows called 'lines'"):
        folded.then_rows("lines", "order-1", [])


def test_rows_that_are_not_of_the_view_alone_are_told() -> None:
    numbers = count(1)

    def others(_: Count) -> Sequence[Sequence[object]]:
        return [("sku", next(numbers))]

    impure = replace(COUNTS, rows=(changed(ROWS, of=others),))

    with pytest.raises(AssertionError, match=r"rows of one view are first .*1.*, then .*2"):
        ORDER.when_folded(impure)


def test_rows_that_change_their_view_are_told() -> None:
    def counts_on(view: Count) -> Sequence[Sequence[object]]:
        view.events += 1
        return []

    changing = replace(COUNTS, rows=(changed(ROWS, of=counts_on),))

    with pytest.raises(AssertionError, match="making the rows rows changes the view"):
        ORDER.when_folded(changing)


def test_a_number_that_json_has_not_is_told_as_what_it_is() -> None:
    def fold(_: Number | None, __: Recorded) -> Number:
        return Number(float("nan"))

    with pytest.raises(AssertionError, match="JSON cannot express the number nan"):
        ORDER.when_folded(Projection(name="numbers", version=1, view=Number, fold=fold))


class Number(msgspec.Struct):
    value: float = 0


class Actors(msgspec.Struct):
    names: tuple[str, ...] = ()


def test_events_may_be_given_with_what_is_known_of_them() -> None:
    def fold(view: Actors | None, recorded: Recorded) -> Actors:
        return Actors((*(view or Actors()).names, recorded.metadata.get("actor", "")))

    actors = Projection(name="actors", version=1, view=Actors, fold=fold)

    (
        given(SessionOpened(first_session=True), metadata={"actor": "ada"})
        .and_given(SessionClosed(total=Decimal(60)))
        .and_given(SessionReopened(AT), metadata={"actor": "bob"})
        .when_folded(actors)
        .then("order-1", Actors(("ada", "", "bob")))
    )
