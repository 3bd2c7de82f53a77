"""What happened to a session: the events.

The stored form begins here: the names and fields below are in databases, and are read for ever.

An event is bare: it says what happened, completely enough that a reader understands the step
without the code and without the earlier events. Stream, version, position, times and who caused
it stand in the envelope (`sessions.recorded`). Add a field only with a default; for any other
change write an upcaster (`sessions.log.mapper`). A field left out of the stored form has its
default, and a default never changes.

Four events said nothing of what they took the place of at first: their `replaced` is then None.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

import msgspec

State = Literal["open", "closed", "partially_returned", "cancelled"]


class Fact(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    repr_omit_defaults=True,
    rename="camel",
    gc=False,
):
    """The shape that everything stored shares: frozen, camelCase, defaults left out."""


class ItemProduct(Fact, frozen=True, gc=False):
    """The product that an article belongs to."""

    name: str


class Item(Fact, frozen=True, gc=False):
    """An article at a price: all that a caller says of a cart line, except how many.

    `price` is for one unit, in the application's currency; `weight` is in grams, `height`,
    `width` and `length` are in millimetres.
    """

    sku: str
    price: Decimal
    name: str = ""
    category: str = ""
    product: ItemProduct | None = None
    weight: Decimal | None = None
    height: Decimal | None = None
    width: Decimal | None = None
    length: Decimal | None = None
    attributes: dict[str, Any] = {}


class CartLine(Fact, frozen=True, gc=False):
    """A line of a replaced cart: an item and its units. Its index is its position."""

    item: Item
    quantity: int


class ReturnedLine(Fact, frozen=True, gc=False):
    """Units of one line that came back, and the price that each was sold at."""

    position: int
    sku: str
    price: Decimal
    quantity: int


class SessionOpened(Fact, frozen=True, gc=False):
    """A session began. `first_session` is decided here, and then only by `ProfileChanged`."""

    first_session: bool
    profile_id: str = ""


class ItemAdded(Fact, frozen=True, gc=False):
    """Units of an item came into the cart, at a new last position or on the line that has it.

    `line_quantity` is what the line holds after it; it equals `quantity` on a new line.
    """

    position: int
    item: Item
    quantity: int
    line_quantity: int


class QuantityChanged(Fact, frozen=True, gc=False):
    """A line's quantity was set."""

    position: int
    sku: str
    old_quantity: int
    quantity: int


class ItemRemoved(Fact, frozen=True, gc=False):
    """A line left the cart; the lines after it moved up by one position."""

    position: int
    item: Item
    quantity: int


class CartReplaced(Fact, frozen=True, gc=False):
    """The whole cart was replaced by these lines, in this order.

    `replaced` are the lines that left, each by its index as its position.
    """

    lines: tuple[CartLine, ...]
    replaced: tuple[CartLine, ...] | None = None


class TotalDeclared(Fact, frozen=True, gc=False):
    """The caller declared the cart's total, in place of the `replaced` one.

    It holds until the cart changes next.
    """

    total: Decimal
    replaced: Decimal | None = None


class CouponApplied(Fact, frozen=True, gc=False):
    """A coupon code was entered, in place of the `replaced` one."""

    coupon: str
    replaced: str = ""


class CouponRemoved(Fact, frozen=True, gc=False):
    """The coupon code was taken out."""

    coupon: str


class ReferralApplied(Fact, frozen=True, gc=False):
    """A referral code was entered, in place of the `replaced` one."""

    referral: str
    replaced: str = ""


class ReferralRemoved(Fact, frozen=True, gc=False):
    """The referral code was taken out."""

    referral: str


class AttributesChanged(Fact, frozen=True, gc=False):
    """Attributes got new values, or were removed; those not named kept theirs.

    `replaced` are the values that those named had, where they had one.
    """

    values: dict[str, Any] = {}
    removed: tuple[str, ...] = ()
    replaced: dict[str, Any] | None = None


class IdentifiersReplaced(Fact, frozen=True, gc=False):
    """The identifiers (hashed devices, addresses) took the place of the `replaced` ones."""

    identifiers: tuple[str, ...]
    replaced: tuple[str, ...] | None = None


class ProfileChanged(Fact, frozen=True, gc=False):
    """The session moved from one profile to another; "" is nobody known."""

    old_profile_id: str
    profile_id: str
    first_session: bool


class DiscountSet(Fact, frozen=True, gc=False):
    """A discount got a value under its label; `replaced` is the value it had."""

    label: str
    value: Decimal
    replaced: Decimal | None = None


class DiscountRemoved(Fact, frozen=True, gc=False):
    """A discount was taken away."""

    label: str
    value: Decimal


class SessionClosed(Fact, frozen=True, gc=False):
    """The order was completed: its total before discounts, and the codes that it redeemed."""

    total: Decimal
    coupon: str = ""
    referral: str = ""


class SessionCancelled(Fact, frozen=True, gc=False):
    """The session became void, and what it had been granted was rolled back.

    `closed_at` is when it had been closed (None: it was still open, and no code was redeemed);
    `coupon` and `referral` are the redeemed codes that are usable again.
    """

    old_state: State
    closed_at: datetime | None = None
    coupon: str = ""
    referral: str = ""
    discounts: dict[str, Decimal] = {}


class SessionReopened(Fact, frozen=True, gc=False):
    """A closed session became editable again, and what it had been granted was rolled back."""

    closed_at: datetime
    coupon: str = ""
    referral: str = ""
    discounts: dict[str, Decimal] = {}


class ItemsReturned(Fact, frozen=True, gc=False):
    """Units came back, by ascending position."""

    items: tuple[ReturnedLine, ...]


CartEvent: TypeAlias = ItemAdded | QuantityChanged | ItemRemoved | CartReplaced | TotalDeclared
CodeEvent: TypeAlias = CouponApplied | CouponRemoved | ReferralApplied | ReferralRemoved
DetailEvent: TypeAlias = (
    AttributesChanged | IdentifiersReplaced | ProfileChanged | DiscountSet | DiscountRemoved
)
LifecycleEvent: TypeAlias = SessionClosed | SessionCancelled | SessionReopened | ItemsReturned
Event: TypeAlias = SessionOpened | CartEvent | CodeEvent | DetailEvent | LifecycleEvent

EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
"""Every event by its stored name: the registry, the codec's list and the to-do list in one."""

SESSION = "session"
"""The category of the streams of this module's events."""
