"""The limits of carts, texts and whole numbers: each at its edge, and one past it."""

from decimal import Decimal
from typing import Any

import pytest

from sessions import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CartItem,
    CartLine,
    CartReplaced,
    InvalidValue,
    Item,
    ItemAdded,
    ItemRemoved,
    LimitExceeded,
    OpenSession,
    QuantityChanged,
    Refused,
    RemoveItem,
    ReplaceCart,
    ReturnItem,
    ReturnItems,
    SessionClosed,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
    SetQuantity,
)
from sessions.commands import Command
from tests.scenario import OPENED, given

ONE = Decimal(1)
FULL = CartReplaced(tuple([CartLine(Item(f"sku-{i}", ONE), 1) for i in range(1000)]), ())
HEAVY = CartReplaced((CartLine(Item("a", ONE), 9_000), CartLine(Item("b", ONE), 1_000)))


HALVES = {"a": 5_000, "b": 5_000, "c": 1}


def different(count: int, quantity: int = 1) -> list[CartItem]:
    return [CartItem(sku=f"sku-{i}", price=ONE, quantity=quantity) for i in range(count)]


def test_a_cart_holds_1000_lines() -> None:
    given(OPENED).when(ReplaceCart(cart_items=different(1000))).then(FULL)
    given().when(OpenSession(cart_items=different(1000))).then(OPENED, FULL)
    last = Item("sku-999", ONE)
    cart = given(OPENED, FULL, ItemRemoved(999, last, 1))
    cart.when(AddItem(sku="sku-999", price=ONE)).then(ItemAdded(999, last, 1, 1))


@pytest.mark.parametrize(
    "command", [AddItem(sku="x", price=ONE), ReplaceCart(cart_items=different(1001))]
)
def test_a_cart_holds_no_more_than_1000_lines(command: Command) -> None:
    refused = given(OPENED, FULL).when(command)
    refused.refused(LimitExceeded, field="cartItems", limit="1000 lines", value=1001)
    opening = given().when(OpenSession(cart_items=different(1001)))
    opening.refused(LimitExceeded, field="cartItems", limit="1000 lines", value=1001)


def test_lines_are_counted_after_merging() -> None:
    given(OPENED).when(ReplaceCart(cart_items=different(1000) + different(1))).decide()
    adding = given(OPENED, FULL).when(AddItem(sku="sku-0", price=ONE))
    adding.then(ItemAdded(0, Item("sku-0", ONE), 1, 2))


def test_a_cart_holds_10_000_units() -> None:
    given(OPENED).when(AddItem(sku="a", price=ONE, quantity=10_000)).decide()
    given(OPENED).when(ReplaceCart(cart_items=different(1000, 10))).decide()
    lighter = given(OPENED, HEAVY, QuantityChanged(0, "a", 9_000, 8_999))
    lighter.when(AddItem(sku="c", price=ONE)).then(ItemAdded(2, Item("c", ONE), 1, 1))
    lighter.when(SetQuantity(sku="b", quantity=1_001)).then(QuantityChanged(1, "b", 1_000, 1_001))


@pytest.mark.parametrize(
    "command",
    [
        AddItem(sku="a", price=ONE),
        AddItem(sku="c", price=ONE),
        SetQuantity(position=0, quantity=9_001),
        ReplaceCart(cart_items=[CartItem(sku="a", price=ONE, quantity=10_001)]),
        ReplaceCart(
            cart_items=[CartItem(sku=sku, price=ONE, quantity=n) for sku, n in HALVES.items()]
        ),
    ],
    ids=repr,
)
def test_a_cart_holds_no_more_than_10_000_units(command: Command) -> None:
    refused = given(OPENED, HEAVY).when(command)
    refused.refused(LimitExceeded, field="cartItems", limit="10000 units", value=10_001)


def test_a_full_cart_can_shrink() -> None:
    cart = given(OPENED, HEAVY)
    cart.when(SetQuantity(sku="a", quantity=1)).then(QuantityChanged(0, "a", 9_000, 1))
    cart.when(RemoveItem(sku="b")).then(ItemRemoved(1, Item("b", ONE), 1_000))


def test_a_session_has_5_identifiers() -> None:
    given(OPENED).when(SetIdentifiers(identifiers=list("abcde"))).decide()
    many = list("abcdef")
    fields: dict[str, Any] = {"field": "identifiers", "limit": 5, "value": 6}
    given(OPENED).when(SetIdentifiers(identifiers=many)).refused(LimitExceeded, **fields)
    given().when(OpenSession(identifiers=many)).refused(LimitExceeded, **fields)


LETTERS = ["x", "é", "☃", "\U0001f600"]  # of one to four bytes


@pytest.mark.parametrize("letter", LETTERS)
def test_a_code_has_100_characters(letter: str) -> None:
    edge, past = letter * 100, letter * 101
    assert given(OPENED).when(ApplyCoupon(coupon=edge)).after().coupon == edge
    assert given(OPENED).when(ApplyReferral(referral=edge)).after().referral == edge
    assert given().when(OpenSession(coupon=edge, referral=edge)).after().coupon == edge
    coupon: dict[str, Any] = {"field": "coupon", "limit": "100 characters", "value": 101}
    referral = coupon | {"field": "referral"}
    given(OPENED).when(ApplyCoupon(coupon=past)).refused(LimitExceeded, **coupon)
    given(OPENED).when(ApplyReferral(referral=past)).refused(LimitExceeded, **referral)
    given().when(OpenSession(coupon=past)).refused(LimitExceeded, **coupon)
    given().when(OpenSession(referral=past)).refused(LimitExceeded, **referral)


def with_text(text: str) -> list[tuple[str, Command]]:
    return [
        ("sku", AddItem(sku=text, price=ONE)),
        ("cartItems[0].sku", ReplaceCart(cart_items=[CartItem(sku=text, price=ONE)])),
        ("profileId", SetProfile(profile_id=text)),
        ("identifiers[0]", SetIdentifiers(identifiers=[text])),
        ("label", SetDiscount(label=text, value=ONE)),
    ]


@pytest.mark.parametrize("letter", LETTERS)
def test_an_id_has_1_to_1000_characters(letter: str) -> None:
    for _, command in with_text(letter) + with_text(letter * 1000):
        assert len(given(OPENED).when(command).decide().events) == 1
    for field, command in with_text(letter * 1001):
        fields: dict[str, Any] = {"field": field, "limit": "1000 characters", "value": 1001}
        given(OPENED).when(command).refused(LimitExceeded, **fields)


def test_only_a_profile_may_be_empty() -> None:
    for field, command in with_text(""):
        if field != "profileId":
            given(OPENED).when(command).refused(InvalidValue, field=field)


@pytest.mark.parametrize("bad", ["\0", "a\0", "\ud800", "a\udfff", "\U0001f600\ude00"])
def test_a_text_has_no_u0000_and_no_half_of_a_surrogate_pair(bad: str) -> None:
    commands = [
        *with_text(bad),
        ("coupon", ApplyCoupon(coupon=bad)),
        ("referral", ApplyReferral(referral=bad)),
        ("name", AddItem(sku="a", price=ONE, name=bad)),
        ("category", AddItem(sku="a", price=ONE, category=bad)),
    ]
    for field, command in commands:
        given(OPENED).when(command).refused(InvalidValue, field=field)


UNICODE = ["\x01", "\n", "\x7f", "\x80", "\u2028", "\ufeff", "\uffff", "\U0010ffff", "e\u0301", " "]


@pytest.mark.parametrize("text", UNICODE, ids=ascii)
def test_a_text_has_any_other_unicode_as_it_is(text: str) -> None:
    adding = given(OPENED).when(AddItem(sku=text, price=ONE, name=text, category=text))
    adding.then(ItemAdded(0, Item(text, ONE, text, text), 1, 1))
    for _, command in with_text(text):
        assert len(given(OPENED).when(command).decide().events) == 1


def test_names_and_categories_have_any_length() -> None:
    long = "x" * 100_000
    adding = given(OPENED).when(AddItem(sku="a", price=ONE, name=long, category=long))
    adding.then(ItemAdded(0, Item("a", ONE, long, long), 1, 1))


HUGE = 10**5000  # too long for Python to write it down

IN_THE_CART: list[tuple[str, type[Refused], Command]] = [
    ("quantity", LimitExceeded, AddItem(sku="a", price=ONE, quantity=HUGE)),
    ("quantity", InvalidValue, AddItem(sku="a", price=ONE, quantity=-HUGE)),
    ("quantity", LimitExceeded, SetQuantity(position=0, quantity=HUGE)),
    ("quantity", InvalidValue, SetQuantity(position=0, quantity=-HUGE)),
    ("position", Refused, SetQuantity(position=HUGE, quantity=1)),
    ("position", InvalidValue, RemoveItem(position=-HUGE)),
    ("price", LimitExceeded, AddItem(sku="a", price=Decimal(HUGE))),
    ("price", InvalidValue, AddItem(sku="a", price=Decimal(-HUGE))),
]


@pytest.mark.parametrize(("field", "error", "command"), IN_THE_CART, ids=range(len(IN_THE_CART)))
def test_a_huge_number_is_refused(field: str, error: type[Refused], command: Command) -> None:
    with pytest.raises(error) as caught:
        given(OPENED, HEAVY).when(command).decide()
    assert caught.value.fields["field"] == field


def test_a_huge_number_of_units_to_return_is_refused() -> None:
    order = given(OPENED, HEAVY, SessionClosed(Decimal(10_000)))
    for item in (ReturnItem(position=0, quantity=HUGE), ReturnItem(position=HUGE)):
        with pytest.raises(Refused):
            order.when(ReturnItems(items=[item])).decide()


class Text(str):
    __slots__ = ()


def test_a_text_of_another_class_is_kept_as_a_plain_one_or_refused() -> None:
    for _, command in with_text(Text("x")):
        try:
            given(OPENED).when(command).then(*given(OPENED).when(command).decide().events)
        except InvalidValue:
            continue


class Nameless:
    def __repr__(self) -> str:
        raise NotImplementedError


def test_a_value_that_cannot_be_shown_is_refused_by_its_rule_all_the_same() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    values: list[tuple[Any, str]] = [(Nameless(), "a Nameless"), (nested, "a list")]
    for value, shown in values:
        for field, command in with_text(value):
            given(OPENED).when(command).refused(InvalidValue, field=field, value=shown)
