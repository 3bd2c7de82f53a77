"""The whole cart replaced at once, and the total that a caller declares for it."""

from decimal import Decimal
from typing import Any

import pytest

from sessions import (
    AddItem,
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
    RemoveItem,
    ReplaceCart,
    SetQuantity,
    TotalDeclared,
)
from sessions.commands import Command
from sessions.events import CartEvent
from tests.scenario import OPENED, given

SHOES = Item(sku="9696", price=Decimal(60))
SHIRT = Item(sku="6478", price=Decimal(20))
A_CART = [CartItem(sku="9696", price=Decimal(60)), CartItem(sku="6478", price=Decimal(20))]
LINES = (CartLine(SHOES, 1), CartLine(SHIRT, 1))
FILLED = CartReplaced(LINES, ())


def test_items_take_the_place_of_the_whole_cart_in_their_order() -> None:
    replacing = given(OPENED, ItemAdded(0, SHIRT, 7, 7)).when(ReplaceCart(cart_items=A_CART))
    replacing.then(CartReplaced(LINES, (CartLine(SHIRT, 7),)))
    assert replacing.after().total == Decimal(80)


def test_a_session_may_be_opened_with_a_cart() -> None:
    given().when(OpenSession(cart_items=A_CART)).then(OPENED, FILLED)


def test_an_empty_cart_is_a_cart() -> None:
    given(OPENED, FILLED).when(ReplaceCart(cart_items=[])).then(CartReplaced((), LINES))


@pytest.mark.parametrize("begin", [True, False])
def test_items_merge_as_if_they_were_added_one_by_one(begin: bool) -> None:  # noqa: FBT001  a parameter of the test
    items = [
        CartItem(sku="9696", price=Decimal("60.0"), quantity=2),
        CartItem(sku="6478", price=Decimal(20)),
        CartItem(sku="9696", price=Decimal(60), quantity=3),
        CartItem(sku="9696", price=Decimal(60), attributes={"gift": 1}),
        CartItem(sku="9696", price=Decimal(60), attributes={"gift": True}),
        CartItem(sku="9696", price=Decimal(60), attributes={"gift": 1}),
    ]
    gift = Item("9696", Decimal(60), attributes={"gift": 1})
    true_gift = Item("9696", Decimal(60), attributes={"gift": True})
    merged = CartReplaced(
        (CartLine(SHOES, 5), CartLine(SHIRT, 1), CartLine(gift, 2), CartLine(true_gift, 1)), ()
    )
    if begin:
        given().when(OpenSession(cart_items=items)).then(OPENED, merged)
    else:
        given(OPENED).when(ReplaceCart(cart_items=items)).then(merged)


@pytest.mark.parametrize("items", [A_CART, tuple(A_CART), [A_CART[0], A_CART[1]]])
def test_a_cart_that_is_so_already_is_not_replaced(items: list[CartItem]) -> None:
    given(OPENED, FILLED).when(ReplaceCart(cart_items=items)).then()


def test_an_empty_cart_stays_empty_without_an_event() -> None:
    given(OPENED).when(ReplaceCart(cart_items=[])).then()


def test_the_servers_fields_make_no_difference() -> None:
    items = [
        CartItem(sku="9696", price=Decimal(60), position=5, returned_quantity=1),
        CartItem(sku="6478", price=Decimal(20), position="x", remaining_quantity=None),
    ]
    given(OPENED, FILLED).when(ReplaceCart(cart_items=items)).then()


OTHERS: list[list[dict[str, Any]]] = [
    [{}],
    [{}, {"quantity": 2}],
    [{}, {"price": Decimal(21)}],
    [{}, {"attributes": {"gift": None}}],
    [{}, {}, {"sku": "1"}],
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_a_cart_that_differs_in_anything_is_replaced(other: list[dict[str, Any]]) -> None:
    bare: list[dict[str, Any]] = [
        {"sku": "9696", "price": Decimal(60)},
        {"sku": "6478", "price": Decimal(20)},
        {"price": Decimal(1)},
    ]
    items = [CartItem(**said | more) for said, more in zip(bare, other, strict=False)]
    replacing = given(OPENED, FILLED).when(ReplaceCart(cart_items=items))
    assert [type(event) for event in replacing.decide().events] == [CartReplaced]
    assert [line.quantity for line in replacing.after().lines] == [i.quantity for i in items]


def test_the_same_lines_in_another_order_are_another_cart() -> None:
    swapped = CartReplaced(LINES[::-1], LINES)
    given(OPENED, FILLED).when(ReplaceCart(cart_items=A_CART[::-1])).then(swapped)


def test_an_old_order_may_declare_its_total_without_lines() -> None:
    opening = given().when(OpenSession(total=Decimal("100.330")))
    opening.then(OPENED, TotalDeclared(Decimal("100.33"), Decimal(0)))
    assert opening.after().total == Decimal("100.33")


def test_a_replaced_cart_may_declare_its_total() -> None:
    replacing = given(OPENED).when(ReplaceCart(cart_items=A_CART, total=Decimal(75)))
    replacing.then(FILLED, TotalDeclared(Decimal(75), Decimal(80)))
    assert replacing.after().total == Decimal(75)


def test_a_replaced_cart_need_not_declare_the_total_that_it_has() -> None:
    given(OPENED).when(ReplaceCart(cart_items=A_CART, total=Decimal(80))).then(FILLED)
    given().when(OpenSession(cart_items=A_CART, total=Decimal("80.0"))).then(OPENED, FILLED)


def test_a_declared_total_of_0_is_declared() -> None:
    replacing = given(OPENED, FILLED).when(ReplaceCart(cart_items=A_CART, total=Decimal(0)))
    replacing.then(TotalDeclared(Decimal(0), Decimal(80)))
    assert replacing.after().total == Decimal(0)


def test_another_total_of_the_same_lines_is_declared_alone() -> None:
    cart = given(OPENED, FILLED, TotalDeclared(Decimal(75)))
    replacing = cart.when(ReplaceCart(cart_items=A_CART, total=Decimal(70)))
    replacing.then(TotalDeclared(Decimal(70), Decimal(75)))


def test_the_same_lines_and_the_same_total_are_so_already() -> None:
    cart = given(OPENED, FILLED, TotalDeclared(Decimal(75)))
    cart.when(ReplaceCart(cart_items=A_CART, total=Decimal("75.00"))).then()


@pytest.mark.parametrize("declared", [[], [TotalDeclared(Decimal(80))]])
@pytest.mark.parametrize("total", [None, Decimal(80)])
def test_the_same_lines_are_so_already_whoever_says_what_they_add_up_to(
    declared: list[TotalDeclared], total: Decimal | None
) -> None:
    cart = given(OPENED, FILLED, *declared)
    cart.when(ReplaceCart(cart_items=A_CART, total=total)).then()


def test_the_same_lines_without_a_total_end_the_declared_one() -> None:
    cart = given(OPENED, FILLED, TotalDeclared(Decimal(75))).when(ReplaceCart(cart_items=A_CART))
    cart.then(CartReplaced(LINES, LINES))
    assert cart.after().total == Decimal(80)


def test_other_lines_declare_the_same_total_again() -> None:
    cart = given(OPENED, TotalDeclared(Decimal(75)))
    cart.when(ReplaceCart(cart_items=A_CART, total=Decimal(75))).then(
        FILLED, TotalDeclared(Decimal(75), Decimal(80))
    )


CHANGES: list[tuple[Command, CartEvent, int]] = [
    (AddItem(sku="6478", price=Decimal(20)), ItemAdded(1, SHIRT, 1, 2), 100),
    (SetQuantity(position=0, quantity=2), QuantityChanged(0, "9696", 1, 2), 140),
    (RemoveItem(position=0), ItemRemoved(0, SHOES, 1), 20),
    (ReplaceCart(cart_items=[]), CartReplaced((), LINES), 0),
]


@pytest.mark.parametrize(("command", "event", "total"), CHANGES)
def test_a_declared_total_holds_until_the_cart_changes(
    command: Command, event: CartEvent, total: int
) -> None:
    changing = given(OPENED, FILLED, TotalDeclared(Decimal(75))).when(command)
    changing.then(event)
    assert changing.after().total == total


def test_a_change_that_changes_nothing_leaves_the_declared_total() -> None:
    cart = given(OPENED, FILLED, TotalDeclared(Decimal(75)))
    setting = cart.when(SetQuantity(position=0, quantity=1))
    setting.then()
    assert setting.after().total == Decimal(75)


WRONG: list[tuple[dict[str, Any], type[InvalidValue | LimitExceeded], str]] = [
    ({"sku": ""}, InvalidValue, "sku"),
    ({"sku": "x" * 1001}, LimitExceeded, "sku"),
    ({"price": Decimal(-1)}, InvalidValue, "price"),
    ({"quantity": 0}, InvalidValue, "quantity"),
    ({"weight": Decimal(-1)}, InvalidValue, "weight"),
    ({"name": "\0"}, InvalidValue, "name"),
    ({"product": "Runner"}, InvalidValue, "product"),
    ({"attributes": {"1": 1}}, InvalidValue, "attributes"),
    ({"attributes": {"a": [{1: 2}]}}, InvalidValue, "attributes.a[0]"),
]


@pytest.mark.parametrize(("wrong", "error", "field"), WRONG)
def test_an_error_in_an_item_names_its_path(
    wrong: dict[str, Any], error: type[InvalidValue | LimitExceeded], field: str
) -> None:
    said: dict[str, Any] = {"sku": "1", "price": Decimal(1)} | wrong
    items = [*A_CART, CartItem(**said)]
    path = f"cartItems[2].{field}"
    given(OPENED).when(ReplaceCart(cart_items=items)).refused(error, field=path)
    given().when(OpenSession(cart_items=items)).refused(error, field=path)
    given(OPENED).when(AddItem(**said)).refused(error, field=field)


@pytest.mark.parametrize("wrong", [{"cart_items": "abc"}, {"cart_items": None}, {"cart_items": {}}])
def test_cart_items_are_a_list(wrong: dict[str, Any]) -> None:
    given(OPENED).when(ReplaceCart(**wrong)).refused(InvalidValue, field="cartItems")
