"""What may be asked of a session: the commands' shapes. The rules are in `sessions.decide`.

In JSON a command is an object with the tag `command` (`{"command": "add-item", "sku": ...}`),
its fields in camelCase; a field that does not exist is refused. Decoding checks the shape and
names the path to what is wrong; values are checked when the command is decided.
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
else:  # what JSON has, where a number is never an int
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
    """The shape that all input shares: frozen, camelCase, unknown fields refused."""


class Product(Shape, frozen=True):
    """The product that an article belongs to."""

    name: str


class CartItem(Shape, frozen=True, kw_only=True):
    """An article that goes into the cart.

    Attributes:
        sku: Its stock keeping unit, 1 to 1000 characters.
        price: Of one unit, before discounts: >= 0, below 10^12, at most 6 decimals.
        quantity: Units, from 1.
        weight: Grams; `height`, `width` and `length` are millimetres.
        attributes: Any JSON by name.
        position: The server's, as are `returned_quantity` and `remaining_quantity`: clients
            send them back; they are ignored.
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
        """A line of a `CustomerSession`, which may be given back as a `CartItem`."""

        @property
        def sku(self) -> str:
            """Its stock keeping unit."""

        @property
        def price(self) -> Decimal:
            """Of one unit."""

        @property
        def quantity(self) -> int:
            """Units."""

        @property
        def remaining_quantity(self) -> int:
            """Units that did not come back."""

    GivenItem: TypeAlias = CartItem | ShownLine
else:  # what JSON has
    GivenItem = CartItem


class ReturnItem(Shape, frozen=True, kw_only=True):
    """Units to return: of the line at a position, or of the lines with an sku.

    Without a quantity it is all that remains. With both, the line must have the sku.
    """

    position: int | None = None
    sku: str | None = None
    quantity: int | None = None


class BaseCommand(Shape, frozen=True, kw_only=True, tag_field="command"):
    """What every command may carry.

    Attributes:
        at: When it happened, with a timezone; None is now. Not before the session's latest
            event, and not more than five minutes ahead of the clock.
    """

    at: datetime | None = None


class OpenSession(BaseCommand, frozen=True, tag="open", kw_only=True):
    """Begin a session; `state="closed"` records an old order at once.

    `total` declares the cart's total where its lines are not known: it is shown until the cart
    changes.
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
    """Put units of an article into the cart: on the line that is alike, or on a new last one."""

    at: datetime | None = None


class SetQuantity(BaseCommand, frozen=True, tag="set-quantity", kw_only=True):
    """Set the quantity, from 1, of the line at a position, or of the only line with an sku.

    With both, the line must have the sku.
    """

    quantity: int
    position: int | None = None
    sku: str | None = None


class RemoveItem(BaseCommand, frozen=True, tag="remove-item", kw_only=True):
    """Take out the line at a position, or the only line with an sku; those after it move up.

    With both, the line must have the sku.
    """

    position: int | None = None
    sku: str | None = None


class ReplaceCart(BaseCommand, frozen=True, tag="replace-cart", kw_only=True):
    """Put these items in place of the whole cart; `total` as in OpenSession."""

    cart_items: Sequence[GivenItem]
    total: Amount | None = None


class ApplyCoupon(BaseCommand, frozen=True, tag="apply-coupon", kw_only=True):
    """Enter a coupon code, in place of the one that is there."""

    coupon: str


class RemoveCoupon(BaseCommand, frozen=True, tag="remove-coupon", kw_only=True):
    """Take the coupon code out."""


class ApplyReferral(BaseCommand, frozen=True, tag="apply-referral", kw_only=True):
    """Enter a referral code, in place of the one that is there."""

    referral: str


class RemoveReferral(BaseCommand, frozen=True, tag="remove-referral", kw_only=True):
    """Take the referral code out."""


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
    """Give a discount a value under its label; the last value of a label wins."""

    label: str
    value: Amount


class RemoveDiscount(BaseCommand, frozen=True, tag="remove-discount", kw_only=True):
    """Take a discount away."""

    label: str


class CloseSession(BaseCommand, frozen=True, tag="close", kw_only=True):
    """Complete the order."""


class CancelSession(BaseCommand, frozen=True, tag="cancel", kw_only=True):
    """Make the session void; what it was granted is rolled back."""


class ReopenSession(BaseCommand, frozen=True, tag="reopen", kw_only=True):
    """Make a closed session editable again; what it was granted is rolled back."""


class ReturnItems(BaseCommand, frozen=True, tag="return", kw_only=True):
    """Take units back, all or none of them."""

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
    """The command's name, as in its tag: "add-item"."""
    return str(type(command).__struct_config__.tag)
