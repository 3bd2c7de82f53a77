"""Money: exact, in one form, within its limits, whatever the caller's decimal context says."""

from collections.abc import Iterator
from decimal import Context, Decimal, Inexact, Rounded, localcontext
from typing import Any

import pytest

from sessions import (
    AddItem,
    CartItem,
    CloseSession,
    InvalidValue,
    Item,
    ItemAdded,
    LimitExceeded,
    OpenSession,
    ReplaceCart,
    SessionClosed,
    SetDiscount,
    rules,
)
from sessions.commands import Command
from tests.scenario import OPENED, given


@pytest.fixture(
    params=[None, Context(prec=5), Context(prec=1, traps=[Inexact, Rounded]), Context(capitals=0)]
)
def _any_context(request: pytest.FixtureRequest) -> Iterator[None]:
    """Money is the same in every context that a caller may have set."""
    with localcontext(request.param):
        yield


pytestmark = pytest.mark.usefixtures("_any_context")


def with_money(value: Any) -> list[tuple[str, Command]]:
    return [
        ("price", AddItem(sku="a", price=value)),
        ("cartItems[0].price", ReplaceCart(cart_items=[CartItem(sku="a", price=value)])),
        ("total", ReplaceCart(cart_items=[], total=value)),
        ("value", SetDiscount(label="a", value=value)),
        ("weight", AddItem(sku="a", price=Decimal(1), weight=value)),
        ("height", AddItem(sku="a", price=Decimal(1), height=value)),
        ("width", AddItem(sku="a", price=Decimal(1), width=value)),
        ("length", AddItem(sku="a", price=Decimal(1), length=value)),
    ]


ACCEPTED = [
    (Decimal("59.90"), "59.9"),
    (Decimal("12345678.901"), "12345678.901"),
    (Decimal("999999999999.999999"), "999999999999.999999"),
    (Decimal("0.000001"), "0.000001"),
    (Decimal("0.0000010000000"), "0.000001"),
    (Decimal("1." + "0" * 100), "1"),
    (Decimal("1E+2"), "100"),
    (Decimal("9.9E+11"), "990000000000"),
    (Decimal(0), "0"),
    (Decimal("-0"), "0"),
    (Decimal("-0.00"), "0"),
    (Decimal("0E+50"), "0"),
    (Decimal("0E-50"), "0"),
    (7, "7"),
    (999_999_999_999, "999999999999"),
    (0, "0"),
]


@pytest.mark.parametrize(("value", "kept"), ACCEPTED)
def test_money_is_kept_exactly_and_in_one_form(value: Decimal, kept: str) -> None:
    adding = given(OPENED).when(AddItem(sku="a", price=value, weight=value))
    adding.then(ItemAdded(0, Item("a", Decimal(kept), weight=Decimal(kept)), 1, 1))
    price = adding.after().lines[0].item.price
    assert str(price) == kept
    assert type(price) is Decimal
    setting = given(OPENED).when(SetDiscount(label="a", value=value))
    assert [str(value) for value in setting.after().discounts.values()] == [kept]
    opening = given().when(OpenSession(total=value))
    assert str(opening.after().total) == kept


@pytest.mark.parametrize(("value", "kept"), ACCEPTED)
def test_what_is_accepted_as_money_is_known_as_money(value: Decimal, kept: str) -> None:
    assert rules.is_money(Decimal(value))
    assert rules.is_money(Decimal(kept))


NOT_MONEY = [
    Decimal("-0.01"),
    Decimal(-1),
    -1,
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("-NaN"),
    Decimal("Infinity"),
    Decimal("-Infinity"),
    Decimal("-1E+50"),
    0.1,
    1.0,
    float("nan"),
    float("inf"),
    True,
    False,
    "1",
    b"1",
    [1],
    1j,
]


@pytest.mark.parametrize("value", NOT_MONEY, ids=ascii)
def test_money_is_a_finite_decimal_from_0_and_never_a_float(value: Any) -> None:
    for field, command in with_money(value):
        given(OPENED).when(command).refused(InvalidValue, field=field)


TOO_MUCH: list[tuple[Any, str]] = [
    (Decimal(10) ** 12, "12 digits before the point"),
    (10**12, "12 digits before the point"),
    (Decimal("1E+12"), "12 digits before the point"),
    (Decimal("1E+999999"), "12 digits before the point"),
    (Decimal("0.0000001"), "6 decimals"),
    (Decimal("1.0000001"), "6 decimals"),
    (Decimal("999999999999.9999999"), "6 decimals"),
    (Decimal("0." + "3" * 100), "6 decimals"),
    (Decimal("1E-999999"), "6 decimals"),
    (Decimal("1E-9999999999"), "6 decimals"),
]


@pytest.mark.parametrize(("value", "limit"), TOO_MUCH, ids=ascii)
def test_money_is_below_a_million_millions_with_6_decimals_at_most(
    value: Decimal, limit: str
) -> None:
    for field, command in with_money(value):
        given(OPENED).when(command).refused(LimitExceeded, field=field, limit=limit)


def test_a_price_is_required() -> None:
    wrong: dict[str, Any] = {"price": None}
    given(OPENED).when(AddItem(sku="a", **wrong)).refused(InvalidValue, field="price")


def test_three_times_a_tenth_is_three_tenths() -> None:
    adding = given(OPENED).when(AddItem(sku="a", price=Decimal("0.1"), quantity=3))
    assert str(adding.after().total) == "0.3"


def test_a_total_of_any_cart_is_exact() -> None:
    price = Decimal("999999999999.999999")
    items = [CartItem(sku=f"{i}", price=price, quantity=9) for i in range(999)]
    items.append(CartItem(sku="last", price=Decimal("0.000001"), quantity=1009))
    opening = given().when(OpenSession(cart_items=items, state="closed"))
    total = "8990999999999999.992018"
    assert str(opening.after().total) == total
    assert opening.decide().events[-1] == SessionClosed(Decimal(total))


def test_a_total_has_no_trailing_zeros_and_no_exponent() -> None:
    cart = [ItemAdded(0, Item("a", Decimal("0.5")), 200, 200)]
    given(OPENED, *cart).when(CloseSession()).then(SessionClosed(Decimal(100)))
    assert str(given(OPENED, *cart).when(CloseSession()).after().total) == "100"
