"""Which units come back: by position or sku, all as asked or none."""

from decimal import Decimal
from typing import Any

import pytest

from sessions import (
    InvalidValue,
    Item,
    ItemAdded,
    ItemsReturned,
    LineNotFound,
    NotEnoughLeft,
    ReturnedLine,
    ReturnItem,
    ReturnItems,
    SessionClosed,
    TotalDeclared,
)
from sessions.events import Event
from tests.scenario import OPENED, When, given

SHOES = Item("9696", Decimal(60))
SHIRT = Item("6478", Decimal(20))
SALE_SHIRT = Item("6478", Decimal("12.5"))

ORDER: list[Event] = [
    OPENED,
    ItemAdded(0, SHIRT, 2, 2),
    ItemAdded(1, SHOES, 1, 1),
    ItemAdded(2, SALE_SHIRT, 3, 3),
    SessionClosed(Decimal("137.5")),
]


def shirts(quantity: int) -> ReturnedLine:
    return ReturnedLine(0, "6478", Decimal(20), quantity)


def sale_shirts(quantity: int) -> ReturnedLine:
    return ReturnedLine(2, "6478", Decimal("12.5"), quantity)


ONE_PAIR = ReturnedLine(1, "9696", Decimal(60), 1)


def returning(*asked: dict[str, Any], after: tuple[Event, ...] = ()) -> When:
    items = [ReturnItem(**item) for item in asked]
    return given(*ORDER, *after).when(ReturnItems(items=items))


def test_units_of_a_line_come_back_with_their_price() -> None:
    back = returning({"position": 0, "quantity": 1})
    back.then(ItemsReturned((shirts(1),)))
    after = back.after()
    assert after.state == "partially_returned"
    assert [(line.quantity, line.returned, line.remaining) for line in after.lines] == [
        (2, 1, 1),
        (1, 0, 1),
        (3, 0, 3),
    ]


def test_without_a_quantity_all_remaining_units_of_the_line_come_back() -> None:
    returning({"position": 2}).then(ItemsReturned((sale_shirts(3),)))
    one_back = ItemsReturned((sale_shirts(1),))
    returning({"position": 2}, after=(one_back,)).then(ItemsReturned((sale_shirts(2),)))


@pytest.mark.parametrize(
    ("quantity", "lines"),
    [
        (1, (shirts(1),)),
        (2, (shirts(2),)),
        (3, (shirts(2), sale_shirts(1))),
        (5, (shirts(2), sale_shirts(3))),
        (None, (shirts(2), sale_shirts(3))),
    ],
)
def test_an_sku_on_several_lines_takes_them_by_ascending_position(
    quantity: int | None, lines: tuple[ReturnedLine, ...]
) -> None:
    returning({"sku": "6478", "quantity": quantity}).then(ItemsReturned(lines))


def test_an_sku_passes_over_lines_that_have_nothing_left() -> None:
    back = returning({"sku": "6478", "quantity": 2}, after=(ItemsReturned((shirts(2),)),))
    back.then(ItemsReturned((sale_shirts(2),)))


def test_a_position_and_an_sku_must_agree() -> None:
    returning({"position": 2, "sku": "6478", "quantity": 1}).then(ItemsReturned((sale_shirts(1),)))
    wrong = returning({"position": 0}, {"position": 1, "sku": "6478"})
    wrong.refused(LineNotFound, field="items[1].sku", value="6478")


def test_the_same_line_named_twice_is_summed() -> None:
    twice = returning({"position": 2, "quantity": 1}, {"position": 2, "quantity": 2})
    twice.then(ItemsReturned((sale_shirts(3),)))
    by_both = returning({"position": 0, "quantity": 1}, {"sku": "6478", "quantity": 2})
    by_both.then(ItemsReturned((shirts(2), sale_shirts(1))))


def test_the_sum_of_a_line_named_twice_is_checked() -> None:
    back = returning({"position": 2, "quantity": 2}, {"position": 2, "quantity": 2})
    back.refused(NotEnoughLeft, field="items[1].quantity", asked=2, left=1, sku="6478")


def test_lines_are_told_by_ascending_position_whatever_the_order_asked() -> None:
    back = returning({"position": 2, "quantity": 1}, {"position": 1}, {"position": 0})
    back.then(ItemsReturned((shirts(2), ONE_PAIR, sale_shirts(1))))


@pytest.mark.parametrize(
    "asked", [{"position": 0, "quantity": 3}, {"sku": "6478", "quantity": 6}], ids=str
)
def test_more_than_remains_is_refused(asked: dict[str, Any]) -> None:
    left = asked["quantity"] - 1
    returning(asked).refused(
        NotEnoughLeft, field="items[0].quantity", asked=asked["quantity"], left=left, sku="6478"
    )


def test_a_return_is_refused_as_a_whole() -> None:
    wrong = returning({"position": 0, "quantity": 1}, {"position": 1, "quantity": 2})
    wrong.refused(NotEnoughLeft, field="items[1].quantity", asked=2, left=1, sku="9696")


@pytest.mark.parametrize("asked", [{}, {"quantity": 1}])
def test_a_line_without_anything_left_has_nothing_to_return(asked: dict[str, Any]) -> None:
    gone = (ItemsReturned((ONE_PAIR,)),)
    for line in ({"position": 1}, {"sku": "9696"}):
        back = returning(line | asked, after=gone)
        back.refused(NotEnoughLeft, field="items[0].quantity", left=0, sku="9696")


@pytest.mark.parametrize(
    ("asked", "field", "value"),
    [
        ({"position": 3}, "items[0].position", 3),
        ({"sku": "1"}, "items[0].sku", "1"),
        ({"sku": ""}, "items[0].sku", ""),
        ({"position": 3, "sku": "6478"}, "items[0].position", 3),
    ],
)
def test_an_unknown_line_is_refused(asked: dict[str, Any], field: str, value: object) -> None:
    returning(asked).refused(LineNotFound, field=field, value=value)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "items[0].position"),
        ({"quantity": 1}, "items[0].position"),
        ({"position": -1}, "items[0].position"),
        ({"position": True}, "items[0].position"),
        ({"position": "0"}, "items[0].position"),
        ({"position": 0, "quantity": 0}, "items[0].quantity"),
        ({"position": 0, "quantity": -1}, "items[0].quantity"),
        ({"position": 0, "quantity": True}, "items[0].quantity"),
        ({"position": 0, "quantity": 1.0}, "items[0].quantity"),
    ],
    ids=str,
)
def test_a_line_and_a_quantity_are_whole_numbers(asked: dict[str, Any], field: str) -> None:
    returning(asked).refused(InvalidValue, field=field)


def test_an_empty_list_is_refused() -> None:
    returning().refused(InvalidValue, field="items")


@pytest.mark.parametrize("wrong", [None, "abc", {}, 1])
def test_items_are_a_list(wrong: Any) -> None:
    given(*ORDER).when(ReturnItems(items=wrong)).refused(InvalidValue, field="items")


def test_a_session_whose_items_all_came_back_stays_partially_returned() -> None:
    back = returning({"sku": "6478"}, {"sku": "9696"})
    after = back.after()
    assert after.state == "partially_returned"
    assert [line.remaining for line in after.lines] == [0, 0, 0]


def test_returns_go_on_until_nothing_remains() -> None:
    first = ItemsReturned((shirts(2), ONE_PAIR, sale_shirts(2)))
    last = returning({"sku": "6478", "quantity": 1}, after=(first,))
    last.then(ItemsReturned((sale_shirts(1),)))
    assert [line.remaining for line in last.after().lines] == [0, 0, 0]


def test_returns_leave_total_units_and_closing_time_as_they_are() -> None:
    before = given(*ORDER).session
    after = returning({"sku": "6478"}, {"sku": "9696"}).after()
    assert before is not None
    assert (after.total, after.units, after.closed) == (before.total, before.units, before.closed)


def test_returns_leave_a_declared_total_as_it_is() -> None:
    order = [*ORDER[:-1], TotalDeclared(Decimal(99)), SessionClosed(Decimal(99))]
    back = given(*order).when(ReturnItems(items=[ReturnItem(position=0)]))
    assert back.after().total == Decimal(99)
