"""The events: what happened to a session.

This is the stored form: databases hold the names and fields below, so they must stay readable for
ever.

An event is bare: it says what happened, completely enough that a reader understands the step
without the code and without the earlier events. Stream, version, position, times and metadata are
in the envelope (`sessions.recorded`). Add a field only with a default; for any other change write
an upcaster (`sessions.log.mapper`). A field that is left out of the stored form has its default, so
a default never changes.

Four events did not record at first what they replaced; in old ones `replaced` is None.
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
    """Base of all that is stored: frozen, camelCase in JSON, defaults left out."""


class ItemProduct(Fact, frozen=True, gc=False):
    """The product that an article belongs to."""

    name: str


class Item(Fact, frozen=True, gc=False):
    """An article at a price: what a caller says about a cart line, without the quantity.

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
    """A line of a `CartReplaced`: an item and its quantity. Its index is its position."""

    item: Item
    quantity: int


class ReturnedLine(Fact, frozen=True, gc=False):
    """The units of one line that were returned, and the price at which each was sold."""

    position: int
    sku: str
    price: Decimal
    quantity: int


class SessionOpened(Fact, frozen=True, gc=False):
    """A session began. Only this event and `ProfileChanged` decide `first_session`."""

    first_session: bool
    profile_id: str = ""


class ItemAdded(Fact, frozen=True, gc=False):
    """Units of an item were added: as a new last line, or to the identical line at `position`.

    `line_quantity` is the line's quantity afterwards; on a new line it equals `quantity`.
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
    """A line was removed; the lines after it moved up by one position."""

    position: int
    item: Item
    quantity: int


class CartReplaced(Fact, frozen=True, gc=False):
    """`lines` took the place of the whole cart; the index of each is its position.

    `replaced` are the lines before, in the same form.
    """

    lines: tuple[CartLine, ...]
    replaced: tuple[CartLine, ...] | None = None


class TotalDeclared(Fact, frozen=True, gc=False):
    """The caller declared the cart's total; `replaced` was the total before it.

    It holds until the cart changes.
    """

    total: Decimal
    replaced: Decimal | None = None


class CouponApplied(Fact, frozen=True, gc=False):
    """A coupon code was entered, in place of `replaced` ("" if there was none)."""

    coupon: str
    replaced: str = ""


class CouponRemoved(Fact, frozen=True, gc=False):
    """The coupon code was removed."""

    coupon: str


class ReferralApplied(Fact, frozen=True, gc=False):
    """A referral code was entered, in place of `replaced` ("" if there was none)."""

    referral: str
    replaced: str = ""


class ReferralRemoved(Fact, frozen=True, gc=False):
    """The referral code was removed."""

    referral: str


class AttributesChanged(Fact, frozen=True, gc=False):
    """Attributes were set or removed; those that are not named kept their values.

    `replaced` holds the values from before, of those that had one.
    """

    values: dict[str, Any] = {}
    removed: tuple[str, ...] = ()
    replaced: dict[str, Any] | None = None


class IdentifiersReplaced(Fact, frozen=True, gc=False):
    """`identifiers` (hashed devices and addresses) took the place of `replaced`."""

    identifiers: tuple[str, ...]
    replaced: tuple[str, ...] | None = None


class ProfileChanged(Fact, frozen=True, gc=False):
    """The session moved from one profile to another; "" is an unknown customer."""

    old_profile_id: str
    profile_id: str
    first_session: bool


class DiscountSet(Fact, frozen=True, gc=False):
    """A discount's value was set under its label; `replaced` is the value before, if any."""

    label: str
    value: Decimal
    replaced: Decimal | None = None


class DiscountRemoved(Fact, frozen=True, gc=False):
    """A discount was removed; `value` is what it was."""

    label: str
    value: Decimal


class SessionClosed(Fact, frozen=True, gc=False):
    """The order was completed: its total before discounts, and the codes that it redeemed."""

    total: Decimal
    coupon: str = ""
    referral: str = ""


class SessionCancelled(Fact, frozen=True, gc=False):
    """The session became void; the fields say what was rolled back.

    `closed_at` is when it had been closed (None: it was still open, and no code was redeemed);
    `coupon` and `referral` are the redeemed codes that are usable again, `discounts` those that
    were emptied.
    """

    old_state: State
    closed_at: datetime | None = None
    coupon: str = ""
    referral: str = ""
    discounts: dict[str, Decimal] = {}


class SessionReopened(Fact, frozen=True, gc=False):
    """A closed session became editable again; the fields are as in `SessionCancelled`."""

    closed_at: datetime
    coupon: str = ""
    referral: str = ""
    discounts: dict[str, Decimal] = {}


class ItemsReturned(Fact, frozen=True, gc=False):
    """Units were returned; the lines are in ascending order of position."""

    items: tuple[ReturnedLine, ...]


CartEvent: TypeAlias = ItemAdded | QuantityChanged | ItemRemoved | CartReplaced | TotalDeclared
CodeEvent: TypeAlias = CouponApplied | CouponRemoved | ReferralApplied | ReferralRemoved
DetailEvent: TypeAlias = (
    AttributesChanged | IdentifiersReplaced | ProfileChanged | DiscountSet | DiscountRemoved
)
LifecycleEvent: TypeAlias = SessionClosed | SessionCancelled | SessionReopened | ItemsReturned
Event: TypeAlias = SessionOpened | CartEvent | CodeEvent | DetailEvent | LifecycleEvent

EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
"""Every event by its stored name: the one list that codec, folds and tests go by."""

SESSION = "session"
"""The category of the streams that hold these events."""
