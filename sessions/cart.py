"""The rules of the cart: which lines are identical, which one is meant, how much fits in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions import rules
from sessions.commands import CartItem, Product, ReturnItem
from sessions.errors import (
    AmbiguousSku,
    InvalidValue,
    LimitExceeded,
    LineNotFound,
    NotEnoughLeft,
)
from sessions.events import (
    CartEvent,
    CartLine,
    CartReplaced,
    Item,
    ItemAdded,
    ItemProduct,
    ItemRemoved,
    ItemsReturned,
    QuantityChanged,
    ReturnedLine,
    TotalDeclared,
)
from sessions.session import Line, total_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from sessions.commands import (
        AddItem,
        Amount,
        GivenItem,
        RemoveItem,
        ReplaceCart,
        ReturnItems,
        SetQuantity,
    )
    from sessions.session import Session

Lines = tuple[Line, ...]


def add_item(session: Session, command: AddItem) -> list[CartEvent]:
    """AddItem: to the identical line, or as a new last one."""
    item, quantity = _item(command)
    position, line_quantity = _merged(session.lines, item, quantity)
    lines = len(session.lines) + (position == len(session.lines))
    _check_size(lines, session.units + quantity)
    return [ItemAdded(position, item, quantity, line_quantity)]


def set_quantity(session: Session, command: SetQuantity) -> list[CartEvent]:
    """SetQuantity: of one line, within the limit of units."""
    position = _the_line(session.lines, command.position, command.sku)
    quantity = rules.count("quantity", command.quantity)
    line = session.lines[position]
    if quantity == line.quantity:
        return []
    _check_size(len(session.lines), session.units + quantity - line.quantity)
    return [QuantityChanged(position, line.item.sku, line.quantity, quantity)]


def remove_item(session: Session, command: RemoveItem) -> list[CartEvent]:
    """RemoveItem: one line."""
    position = _the_line(session.lines, command.position, command.sku)
    line = session.lines[position]
    return [ItemRemoved(position, line.item, line.quantity)]


def replace_cart(session: Session, command: ReplaceCart) -> list[CartEvent]:
    """ReplaceCart: all lines, and the declared total."""
    return filled(session, command.cart_items, command.total)


def filled(session: Session, items: Sequence[GivenItem], total: Amount | None) -> list[CartEvent]:
    """The cart is made to hold these items, merged as if they were added one by one."""
    lines: list[Line] = []
    for index, given in enumerate(rules.sequence("cartItems", items)):
        item, quantity = _item(given, f"cartItems[{index}].")
        position, line_quantity = _merged(lines, item, quantity)
        lines[position:] = [Line(item, line_quantity), *lines[position + 1 :]]
    _check_size(len(lines), sum(line.quantity for line in lines))
    summed = total_of(tuple(lines))
    declared = None if total is None else rules.money("total", total)
    same_lines = _same_lines(session.lines, lines)
    if same_lines and session.total == (summed if declared is None else declared):
        return []
    events: list[CartEvent] = []
    total_before = session.total
    if not same_lines or declared is None:
        events.append(CartReplaced(_as_recorded(lines), _as_recorded(session.lines)))
        total_before = summed
    if declared not in {None, total_before}:
        events.append(TotalDeclared(declared, total_before))
    return events


def return_items(session: Session, command: ReturnItems) -> list[ItemsReturned]:
    """ReturnItems: all of the items, or none."""
    asked = rules.sequence("items", command.items)
    if not asked:
        raise InvalidValue(field="items", rule="at least one item", value="none")
    left = [line.remaining for line in session.lines]
    for index, item in enumerate(asked):
        _take(session.lines, left, item, f"items[{index}].")
    return [ItemsReturned(tuple(_returned(session.lines, left)))]


def _returned(lines: Lines, left: Sequence[int]) -> list[ReturnedLine]:
    return [
        ReturnedLine(position, line.item.sku, line.item.price, line.remaining - left[position])
        for position, line in enumerate(lines)
        if line.remaining != left[position]
    ]


def _take(lines: Lines, left: list[int], asked: ReturnItem, path: str) -> None:
    if not isinstance(asked, ReturnItem):
        raise InvalidValue(field=path.rstrip("."), rule="a ReturnItem", value=type(asked).__name__)
    positions = _addressed(lines, asked.position, asked.sku, path)
    available = sum([left[position] for position in positions])
    if asked.quantity is None:
        quantity = available
    else:
        quantity = rules.count(f"{path}quantity", asked.quantity)
    if not 0 < quantity <= available:
        sku = lines[positions[0]].item.sku
        wanted = asked.quantity or "all"
        raise NotEnoughLeft(field=f"{path}quantity", asked=wanted, left=available, sku=sku)
    for position in positions:
        taken = min(quantity, left[position])
        left[position] -= taken
        quantity -= taken


def _item(given: GivenItem | AddItem, path: str = "") -> tuple[Item, int]:
    if not isinstance(given, CartItem | Item):  # a view's line is an Item with its quantity
        raise InvalidValue(field=path.rstrip("."), rule="a CartItem", value=type(given).__name__)
    item = Item(
        rules.text(f"{path}sku", given.sku),
        rules.money(f"{path}price", given.price),
        _free_text(path, "name", given.name),
        _free_text(path, "category", given.category),
        _product(path, given.product),
        _measure(path, "weight", given.weight),
        _measure(path, "height", given.height),
        _measure(path, "width", given.width),
        _measure(path, "length", given.length),
        rules.attributes(f"{path}attributes", given.attributes),
    )
    return item, rules.count(f"{path}quantity", getattr(given, "quantity", None))


def _free_text(path: str, name: str, value: object) -> str:
    return "" if value == "" else rules.text(path + name, value, least=0, most=None)


def _measure(path: str, name: str, value: object) -> Decimal | None:
    return None if value is None else rules.money(path + name, value)


def _product(path: str, value: object) -> ItemProduct | None:
    if value is None:
        return None
    if not isinstance(value, Product | ItemProduct):
        raise InvalidValue(field=f"{path}product", rule="a Product", value=rules.shown(value))
    return ItemProduct(_free_text(path, "product.name", value.name))


def _merged(lines: Sequence[Line], item: Item, quantity: int) -> tuple[int, int]:
    if item.sku in [line.item.sku for line in lines]:
        for position, line in enumerate(lines):
            if line.item.sku == item.sku and _alike(line.item, item):
                return position, line.quantity + quantity
    return len(lines), quantity


def _alike(one: Item, other: Item) -> bool:
    return one == other and rules.same_json(one.attributes, other.attributes)


def _as_recorded(lines: Sequence[Line]) -> tuple[CartLine, ...]:
    return tuple([CartLine(line.item, line.quantity) for line in lines])


def _same_lines(old: Sequence[Line], new: Sequence[Line]) -> bool:
    return len(old) == len(new) and all(
        one.quantity == other.quantity and _alike(one.item, other.item)
        for one, other in zip(old, new, strict=True)
    )


def _check_size(lines: int, units: int) -> None:
    if lines > rules.MAX_LINES:
        raise LimitExceeded(field="cartItems", limit=f"{rules.MAX_LINES} lines", value=lines)
    if units > rules.MAX_UNITS:
        raise LimitExceeded(field="cartItems", limit=f"{rules.MAX_UNITS} units", value=units)


def _the_line(lines: Lines, position: int | None, sku: str | None) -> int:
    positions = _addressed(lines, position, sku)
    if len(positions) > 1:
        raise AmbiguousSku(field="sku", value=sku, positions=positions)
    return positions[0]


def _addressed(
    lines: Lines, position: int | None, sku: str | None, path: str = ""
) -> Sequence[int]:
    if position is None and sku is None:
        raise InvalidValue(field=f"{path}position", rule="a position or an sku", value="None")
    if sku is not None:
        rules.text(f"{path}sku", sku, least=0)
    if position is None:
        found = [i for i, line in enumerate(lines) if line.item.sku == sku]
        if not found:
            raise LineNotFound(field=f"{path}sku", rule="no cart line has this sku", value=sku)
        return found
    if rules.count(f"{path}position", position, least=0) >= len(lines):
        rule = f"the cart's last line is {len(lines) - 1}" if lines else "the cart has no lines"
        raise LineNotFound(field=f"{path}position", rule=rule, value=position)
    if sku is not None and lines[position].item.sku != sku:
        raise LineNotFound(field=f"{path}sku", rule=f"not the sku of line {position}", value=sku)
    return [position]
