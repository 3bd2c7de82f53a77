"""What closing grants, and what cancelling and reopening roll back."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from sessions import (
    AddItem,
    CancelSession,
    CartItem,
    CartLine,
    CartReplaced,
    CloseSession,
    CouponApplied,
    DiscountSet,
    InvalidValue,
    Item,
    ItemAdded,
    ItemsReturned,
    OpenSession,
    ReferralApplied,
    ReopenSession,
    ReturnedLine,
    SessionCancelled,
    SessionClosed,
    SessionOpened,
    SessionReopened,
    TotalDeclared,
)
from sessions.claims import Claim, Usage, released_by
from sessions.events import Event
from sessions.session import evolve
from tests.scenario import AT, NOW, OPENED, given

SHIRT = Item("6478", Decimal(20))
CART: list[Event] = [OPENED, ItemAdded(0, SHIRT, 2, 2)]
CODES: list[Event] = [CouponApplied("SPRING"), ReferralApplied("FRIEND")]
PROMO = DiscountSet("20% promo", Decimal("7.5"))
CLOSED = SessionClosed(Decimal(40), "SPRING", "FRIEND")
ONE_BACK = ItemsReturned((ReturnedLine(0, "6478", Decimal(20), 1),))
REDEEMED = [Claim("coupon-redemption:SPRING"), Claim("referral-redemption:FRIEND")]
GRANTED = {"20% promo": Decimal("7.5")}


def test_closing_keeps_the_total_and_the_codes_that_it_redeems() -> None:
    closing = given(*CART, *CODES, PROMO).when(CloseSession())
    closing.then(CLOSED)
    after = closing.after()
    assert (after.state, after.closed, after.discounts) == ("closed", NOW, GRANTED)
    assert closing.decide().claims == REDEEMED


def test_closing_without_codes_redeems_nothing() -> None:
    closing = given(*CART).when(CloseSession())
    closing.then(SessionClosed(Decimal(40)))
    assert closing.decide().claims == []


def test_an_empty_session_may_be_closed() -> None:
    given(OPENED).when(CloseSession()).then(SessionClosed(Decimal(0)))


def test_closing_keeps_the_declared_total() -> None:
    given(*CART, TotalDeclared(Decimal(35))).when(CloseSession()).then(SessionClosed(Decimal(35)))


def test_an_old_order_is_opened_closed() -> None:
    when = datetime(2011, 12, 9, 12, 50, tzinfo=UTC)
    opening = given().when(
        OpenSession(
            profile_id="cust-7",
            cart_items=[CartItem(sku="6478", price=Decimal(20), quantity=2)],
            coupon="SPRING",
            referral="FRIEND",
            state="closed",
            at=when,
        )
    )
    opening.then(
        SessionOpened(first_session=True, profile_id="cust-7"),
        CartReplaced((CartLine(SHIRT, 2),), ()),
        *CODES,
        CLOSED,
    )
    after = opening.after()
    assert (after.created, after.updated, after.closed) == (when, when, when)
    assert opening.decide().claims == [Claim("first-session:cust-7", 1), *REDEEMED]


def test_an_old_order_without_lines_is_closed_at_its_declared_total() -> None:
    opening = given().when(OpenSession(total=Decimal("100.33"), state="closed"))
    total = Decimal("100.33")
    opening.then(OPENED, TotalDeclared(total, Decimal(0)), SessionClosed(total))


@pytest.mark.parametrize("state", ["cancelled", "partially_returned", "", "OPEN", None, 1, []])
def test_a_session_begins_open_or_closed(state: Any) -> None:
    given().when(OpenSession(state=state)).refused(InvalidValue, field="state")


def test_cancelling_an_open_session_rolls_its_discounts_back_and_redeems_no_code() -> None:
    cancelling = given(*CART, *CODES, PROMO).when(CancelSession())
    cancelling.then(SessionCancelled("open", discounts=GRANTED))
    after = cancelling.after()
    assert (after.state, after.discounts, after.closed) == ("cancelled", {}, None)
    assert released_by(cancelling.decide().events[0]) == []


def test_cancelling_a_closed_session_makes_its_codes_usable_again() -> None:
    cancelling = given(*CART, *CODES, PROMO, CLOSED).when(CancelSession())
    cancelling.then(SessionCancelled("closed", AT, "SPRING", "FRIEND", GRANTED))
    after = cancelling.after()
    assert (after.state, after.discounts, after.closed) == ("cancelled", {}, AT)
    assert released_by(cancelling.decide().events[0]) == REDEEMED
    assert cancelling.decide().claims == []


def test_cancelling_a_partially_returned_session_rolls_back_likewise() -> None:
    cancelling = given(*CART, *CODES, PROMO, CLOSED, ONE_BACK).when(CancelSession())
    cancelling.then(SessionCancelled("partially_returned", AT, "SPRING", "FRIEND", GRANTED))
    after = cancelling.after()
    assert after.total == Decimal(40)
    assert [(line.quantity, line.returned) for line in after.lines] == [(2, 1)]


def test_cancelling_keeps_cart_codes_and_total() -> None:
    after = given(*CART, *CODES, CLOSED).when(CancelSession()).after()
    assert (after.coupon, after.referral, after.total) == ("SPRING", "FRIEND", Decimal(40))
    assert [line.item for line in after.lines] == [SHIRT]


def test_cancelling_keeps_a_declared_total() -> None:
    cart = [*CART, TotalDeclared(Decimal(35)), SessionClosed(Decimal(35))]
    assert given(*cart).when(CancelSession()).after().total == Decimal(35)


def test_reopening_rolls_back_what_was_granted() -> None:
    reopening = given(*CART, *CODES, PROMO, CLOSED).when(ReopenSession())
    reopening.then(SessionReopened(AT, "SPRING", "FRIEND", GRANTED))
    after = reopening.after()
    assert (after.state, after.closed, after.discounts) == ("open", None, {})
    assert (after.coupon, after.referral, after.total) == ("SPRING", "FRIEND", Decimal(40))
    assert released_by(reopening.decide().events[0]) == REDEEMED


def test_a_reopened_session_is_editable_and_its_codes_are_redeemed_at_the_next_close() -> None:
    history = [*CART, *CODES, CLOSED, SessionReopened(AT, "SPRING", "FRIEND")]
    adding = AddItem(sku="6478", price=Decimal(20))
    given(*history).when(adding).then(ItemAdded(0, SHIRT, 1, 3))
    closing = given(*history, ItemAdded(0, SHIRT, 1, 3)).when(CloseSession())
    closing.then(SessionClosed(Decimal(60), "SPRING", "FRIEND"))
    assert closing.decide().claims == REDEEMED


def test_cancelling_a_reopened_session_rolls_no_code_back_a_second_time() -> None:
    history = [*CART, *CODES, CLOSED, SessionReopened(AT, "SPRING", "FRIEND")]
    given(*history).when(CancelSession()).then(SessionCancelled("open"))


def test_what_is_rolled_back_names_the_latest_closing() -> None:
    session = given(*CART, CLOSED, SessionReopened(AT)).session
    session = evolve(session, SessionClosed(Decimal(40)), AT + timedelta(minutes=30))
    closed_later = given()._replace(session=session)
    closed_later.when(ReopenSession()).then(SessionReopened(AT + timedelta(minutes=30)))
    closed_later.when(CancelSession()).then(SessionCancelled("closed", AT + timedelta(minutes=30)))


def test_cancelling_keeps_the_first_session() -> None:
    first = SessionOpened(first_session=True, profile_id="cust-7")
    cancelling = given(first).when(CancelSession(), used=Usage(count=1))
    assert cancelling.after().first_session
    assert released_by(cancelling.decide().events[0]) == []


def test_a_command_says_when_it_happened_in_any_timezone() -> None:
    there = timezone(timedelta(hours=2))
    closing = given(*CART).when(CloseSession(at=datetime(2026, 11, 23, 12, 30, tzinfo=there)))
    decision = closing.decide()
    assert decision.at == datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
    assert decision.at.tzinfo is UTC
    assert closing.after().closed == decision.at
