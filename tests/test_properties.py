"""What holds for any amounts, and for any history of commands."""

from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sessions import (
    ApplyCoupon,
    ApplyReferral,
    RemoveCoupon,
    RemoveDiscount,
    RemoveReferral,
    ReplaceCart,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
    SetQuantity,
    money,
    rules,
)
from sessions.commands import Command
from sessions.decide import decide
from sessions.events import EVENTS, Event, ItemAdded, ItemRemoved, QuantityChanged, State
from sessions.log.mapper import Mapper, encode_json
from sessions.session import Line, Session, evolve
from tests.histories import Step, amounts, histories

pytestmark = pytest.mark.no_cover

many = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
numbers = amounts | st.decimals(-(10**9), 10**9, places=3)

SETS_A_VALUE = (
    SetQuantity
    | ReplaceCart
    | ApplyCoupon
    | RemoveCoupon
    | ApplyReferral
    | RemoveReferral
    | SetAttributes
    | SetIdentifiers
    | SetProfile
    | SetDiscount
    | RemoveDiscount
)


def stored(event: Event) -> Event:
    return Mapper().decode(*Mapper().encode(event), where=1)


def exactly(session: Session | None) -> str:
    """All that a session is; 1, 1.0 and true differ in it."""
    return encode_json(session)


def lines_before(step: Step) -> tuple[Line, ...]:
    return step.before.lines if step.before else ()


@given(numbers)
def test_plain_money_is_the_same_number_in_one_form(value: Decimal) -> None:
    plain = money.plain(value)
    assert Fraction(plain) == Fraction(value)
    assert not set(str(plain)) & set("Ee+")
    assert "." not in str(plain) or str(plain)[-1] not in "0."
    assert str(plain) != "-0"


@given(numbers, st.integers(0, 30))
def test_money_of_one_value_has_one_form_however_it_was_written(value: Decimal, more: int) -> None:
    digits = value.as_tuple()
    exponent = int(digits.exponent) - more
    longer = Decimal((digits.sign, digits.digits + (0,) * more, exponent))
    assert longer == value
    assert str(money.plain(longer)) == str(money.plain(value))


@given(st.lists(st.tuples(amounts, st.integers(1, 10_000)), max_size=50))
def test_a_total_is_the_exact_sum(lines: list[tuple[Decimal, int]]) -> None:
    expected = sum((Fraction(price) * quantity for price, quantity in lines), Fraction(0))
    assert Fraction(money.total(lines)) == expected


@many
@given(histories)
def test_what_is_stored_folds_to_what_was_decided(history: list[Step]) -> None:
    reread: Session | None = None
    for step in history:
        for fact in step.decision.events:
            assert stored(fact) == fact
            assert Mapper().encode(stored(fact)) == Mapper().encode(fact)
            reread = evolve(reread, stored(fact), step.decision.at)
        assert reread == step.after
        assert exactly(reread) == exactly(step.after)


@many
@given(histories)
def test_what_was_stored_is_decided_on_as_what_is_held(history: list[Step]) -> None:
    reread: Session | None = None
    for step in history:
        again = decide(step.command, reread, step.known)
        assert again == step.decision
        for fact in again.events:
            reread = evolve(reread, stored(fact), again.at)


@many
@given(histories)
def test_a_position_is_the_index_of_its_line(history: list[Step]) -> None:
    for step in history:
        before, after = lines_before(step), step.after.lines
        for fact in step.decision.events:
            match fact:
                case ItemAdded(position=position):
                    assert position <= len(before)
                    assert after[position] == Line(fact.item, fact.line_quantity)
                case ItemRemoved(position=position):
                    assert before[position] == Line(fact.item, fact.quantity)
                    assert after == before[:position] + before[position + 1 :]
                case QuantityChanged(position=position):
                    assert before[position].quantity == fact.old_quantity
                    assert after[position].quantity == fact.quantity
                case _:
                    pass


@many
@given(histories)
def test_the_cart_stays_within_its_limits(history: list[Step]) -> None:
    for step in history:
        lines = step.after.lines
        assert len(lines) <= rules.MAX_LINES
        assert sum(line.quantity for line in lines) == step.after.units <= rules.MAX_UNITS
        assert all(line.quantity >= 1 for line in lines)
        assert all(0 <= line.returned <= line.quantity for line in lines)


@many
@given(histories)
def test_a_value_that_is_set_again_is_no_second_event(history: list[Step]) -> None:
    for step in history:
        if isinstance(step.command, SETS_A_VALUE):
            assert list(decide(step.command, step.after, step.known).events) == []


@many
@given(histories)
def test_an_event_changes_something_and_no_event_changes_nothing(history: list[Step]) -> None:
    for step in history:
        assert (step.after != step.before) == bool(step.decision.events)


@many
@given(histories)
def test_the_total_is_declared_or_the_exact_sum_of_the_cart(history: list[Step]) -> None:
    for step in history:
        prices = [Fraction(line.item.price) * line.quantity for line in step.after.lines]
        declared = step.after.declared_total
        assert Fraction(step.after.total) == (sum(prices) if declared is None else declared)


@many
@given(histories)
def test_an_anonymous_session_is_a_first_one(history: list[Step]) -> None:
    assert all(step.after.first_session or step.after.profile_id for step in history)


class AllAreReachedError(Exception):
    """Nothing more is to be looked for."""


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # the last one is shown
def test_the_histories_reach_every_command_event_and_state() -> None:
    wanted = {*get_args(Command), *EVENTS.values(), *get_args(State)}

    @settings(many, max_examples=400, derandomize=True, phases=[Phase.generate])
    @given(histories)
    def look(history: list[Step]) -> None:
        for step in history:
            wanted.difference_update({type(step.command), step.after.state})
            wanted.difference_update({type(fact) for fact in step.decision.events})
        if not wanted:
            raise AllAreReachedError

    with suppress(AllAreReachedError):
        look()
    assert wanted == set()
