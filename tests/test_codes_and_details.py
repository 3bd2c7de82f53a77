"""Coupons, referrals, attributes, identifiers and discounts: set, replaced, taken away."""

from decimal import Decimal
from typing import Any

import pytest

from sessions import (
    ApplyCoupon,
    ApplyReferral,
    AttributesChanged,
    CouponApplied,
    CouponRemoved,
    DiscountRemoved,
    DiscountSet,
    IdentifiersReplaced,
    InvalidValue,
    ItemAdded,
    OpenSession,
    ReferralApplied,
    ReferralRemoved,
    RemoveCoupon,
    RemoveDiscount,
    RemoveReferral,
    SessionOpened,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
)
from sessions.commands import Command
from sessions.events import Event, Item
from tests.scenario import OPENED, given

GIFT = AttributesChanged({"gift": 1, "city": "Berlin"})
PROMO = DiscountSet("20% promo", Decimal(20))


def test_a_session_may_be_opened_with_everything() -> None:
    opening = OpenSession(
        profile_id="cust-7",
        coupon="SPRING-20",
        referral="FRIEND",
        identifiers=["device"],
        attributes={"gift": 1, "gone": None},
    )
    given().when(opening).then(
        SessionOpened(first_session=True, profile_id="cust-7"),
        CouponApplied("SPRING-20"),
        ReferralApplied("FRIEND"),
        IdentifiersReplaced(("device",), ()),
        AttributesChanged({"gift": 1}, replaced={}),
    )


def test_a_session_opened_with_nothing_is_open_anonymous_and_empty() -> None:
    opening = given().when(OpenSession())
    opening.then(OPENED)
    session = opening.after()
    assert (session.state, session.profile_id, session.lines) == ("open", "", ())
    assert (session.total, session.units, session.first_session) == (Decimal(0), 0, True)


def test_a_coupon_is_applied_and_another_takes_its_place() -> None:
    given(OPENED).when(ApplyCoupon(coupon="A")).then(CouponApplied("A"))
    replacing = given(OPENED, CouponApplied("A")).when(ApplyCoupon(coupon="B"))
    replacing.then(CouponApplied("B", replaced="A"))
    assert replacing.after().coupon == "B"


def test_a_referral_is_applied_and_another_takes_its_place() -> None:
    given(OPENED).when(ApplyReferral(referral="A")).then(ReferralApplied("A"))
    replacing = given(OPENED, ReferralApplied("A")).when(ApplyReferral(referral="B"))
    replacing.then(ReferralApplied("B", replaced="A"))
    assert replacing.after().referral == "B"


def test_codes_are_taken_out() -> None:
    history: list[Event] = [OPENED, CouponApplied("A"), ReferralApplied("B")]
    without_coupon = given(*history).when(RemoveCoupon())
    without_coupon.then(CouponRemoved("A"))
    assert (without_coupon.after().coupon, without_coupon.after().referral) == ("", "B")
    without_referral = given(*history).when(RemoveReferral())
    without_referral.then(ReferralRemoved("B"))
    assert (without_referral.after().coupon, without_referral.after().referral) == ("A", "")


def test_codes_differ_by_case_and_blanks() -> None:
    given(OPENED, CouponApplied("a")).when(ApplyCoupon(coupon="A")).then(CouponApplied("A", "a"))
    given(OPENED, CouponApplied("a")).when(ApplyCoupon(coupon="a ")).then(CouponApplied("a ", "a"))


EVERYTHING: list[Event] = [
    OPENED,
    CouponApplied("A"),
    ReferralApplied("B"),
    GIFT,
    IdentifiersReplaced(("x", "y")),
    PROMO,
]

SO_ALREADY: list[Command] = [
    ApplyCoupon(coupon="A"),
    ApplyReferral(referral="B"),
    SetAttributes(attributes={"gift": 1}),
    SetAttributes(attributes={"city": "Berlin", "gift": 1}),
    SetAttributes(attributes={"unknown": None}),
    SetAttributes(attributes={}),
    SetIdentifiers(identifiers=["x", "y"]),
    SetIdentifiers(identifiers=("x", "y")),
    SetDiscount(label="20% promo", value=Decimal("20.00")),
    RemoveDiscount(label="unknown"),
]


@pytest.mark.parametrize("command", SO_ALREADY, ids=repr)
def test_what_is_so_already_is_no_event(command: Command) -> None:
    given(*EVERYTHING).when(command).then()


@pytest.mark.parametrize(
    "command", [RemoveCoupon(), RemoveReferral(), SetIdentifiers(identifiers=[])]
)
def test_taking_away_what_is_not_there_is_no_event(command: Command) -> None:
    given(OPENED).when(command).then()


@pytest.mark.parametrize("wrong", ["", None, 7, b"A", "\0", "\ud800"])
def test_a_code_is_a_text(wrong: Any) -> None:
    given(OPENED).when(ApplyCoupon(coupon=wrong)).refused(InvalidValue, field="coupon")
    given(OPENED).when(ApplyReferral(referral=wrong)).refused(InvalidValue, field="referral")
    if wrong != "":
        given().when(OpenSession(coupon=wrong)).refused(InvalidValue, field="coupon")
        given().when(OpenSession(referral=wrong)).refused(InvalidValue, field="referral")


def test_attributes_are_merged_by_name() -> None:
    merging = given(OPENED, GIFT).when(SetAttributes(attributes={"city": "Rome", "new": [1]}))
    merging.then(AttributesChanged({"city": "Rome", "new": [1]}, replaced={"city": "Berlin"}))
    assert merging.after().attributes == {"gift": 1, "city": "Rome", "new": [1]}


def test_attributes_are_merged_no_deeper_than_one_level() -> None:
    deep = AttributesChanged({"size": {"eu": 42, "uk": 8}})
    merging = given(OPENED, deep).when(SetAttributes(attributes={"size": {"eu": 43, "us": None}}))
    replaced = {"size": {"eu": 42, "uk": 8}}
    merging.then(AttributesChanged({"size": {"eu": 43, "us": None}}, replaced=replaced))
    assert merging.after().attributes == {"size": {"eu": 43, "us": None}}


def test_only_the_attributes_that_change_are_in_the_event() -> None:
    setting = SetAttributes(attributes={"gift": 1, "city": "Rome"})
    changed = AttributesChanged({"city": "Rome"}, replaced={"city": "Berlin"})
    given(OPENED, GIFT).when(setting).then(changed)


def test_null_removes_an_attribute() -> None:
    history: list[Event] = [OPENED, GIFT, AttributesChanged({"a": 1})]
    removing = given(*history).when(SetAttributes(attributes={"gift": None, "a": None, "b": 2}))
    removing.then(AttributesChanged({"b": 2}, ("a", "gift"), {"a": 1, "gift": 1}))
    assert removing.after().attributes == {"city": "Berlin", "b": 2}


def test_a_removed_attribute_can_be_set_again() -> None:
    removed = AttributesChanged(removed=("gift",))
    setting = given(OPENED, GIFT, removed).when(SetAttributes(attributes={"gift": 1}))
    setting.then(AttributesChanged({"gift": 1}, replaced={}))


@pytest.mark.parametrize("value", [True, 1.0, "1", [1], {"1": 1}, 0, False, "", [], {}])
def test_an_attribute_that_is_written_differently_in_json_changes(value: object) -> None:
    changing = given(OPENED, GIFT).when(SetAttributes(attributes={"gift": value}))
    changing.then(AttributesChanged({"gift": value}, replaced={"gift": 1}))


def test_an_attribute_whose_own_names_are_in_another_order_is_so_already() -> None:
    deep = AttributesChanged({"size": {"eu": 42, "uk": 8}})
    given(OPENED, deep).when(SetAttributes(attributes={"size": {"uk": 8, "eu": 42}})).then()


def test_the_callers_attributes_and_identifiers_are_copied() -> None:
    attributes, identifiers = {"a": {"b": [1]}}, ["x"]
    opening = given().when(OpenSession(attributes=attributes, identifiers=identifiers))
    events = opening.decide().events
    attributes["a"]["b"].append(2)
    identifiers.append("y")
    assert events[1:] == [
        IdentifiersReplaced(("x",), ()),
        AttributesChanged({"a": {"b": [1]}}, replaced={}),
    ]


def test_identifiers_are_replaced_as_a_whole() -> None:
    history: list[Event] = [OPENED, IdentifiersReplaced(("x", "y"))]
    given(*history).when(SetIdentifiers(identifiers=["y", "x"])).then(
        IdentifiersReplaced(("y", "x"), ("x", "y"))
    )
    given(*history).when(SetIdentifiers(identifiers=[])).then(IdentifiersReplaced((), ("x", "y")))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("abc", "identifiers"),
        (None, "identifiers"),
        ({"a"}, "identifiers"),
        (["a", ""], "identifiers[1]"),
        (["a", 7], "identifiers[1]"),
        (["\0"], "identifiers[0]"),
    ],
)
def test_identifiers_are_a_list_of_texts(wrong: Any, field: str) -> None:
    given(OPENED).when(SetIdentifiers(identifiers=wrong)).refused(InvalidValue, field=field)
    given().when(OpenSession(identifiers=wrong)).refused(InvalidValue, field=field)


def test_the_last_value_of_a_discounts_label_wins() -> None:
    setting = given(OPENED, PROMO).when(SetDiscount(label="20% promo", value=Decimal("7.50")))
    setting.then(DiscountSet("20% promo", Decimal("7.5"), replaced=Decimal(20)))
    assert setting.after().discounts == {"20% promo": Decimal("7.5")}


def test_discounts_stand_side_by_side_under_their_labels() -> None:
    setting = given(OPENED, PROMO).when(SetDiscount(label="extra", value=Decimal(1)))
    setting.then(DiscountSet("extra", Decimal(1)))
    assert setting.after().discounts == {"20% promo": Decimal(20), "extra": Decimal(1)}


def test_a_discount_of_0_is_a_discount() -> None:
    zero = DiscountSet("none", Decimal(0))
    given(OPENED).when(SetDiscount(label="none", value=Decimal("-0.0"))).then(zero)
    given(OPENED, zero).when(SetDiscount(label="none", value=Decimal(0))).then()
    given(OPENED, zero).when(RemoveDiscount(label="none")).then(DiscountRemoved("none", Decimal(0)))


def test_a_discount_is_taken_away() -> None:
    removing = given(OPENED, PROMO).when(RemoveDiscount(label="20% promo"))
    removing.then(DiscountRemoved("20% promo", Decimal(20)))
    assert removing.after().discounts == {}


def test_discounts_never_change_the_total() -> None:
    shoes = ItemAdded(0, Item("9696", Decimal(60)), 1, 1)
    setting = given(OPENED, shoes).when(SetDiscount(label="20% promo", value=Decimal(1000)))
    assert setting.after().total == Decimal(60)


@pytest.mark.parametrize("label", ["", "\0", 7, None])
def test_a_label_is_a_text(label: Any) -> None:
    setting = SetDiscount(label=label, value=Decimal(1))
    given(OPENED).when(setting).refused(InvalidValue, field="label")
    given(OPENED).when(RemoveDiscount(label=label)).refused(InvalidValue, field="label")
