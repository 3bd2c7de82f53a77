"""`Session`, the state that events add up to, and `evolve`, which applies any event to it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from sessions.events import (
    AttributesChanged,
    CartReplaced,
    CouponApplied,
    CouponRemoved,
    DiscountRemoved,
    DiscountSet,
    Event,
    IdentifiersReplaced,
    Item,
    ItemAdded,
    ItemRemoved,
    ItemsReturned,
    ProfileChanged,
    QuantityChanged,
    ReferralApplied,
    ReferralRemoved,
    SessionCancelled,
    SessionClosed,
    SessionOpened,
    SessionReopened,
    State,
    TotalDeclared,
)
from sessions.money import ZERO, fma, plain

if TYPE_CHECKING:
    from collections.abc import Callable


class Line(msgspec.Struct, frozen=True, gc=False):
    """A line of the cart: its index is its position."""

    item: Item
    quantity: int
    returned: int = 0

    @property
    def remaining(self) -> int:
        """The units that have not been returned."""
        return self.quantity - self.returned


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A session at one moment of its history.

    Attributes:
        created: When it was opened.
        updated: When its latest event happened.
        closed: When it was last closed; None while it is open, or if it never was closed.
        declared_total: The total that the caller declared; None again once the cart changes.
    """

    created: datetime
    updated: datetime
    first_session: bool
    state: State = "open"
    profile_id: str = ""
    lines: tuple[Line, ...] = ()
    coupon: str = ""
    referral: str = ""
    identifiers: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}
    discounts: dict[str, Decimal] = {}
    declared_total: Decimal | None = None
    closed: datetime | None = None

    @property
    def total(self) -> Decimal:
        """The declared total, or else price times quantity over the cart, before discounts."""
        if self.declared_total is not None:
            return self.declared_total
        return total_of(self.lines)

    @property
    def units(self) -> int:
        """The units in the cart, returned ones included."""
        return sum([line.quantity for line in self.lines])


def total_of(lines: tuple[Line, ...]) -> Decimal:
    """The sum of price times quantity over lines, exactly."""
    amount = ZERO
    for line in lines:  # a loop, as this runs for each view that is folded
        amount = fma(line.item.price, line.quantity, amount)
    return plain(amount)


def evolve(session: Session | None, event: Event, at: datetime) -> Session:
    """Apply an event that happened at `at`, and return the session after it.

    It checks no rules: whatever was recorded is applied, so that a rule which is tightened later
    never makes an old session unreadable. `session` is None before the first event.

    Raises:
        ValueError: The stream does not begin with `SessionOpened`.
    """
    if session is not None:
        return STEPS[type(event)](session, event, at)
    if not isinstance(event, SessionOpened):
        msg = f"a session's stream begins with SessionOpened, not {type(event).__name__}"
        raise ValueError(msg)  # noqa: TRY004  the event is right, its place is not
    return _opened(session, event, at)


def _opened(_: Session | None, event: SessionOpened, at: datetime) -> Session:
    return Session(
        created=at, updated=at, first_session=event.first_session, profile_id=event.profile_id
    )


def _filled(session: Session, lines: tuple[Line, ...], at: datetime) -> Session:
    """The session with another cart, which ends a declared total."""
    return replace(session, updated=at, lines=lines, declared_total=None)


def _item_added(session: Session, event: ItemAdded, at: datetime) -> Session:
    lines, position = session.lines, event.position
    line = Line(event.item, event.line_quantity)
    return _filled(session, (*lines[:position], line, *lines[position + 1 :]), at)


def _quantity_changed(session: Session, event: QuantityChanged, at: datetime) -> Session:
    lines, position = session.lines, event.position
    line = Line(lines[position].item, event.quantity, lines[position].returned)
    return _filled(session, (*lines[:position], line, *lines[position + 1 :]), at)


def _item_removed(session: Session, event: ItemRemoved, at: datetime) -> Session:
    lines, position = session.lines, event.position
    return _filled(session, (*lines[:position], *lines[position + 1 :]), at)


def _cart_replaced(session: Session, event: CartReplaced, at: datetime) -> Session:
    lines = tuple([Line(line.item, line.quantity) for line in event.lines])
    return _filled(session, lines, at)


def _total_declared(session: Session, event: TotalDeclared, at: datetime) -> Session:
    return replace(session, updated=at, declared_total=event.total)


def _coupon_applied(session: Session, event: CouponApplied, at: datetime) -> Session:
    return replace(session, updated=at, coupon=event.coupon)


def _coupon_removed(session: Session, _: CouponRemoved, at: datetime) -> Session:
    return replace(session, updated=at, coupon="")


def _referral_applied(session: Session, event: ReferralApplied, at: datetime) -> Session:
    return replace(session, updated=at, referral=event.referral)


def _referral_removed(session: Session, _: ReferralRemoved, at: datetime) -> Session:
    return replace(session, updated=at, referral="")


def _attributes_changed(session: Session, event: AttributesChanged, at: datetime) -> Session:
    kept = _without(session.attributes, *event.removed)
    return replace(session, updated=at, attributes=kept | event.values)


def _identifiers_replaced(session: Session, event: IdentifiersReplaced, at: datetime) -> Session:
    return replace(session, updated=at, identifiers=event.identifiers)


def _profile_changed(session: Session, event: ProfileChanged, at: datetime) -> Session:
    profile, first = event.profile_id, event.first_session
    return replace(session, updated=at, profile_id=profile, first_session=first)


def _discount_set(session: Session, event: DiscountSet, at: datetime) -> Session:
    return replace(session, updated=at, discounts=session.discounts | {event.label: event.value})


def _discount_removed(session: Session, event: DiscountRemoved, at: datetime) -> Session:
    return replace(session, updated=at, discounts=_without(session.discounts, event.label))


def _closed(session: Session, _: SessionClosed, at: datetime) -> Session:
    return replace(session, updated=at, state="closed", closed=at)


def _cancelled(session: Session, _: SessionCancelled, at: datetime) -> Session:
    return replace(session, updated=at, state="cancelled", discounts={})


def _reopened(session: Session, _: SessionReopened, at: datetime) -> Session:
    return replace(session, updated=at, state="open", closed=None, discounts={})


def _items_returned(session: Session, event: ItemsReturned, at: datetime) -> Session:
    lines = list(session.lines)
    for back in event.items:
        line = lines[back.position]
        lines[back.position] = Line(line.item, line.quantity, line.returned + back.quantity)
    return replace(session, updated=at, state="partially_returned", lines=tuple(lines))


def _without(mapping: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


STEPS: dict[type[Event], Callable[[Any, Any, datetime], Session]] = {
    SessionOpened: _opened,
    ItemAdded: _item_added,
    QuantityChanged: _quantity_changed,
    ItemRemoved: _item_removed,
    CartReplaced: _cart_replaced,
    TotalDeclared: _total_declared,
    CouponApplied: _coupon_applied,
    CouponRemoved: _coupon_removed,
    ReferralApplied: _referral_applied,
    ReferralRemoved: _referral_removed,
    AttributesChanged: _attributes_changed,
    IdentifiersReplaced: _identifiers_replaced,
    ProfileChanged: _profile_changed,
    DiscountSet: _discount_set,
    DiscountRemoved: _discount_removed,
    SessionClosed: _closed,
    SessionCancelled: _cancelled,
    SessionReopened: _reopened,
    ItemsReturned: _items_returned,
}
"""How each event changes an existing session: one short function per event, looked up."""
