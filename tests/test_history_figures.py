"""What a customer's sessions add up to: states, sums, codes, and the time between orders."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sessions import (
    ApplyCoupon,
    CancelSession,
    CloseSession,
    OpenSession,
    ReopenSession,
    ReturnItem,
    ReturnItems,
    SessionStore,
    SetDiscount,
)
from tests.conftest import add
from tests.customers import DAY, TEN, order, sums

if TYPE_CHECKING:
    from projections import CustomerHistories
    from tests.conftest import Clock


def test_only_orders_count_in_the_sums_and_every_session_counts_by_its_state(
    store: SessionStore, histories: CustomerHistories
) -> None:
    order(store, "closed", "10.25", "0.1")
    order(store, "returned", "3", "4")
    store.execute("returned", ReturnItems(items=[ReturnItem(position=0)]))
    order(store, "cancelled", "1000")
    store.execute("cancelled", CancelSession())
    store.execute("open", OpenSession(profile_id="p", coupon="C"))
    store.execute("open", add(price="500"))

    figures = histories.get("p").figures

    assert figures.states == {"open": 1, "closed": 1, "partially_returned": 1, "cancelled": 1}
    assert (figures.orders, sums(figures)) == (2, ("17.35", "0", "3", "14.35"))
    assert figures.coupons == {}


def test_a_customer_without_an_order_has_figures_of_nothing(
    store: SessionStore, histories: CustomerHistories
) -> None:
    store.execute("s", OpenSession(profile_id="p", coupon="C"))

    figures = histories.get("p").figures

    assert figures.states == {"open": 1, "closed": 0, "partially_returned": 0, "cancelled": 0}
    assert (figures.orders, sums(figures)) == (0, ("0", "0", "0", "0"))
    assert (figures.coupons, figures.referrals, figures.gaps) == ({}, {}, [])
    assert figures.average_gap is None


def test_the_sums_follow_an_order_through_discount_return_and_cancel(
    store: SessionStore, histories: CustomerHistories
) -> None:
    seen = []
    for command in (
        OpenSession(profile_id="p"),
        add("shoes", "60"),
        add("shirts", "20", quantity=2),
        SetDiscount(label="20% promo", value=Decimal("20.5")),
        CloseSession(),
        ReturnItems(items=[ReturnItem(sku="shirts", quantity=1)]),
        ReturnItems(items=[ReturnItem(sku="shirts"), ReturnItem(sku="shoes")]),
        CancelSession(),
    ):
        store.execute("s", command)
        seen.append(sums(histories.get("p").figures))

    nothing = ("0", "0", "0", "0")
    assert seen[:4] == [nothing] * 4
    assert seen[4:] == [
        ("100", "20.5", "0", "79.5"),
        ("100", "20.5", "20", "59.5"),
        ("100", "20.5", "100", "-20.5"),
        nothing,
    ]


def test_a_reopened_order_counts_when_it_is_closed_again_and_as_it_then_is(
    store: SessionStore, histories: CustomerHistories, clock: Clock
) -> None:
    order(store, "s", "10", coupon="A")
    store.execute("s", ReopenSession())
    reopened = histories.get("p").figures
    clock.move(days=1)
    store.execute("s", ApplyCoupon(coupon="B"))
    store.execute("s", add("more", "5"))
    store.execute("s", CloseSession())
    closed = histories.get("p").figures

    assert (reopened.orders, sums(reopened)[0], reopened.coupons) == (0, "0", {})
    assert (closed.orders, sums(closed)[0], closed.coupons) == (1, "15", {"B": 1})
    assert closed.order_times == (TEN + DAY,)


def test_a_declared_total_is_what_the_order_was_worth(
    store: SessionStore, histories: CustomerHistories
) -> None:
    order(store, "s", "1", total=Decimal("100.33"))

    assert sums(histories.get("p").figures) == ("100.33", "0", "0", "100.33")


def test_sums_are_exact_whatever_the_amounts(
    store: SessionStore, histories: CustomerHistories
) -> None:
    for number in range(3):
        order(store, f"s{number}", "999999999999.999999", "0.000001")

    assert sums(histories.get("p").figures)[0] == "3000000000000"


def test_codes_count_once_for_each_order_that_redeemed_them(
    store: SessionStore, histories: CustomerHistories
) -> None:
    for name, coupon, referral in (
        ("a", "X", "G"),
        ("b", "X", "F"),
        ("c", "A", "F"),
        ("d", "X", ""),
    ):
        order(store, name, coupon=coupon, referral=referral)
    store.execute("d", CancelSession())
    store.execute("e", OpenSession(profile_id="p", coupon="X", referral="F"))

    figures = histories.get("p").figures

    assert list(figures.coupons.items()) == [("A", 1), ("X", 2)]
    assert list(figures.referrals.items()) == [("F", 2), ("G", 1)]


def test_the_time_between_orders_is_that_between_their_closings_in_order_of_time(
    store: SessionStore, histories: CustomerHistories
) -> None:
    for name, days in (("a", 3), ("b", 10), ("c", 4), ("d", 4), ("void", 6)):
        order(store, name, at=TEN - days * DAY)
    store.execute("void", CancelSession())

    figures = histories.get("p").figures

    assert figures.gaps == [6 * DAY, 0 * DAY, 1 * DAY]
    assert figures.average_gap == timedelta(days=7) / 3


def test_an_order_has_the_time_of_its_closing_whatever_is_returned_later(
    store: SessionStore, histories: CustomerHistories, clock: Clock
) -> None:
    order(store, "s", "10", "5")
    clock.move(days=1)
    order(store, "t", "1")
    clock.move(days=1)
    store.execute("s", ReturnItems(items=[ReturnItem(position=0)]))

    assert histories.get("p").figures.order_times == (TEN, TEN + DAY)
