"""The session as its events make it: `Session`, and `evolve`, which never says no."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, assert_never, get_args

import msgspec
from msgspec.structs import replace

from sessions import money
from sessions.events import (
    AttributesChanged,
    CartEvent,
    CartReplaced,
    CodeEvent,
    CouponApplied,
    CouponRemoved,
    DetailEvent,
    DiscountRemoved,
    DiscountSet,
    Event,
    IdentifiersReplaced,
    Item,
    ItemAdded,
    ItemRemoved,
    ItemsReturned,
    LifecycleEvent,
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

if TYPE_CHECKING:
    from collections.abc import Callable


class Line(msgspec.Struct, frozen=True, gc=False):
    """A line of the cart: its index is its position."""

    item: Item
    quantity: int
    returned: int = 0

    @property
    def remaining(self) -> int:
        """The units that have not come back."""
        return self.quantity - self.returned


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A session at one moment of its history.

    Attributes:
        created: When it was opened.
        updated: When its latest event happened.
        closed: When it was last closed; None while it is open, or if it never was closed.
        declared_total: What the caller said the cart's total is, until the cart changes.
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
    return money.total([(line.item.price, line.quantity) for line in lines])


def evolve(session: Session | None, event: Event, at: datetime) -> Session:
    """The session after an event that happened at a time.

    It knows no rules: whatever was recorded is applied, so that a rule tightened later never
    makes an old session unreadable. `session` is None before the first event.

    Raises:
        ValueError: The stream does not begin with `SessionOpened`.
    """
    if session is not None:
        return _EVOLVES[type(event)](session, event, at)
    if not isinstance(event, SessionOpened):
        msg = f"a session's stream begins with SessionOpened, not {type(event).__name__}"
        raise ValueError(msg)  # noqa: TRY004  the event is right, its place is not
    return _opened(session, event, at)


def _opened(_: Session | None, event: SessionOpened, at: datetime) -> Session:
    return Session(
        created=at, updated=at, first_session=event.first_session, profile_id=event.profile_id
    )


def _cart(session: Session, event: CartEvent, at: datetime) -> Session:
    lines = session.lines
    match event:
        case ItemAdded(position=position, item=item, line_quantity=quantity):
            line = Line(item, quantity)
            if position == len(lines):
                lines = (*lines, line)
            else:
                lines = (*lines[:position], line, *lines[position + 1 :])
        case QuantityChanged(position=position, quantity=quantity):
            line = replace(lines[position], quantity=quantity)
            lines = (*lines[:position], line, *lines[position + 1 :])
        case ItemRemoved(position=position):
            lines = (*lines[:position], *lines[position + 1 :])
        case CartReplaced():
            lines = tuple([Line(line.item, line.quantity) for line in event.lines])
        case TotalDeclared():
            return replace(session, updated=at, declared_total=event.total)
        case _:
            assert_never(event)
    return replace(session, updated=at, lines=lines, declared_total=None)


def _codes(session: Session, event: CodeEvent, at: datetime) -> Session:
    match event:
        case CouponApplied():
            return replace(session, updated=at, coupon=event.coupon)
        case CouponRemoved():
            return replace(session, updated=at, coupon="")
        case ReferralApplied():
            return replace(session, updated=at, referral=event.referral)
        case ReferralRemoved():
            return replace(session, updated=at, referral="")
        case _:
            assert_never(event)


def _details(session: Session, event: DetailEvent, at: datetime) -> Session:
    match event:
        case AttributesChanged():
            kept = _without(session.attributes, *event.removed)
            return replace(session, updated=at, attributes=kept | event.values)
        case IdentifiersReplaced():
            return replace(session, updated=at, identifiers=event.identifiers)
        case ProfileChanged(profile_id=profile, first_session=first):
            return replace(session, updated=at, profile_id=profile, first_session=first)
        case DiscountSet():
            discounts = session.discounts | {event.label: event.value}
            return replace(session, updated=at, discounts=discounts)
        case DiscountRemoved():
            discounts = _without(session.discounts, event.label)
            return replace(session, updated=at, discounts=discounts)
        case _:
            assert_never(event)


def _lifecycle(session: Session, event: LifecycleEvent, at: datetime) -> Session:
    match event:
        case SessionClosed():
            return replace(session, updated=at, state="closed", closed=at)
        case SessionCancelled():
            return replace(session, updated=at, state="cancelled", discounts={})
        case SessionReopened():
            return replace(session, updated=at, state="open", closed=None, discounts={})
        case ItemsReturned():
            lines = list(session.lines)
            for back in event.items:
                line = lines[back.position]
                lines[back.position] = replace(line, returned=line.returned + back.quantity)
            return replace(session, updated=at, state="partially_returned", lines=tuple(lines))
        case _:
            assert_never(event)


def _without(mapping: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}


_EVOLVES: dict[type[Event], Callable[[Session, Any, datetime], Session]] = {
    kind: evolve_group
    for group, evolve_group in (
        (SessionOpened | None, _opened),
        (CartEvent, _cart),
        (CodeEvent, _codes),
        (DetailEvent, _details),
        (LifecycleEvent, _lifecycle),
    )
    for kind in get_args(group)
}
