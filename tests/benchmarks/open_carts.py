"""Which articles are in open carts? A projection with rows, as users write them."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from projections import Column, Projection, Rows
from sessions.events import ItemAdded, QuantityChanged, SessionClosed, SessionOpened
from sessions.recorded import Recorded


class Line(msgspec.Struct, frozen=True):
    sku: str
    price: Decimal
    quantity: int


class Cart(msgspec.Struct, frozen=True):
    profile_id: str = ""
    is_open: bool = True
    lines: tuple[Line, ...] = ()


def fold(cart: Cart | None, recorded: Recorded) -> Cart:
    cart = cart or Cart()
    match recorded.event:
        case SessionOpened(profile_id=profile):
            return replace(cart, profile_id=profile)
        case ItemAdded(position=position, item=item, line_quantity=quantity):
            return _with_line(cart, position, Line(item.sku, item.price, quantity))
        case QuantityChanged(position=position, quantity=quantity):
            return _with_line(cart, position, replace(cart.lines[position], quantity=quantity))
        case _:
            return replace(cart, is_open=False)


def _with_line(cart: Cart, position: int, line: Line) -> Cart:
    return replace(cart, lines=(*cart.lines[:position], line, *cart.lines[position + 1 :]))


def _rows(cart: Cart) -> Iterator[Sequence[Any]]:
    if cart.is_open:
        for position, line in enumerate(cart.lines):
            yield position, line.sku, line.price, line.quantity


OPEN_CARTS = Projection(
    name="open_carts",
    version=1,
    view=Cart,
    fold=fold,
    key=Column("session_id", "id"),
    types=(SessionOpened, ItemAdded, QuantityChanged, SessionClosed),
    columns=(Column("profile_id", "id"), Column("is_open", "flag")),
    rows=(
        Rows(
            "open_cart_lines",
            columns=(
                Column("position", "integer"),
                Column("sku"),
                Column("price", "money"),
                Column("quantity", "integer"),
            ),
            key=("position",),
            of=_rows,
            indexes=(("application_id", "sku"),),
        ),
    ),
)
