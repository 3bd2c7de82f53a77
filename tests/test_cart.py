"""What goes into the cart, onto which line, and how one line is meant."""

from decimal import Decimal
from typing import Any

import pytest

from sessions import (
    AddItem,
    AmbiguousSku,
    InvalidValue,
    Item,
    ItemAdded,
    ItemProduct,
    ItemRemoved,
    LineNotFound,
    Product,
    QuantityChanged,
    RemoveItem,
    SetQuantity,
)
from sessions.commands import Command
from tests.scenario import OPENED, given

SHOES = Item(sku="9696", price=Decimal(60), name="shoes")
SHIRT = Item(sku="6478", price=Decimal(20), name="shirt")
SALE_SHOES = Item(sku="9696", price=Decimal(45), name="shoes")

ONE_PAIR = ItemAdded(0, SHOES, 1, 1)
TWO_SHIRTS = ItemAdded(1, SHIRT, 2, 2)
ONE_PAIR_ON_SALE = ItemAdded(2, SALE_SHOES, 1, 1)


def test_the_first_item_is_line_0() -> None:
    given(OPENED).when(AddItem(sku="9696", price=Decimal(60), name="shoes")).then(ONE_PAIR)


def test_another_item_is_a_new_last_line() -> None:
    adding = AddItem(sku="6478", price=Decimal(20), name="shirt", quantity=2)
    given(OPENED, ONE_PAIR).when(adding).then(TWO_SHIRTS)


def test_the_same_item_again_grows_its_line() -> None:
    adding = AddItem(sku="9696", price=Decimal("60.00"), name="shoes", quantity=3)
    after = given(OPENED, ONE_PAIR, TWO_SHIRTS).when(adding)
    after.then(ItemAdded(0, SHOES, 3, 4))
    assert [line.quantity for line in after.after().lines] == [4, 2]


def test_an_item_keeps_everything_that_was_said_of_it() -> None:
    said: dict[str, Any] = {
        "sku": "9696",
        "price": Decimal("59.9"),
        "name": "shoes",
        "category": "footwear",
        "product": Product("Runner"),
        "weight": Decimal(800),
        "height": Decimal(120),
        "width": Decimal("200.5"),
        "length": Decimal(330),
        "attributes": {"colour": ["red", None], "size": {"eu": 42}},
    }
    item = Item(**said | {"product": ItemProduct("Runner")})
    given(OPENED).when(AddItem(**said, quantity=2)).then(ItemAdded(0, item, 2, 2))


DIFFERENCES: list[dict[str, Any]] = [
    {"sku": "9697"},
    {"price": Decimal("60.01")},
    {"name": "Shoes"},
    {"category": "footwear"},
    {"product": Product("Runner")},
    {"product": Product("")},
    {"weight": Decimal(0)},
    {"height": Decimal(1)},
    {"width": Decimal(1)},
    {"length": Decimal(1)},
    {"attributes": {"gift": True}},
    {"attributes": {"gift": None}},
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_an_item_that_differs_in_anything_is_a_new_last_line(difference: dict[str, Any]) -> None:
    said: dict[str, Any] = {"sku": "9696", "price": Decimal(60), "name": "shoes"} | difference
    adding = given(OPENED, ONE_PAIR, TWO_SHIRTS).when(AddItem(**said))
    [added] = adding.decide().events
    assert isinstance(added, ItemAdded)
    assert (added.position, added.quantity, added.line_quantity) == (2, 1, 1)


ALIKE_IN_PYTHON_ONLY: list[tuple[Any, Any]] = [
    (1, True),
    (True, 1.0),
    (1.0, 1),
    (0, False),
    (0.0, -0.0),
    ([1], [1.0]),
    ({"deep": [0]}, {"deep": [False]}),
]


@pytest.mark.parametrize(("one", "other"), ALIKE_IN_PYTHON_ONLY)
def test_attributes_that_are_written_differently_in_json_are_different(
    one: object, other: object
) -> None:
    added = ItemAdded(0, Item("9696", Decimal(60), attributes={"gift": one}), 1, 1)
    unlike = AddItem(sku="9696", price=Decimal(60), attributes={"gift": other})
    alike = AddItem(sku="9696", price=Decimal(60), attributes={"gift": one})

    given(OPENED, added).when(unlike).then(
        ItemAdded(1, Item("9696", Decimal(60), attributes={"gift": other}), 1, 1)
    )
    given(OPENED, added).when(alike).then(
        ItemAdded(0, Item("9696", Decimal(60), attributes={"gift": one}), 1, 2)
    )


def test_the_order_of_attribute_names_makes_no_difference() -> None:
    item = Item("9696", Decimal(60), attributes={"a": {"x": 1, "y": 2}, "b": 3})
    adding = AddItem(sku="9696", price=Decimal(60), attributes={"b": 3, "a": {"y": 2, "x": 1}})
    given(OPENED, ItemAdded(0, item, 1, 1)).when(adding).then(ItemAdded(0, item, 1, 2))


def test_an_item_that_is_alike_two_lines_goes_onto_the_first() -> None:
    again = ItemAdded(1, SHOES, 5, 5)
    adding = AddItem(sku="9696", price=Decimal(60), name="shoes")
    given(OPENED, ONE_PAIR, again).when(adding).then(ItemAdded(0, SHOES, 1, 2))


def test_adding_looks_at_all_lines_of_an_sku() -> None:
    adding = AddItem(sku="9696", price=Decimal(45), name="shoes")
    cart = given(OPENED, ONE_PAIR, TWO_SHIRTS, ONE_PAIR_ON_SALE)
    cart.when(adding).then(ItemAdded(2, SALE_SHOES, 1, 2))


def test_the_callers_attributes_are_copied() -> None:
    attributes = {"sizes": [42]}
    adding = AddItem(sku="9696", price=Decimal(60), attributes=attributes)
    decision = given(OPENED).when(adding).decide()
    attributes["sizes"].append(43)
    item = Item("9696", Decimal(60), attributes={"sizes": [42]})
    assert decision.events == [ItemAdded(0, item, 1, 1)]


def test_the_servers_fields_of_an_item_are_ignored() -> None:
    adding = AddItem(
        sku="9696", price=Decimal(60), position=7, returned_quantity="x", remaining_quantity=None
    )
    given(OPENED).when(adding).then(ItemAdded(0, Item("9696", Decimal(60)), 1, 1))


@pytest.mark.parametrize("line", [{"position": 1}, {"sku": "6478"}, {"position": 1, "sku": "6478"}])
def test_a_quantity_is_set_by_position_or_sku(line: dict[str, Any]) -> None:
    setting = given(OPENED, ONE_PAIR, TWO_SHIRTS).when(SetQuantity(quantity=5, **line))
    setting.then(QuantityChanged(1, "6478", 2, 5))
    assert [line.quantity for line in setting.after().lines] == [1, 5]


def test_a_quantity_that_is_so_already_changes_nothing() -> None:
    given(OPENED, ONE_PAIR, TWO_SHIRTS).when(SetQuantity(sku="6478", quantity=2)).then()


@pytest.mark.parametrize("wrong", [{"quantity": bad} for bad in (0, -1, True, 1.0, "2", None)])
def test_a_quantity_is_a_whole_number_from_1(wrong: dict[str, Any]) -> None:
    cart = given(OPENED, ONE_PAIR)
    cart.when(SetQuantity(position=0, **wrong)).refused(InvalidValue, field="quantity")
    cart.when(AddItem(sku="1", price=Decimal(1), **wrong)).refused(InvalidValue, field="quantity")


def test_removing_a_line_moves_those_behind_it_up() -> None:
    removing = given(OPENED, ONE_PAIR, TWO_SHIRTS, ONE_PAIR_ON_SALE).when(RemoveItem(position=0))
    removing.then(ItemRemoved(0, SHOES, 1))
    after = removing.after()
    assert [line.item for line in after.lines] == [SHIRT, SALE_SHOES]
    assert after.total == Decimal(85)


def test_a_line_that_moved_up_is_addressed_by_its_new_position() -> None:
    removed = ItemRemoved(0, SHOES, 1)
    cart = given(OPENED, ONE_PAIR, TWO_SHIRTS, removed)
    cart.when(RemoveItem(position=0)).then(ItemRemoved(0, SHIRT, 2))
    cart.when(RemoveItem(position=1)).refused(LineNotFound, field="position", value=1)


def test_a_line_is_removed_by_its_sku() -> None:
    given(OPENED, ONE_PAIR, TWO_SHIRTS).when(RemoveItem(sku="6478")).then(ItemRemoved(1, SHIRT, 2))


def by(line: dict[str, Any]) -> list[Command]:
    return [SetQuantity(quantity=3, **line), RemoveItem(**line)]


@pytest.mark.parametrize("command", by({"sku": "9696"}), ids=repr)
def test_an_sku_on_several_lines_means_no_line(command: Command) -> None:
    cart = given(OPENED, ONE_PAIR, TWO_SHIRTS, ONE_PAIR_ON_SALE)
    cart.when(command).refused(AmbiguousSku, field="sku", value="9696", positions=[0, 2])


def test_a_position_says_which_line_of_an_ambiguous_sku_is_meant() -> None:
    cart = given(OPENED, ONE_PAIR, TWO_SHIRTS, ONE_PAIR_ON_SALE)
    cart.when(RemoveItem(position=2, sku="9696")).then(ItemRemoved(2, SALE_SHOES, 1))


@pytest.mark.parametrize("command", by({"sku": "1"}) + by({"position": 0, "sku": "6478"}), ids=repr)
def test_an_sku_that_is_not_there_is_refused(command: Command) -> None:
    given(OPENED, ONE_PAIR, TWO_SHIRTS).when(command).refused(LineNotFound, field="sku")


@pytest.mark.parametrize("command", by({"position": 2}) + by({"position": 999}), ids=repr)
def test_a_position_that_is_not_there_is_refused(command: Command) -> None:
    given(OPENED, ONE_PAIR, TWO_SHIRTS).when(command).refused(LineNotFound, field="position")


@pytest.mark.parametrize(
    "command", by({}) + [each for bad in (-1, True, 0.0, "0") for each in by({"position": bad})]
)
def test_a_line_is_named_by_a_position_from_0_or_an_sku(command: Command) -> None:
    given(OPENED, ONE_PAIR, TWO_SHIRTS).when(command).refused(InvalidValue, field="position")
