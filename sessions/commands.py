"""The commands: what may be asked of a session. The rules are in `sessions.decide`.

In JSON a command is an object with the tag `command` (`{"command": "add-item", "sku": ...}`) and
fields in camelCase; unknown fields are refused. Decoding checks the shape, and an error names its
path; values are checked when the command is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

import msgspec
from msgspec import UNSET, UnsetType

if TYPE_CHECKING:
    Amount: TypeAlias = Decimal | int
else:  # for decoding: a number in JSON becomes a Decimal
    Amount = Decimal


class Shape(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    repr_omit_defaults=True,
    rename="camel",
    gc=False,
):
    """Base of all input: frozen, camelCase in JSON, unknown fields refused."""


class Product(Shape, frozen=True):
    """The product that an article belongs to."""

    name: str


class CartItem(Shape, frozen=True, kw_only=True):
    """An article that goes into the cart.

    Attributes:
        sku: Its stock keeping unit, 1 to 1000 characters.
        price: Price of one unit, before discounts: from 0, below 10^12, at most 6 decimals.
        quantity: Number of units, from 1.
        weight: In grams; `height`, `width` and `length` are in millimetres.
        attributes: Any JSON by name.
        position: Ignored, as are `returned_quantity` and `remaining_quantity`: they are the
            server's, and clients may send them back.
    """

    sku: str
    price: Amount
    quantity: int = 1
    name: str = ""
    category: str = ""
    product: Product | None = None
    weight: Amount | None = None
    height: Amount | None = None
    width: Amount | None = None
    length: Amount | None = None
    attributes: dict[str, Any] = {}
    position: Any | UnsetType = UNSET
    returned_quantity: Any | UnsetType = UNSET
    remaining_quantity: Any | UnsetType = UNSET


if TYPE_CHECKING:

    class ShownLine(Protocol):
        """A cart line of a `CustomerSession`, which you may pass as a `CartItem`."""

        @property
        def sku(self) -> str:
            """Its stock keeping unit."""

        @property
        def price(self) -> Decimal:
            """The price of one unit."""

        @property
        def quantity(self) -> int:
            """The number of units."""

        @property
        def remaining_quantity(self) -> int:
            """The units that have not been returned."""

    GivenItem: TypeAlias = CartItem | ShownLine
else:  # for decoding
    GivenItem = CartItem


class ReturnItem(Shape, frozen=True, kw_only=True):
    """Units to return: of the line at `position`, or of the lines with `sku`.

    With both, the line must have the sku. Without `quantity`, all units that remain are returned.
    """

    position: int | None = None
    sku: str | None = None
    quantity: int | None = None


class BaseCommand(Shape, frozen=True, kw_only=True, tag_field="command"):
    """Base of the commands: what each may carry.

    Attributes:
        at: When it happened, with a timezone; None means now. It may not be before the session's
            latest event, nor more than five minutes ahead of the clock.
    """

    at: datetime | None = None


class OpenSession(BaseCommand, frozen=True, tag="open", kw_only=True):
    """Open a session; with `state="closed"` it is closed at once, to record an old order.

    `total` declares the cart's total when its lines are not known. It holds until the cart changes.
    """

    profile_id: str = ""
    cart_items: Sequence[GivenItem] = ()
    coupon: str = ""
    referral: str = ""
    identifiers: Sequence[str] = ()
    attributes: dict[str, Any] = {}
    total: Amount | None = None
    state: Literal["open", "closed"] = "open"


class AddItem(CartItem, frozen=True, tag_field="command", tag="add-item", kw_only=True):
    """Add units of an article to the cart: to the identical line, else as a new last line."""

    at: datetime | None = None


class SetQuantity(BaseCommand, frozen=True, tag="set-quantity", kw_only=True):
    """Set the quantity (from 1) of the line at `position`, or of the only line with `sku`.

    With both, the line must have the sku.
    """

    quantity: int
    position: int | None = None
    sku: str | None = None


class RemoveItem(BaseCommand, frozen=True, tag="remove-item", kw_only=True):
    """Remove the line at `position`, or the only line with `sku`; the lines after it move up.

    With both, the line must have the sku.
    """

    position: int | None = None
    sku: str | None = None


class ReplaceCart(BaseCommand, frozen=True, tag="replace-cart", kw_only=True):
    """Replace the whole cart with these items; `total` is as in `OpenSession`."""

    cart_items: Sequence[GivenItem]
    total: Amount | None = None


class ApplyCoupon(BaseCommand, frozen=True, tag="apply-coupon", kw_only=True):
    """Enter a coupon code; it takes the place of the present one."""

    coupon: str


class RemoveCoupon(BaseCommand, frozen=True, tag="remove-coupon", kw_only=True):
    """Remove the coupon code."""


class ApplyReferral(BaseCommand, frozen=True, tag="apply-referral", kw_only=True):
    """Enter a referral code; it takes the place of the present one."""

    referral: str


class RemoveReferral(BaseCommand, frozen=True, tag="remove-referral", kw_only=True):
    """Remove the referral code."""


class SetAttributes(BaseCommand, frozen=True, tag="set-attributes", kw_only=True):
    """Merge attributes into the session's; None removes one."""

    attributes: dict[str, Any]


class SetIdentifiers(BaseCommand, frozen=True, tag="set-identifiers", kw_only=True):
    """Replace the identifiers, at most 5."""

    identifiers: Sequence[str]


class SetProfile(BaseCommand, frozen=True, tag="set-profile", kw_only=True):
    """Attach the session to a profile; "" makes it anonymous."""

    profile_id: str


class SetDiscount(BaseCommand, frozen=True, tag="set-discount", kw_only=True):
    """Set the value of a discount by its label; the last value of a label wins."""

    label: str
    value: Amount


class RemoveDiscount(BaseCommand, frozen=True, tag="remove-discount", kw_only=True):
    """Remove a discount."""

    label: str


class CloseSession(BaseCommand, frozen=True, tag="close", kw_only=True):
    """Close the session: the order is complete, and its codes are redeemed."""


class CancelSession(BaseCommand, frozen=True, tag="cancel", kw_only=True):
    """Make the session void; its discounts are emptied, its redeemed codes usable again."""


class ReopenSession(BaseCommand, frozen=True, tag="reopen", kw_only=True):
    """Make a closed session editable again; its discounts are emptied, its codes usable again."""


class ReturnItems(BaseCommand, frozen=True, tag="return", kw_only=True):
    """Return units: all of the items or none."""

    items: Sequence[ReturnItem]


CartCommand: TypeAlias = AddItem | SetQuantity | RemoveItem | ReplaceCart
CodeCommand: TypeAlias = ApplyCoupon | RemoveCoupon | ApplyReferral | RemoveReferral
DetailCommand: TypeAlias = (
    SetAttributes | SetIdentifiers | SetProfile | SetDiscount | RemoveDiscount
)
LifecycleCommand: TypeAlias = CloseSession | CancelSession | ReopenSession | ReturnItems
Command: TypeAlias = OpenSession | CartCommand | CodeCommand | DetailCommand | LifecycleCommand

COMMANDS: frozenset[type[Command]] = frozenset(get_args(Command))
"""Every command."""


def name_of(command: Command) -> str:
    """The command's name, which is its tag in JSON, such as "add-item"."""
    return str(type(command).__struct_config__.tag)
