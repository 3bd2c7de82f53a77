"""The rules of a session's details: codes, attributes, identifiers, profile, discounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from sessions import rules
from sessions.claims import is_first
from sessions.commands import (
    ApplyCoupon,
    ApplyReferral,
    RemoveCoupon,
    RemoveDiscount,
    RemoveReferral,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
)
from sessions.events import (
    AttributesChanged,
    CouponApplied,
    CouponRemoved,
    DiscountRemoved,
    DiscountSet,
    IdentifiersReplaced,
    ProfileChanged,
    ReferralApplied,
    ReferralRemoved,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sessions.claims import Usage
    from sessions.commands import CodeCommand, DetailCommand
    from sessions.events import Event
    from sessions.session import Session


def of_codes(command: CodeCommand, session: Session) -> Sequence[Event]:
    """What a command on a coupon or referral code records."""
    match command:
        case ApplyCoupon():
            return coupon(session, rules.code("coupon", command.coupon))
        case RemoveCoupon():
            return [CouponRemoved(session.coupon)] if session.coupon else []
        case ApplyReferral():
            return referral(session, rules.code("referral", command.referral))
        case RemoveReferral():
            return [ReferralRemoved(session.referral)] if session.referral else []
        case _:
            assert_never(command)


def coupon(session: Session, code: str) -> Sequence[Event]:
    """A coupon code is entered, if it differs from the present one."""
    return [] if code == session.coupon else [CouponApplied(code, session.coupon)]


def referral(session: Session, code: str) -> Sequence[Event]:
    """A referral code is entered, if it differs from the present one."""
    return [] if code == session.referral else [ReferralApplied(code, session.referral)]


def of_details(
    command: DetailCommand, session: Session, used: Mapping[str, Usage]
) -> Sequence[Event]:
    """What a command on attributes, identifiers, profile or discounts records."""
    match command:
        case SetAttributes():
            return attributes(session, command.attributes)
        case SetIdentifiers():
            return identifiers(session, command.identifiers)
        case SetProfile():
            return _profile(session, command, used)
        case SetDiscount():
            return _discount(session, command)
        case RemoveDiscount():
            label = rules.text("label", command.label)
            value = session.discounts.get(label)
            return [] if value is None else [DiscountRemoved(label, value)]
        case _:
            assert_never(command)


def attributes(session: Session, asked: Mapping[str, Any]) -> Sequence[Event]:
    """Attributes are merged; None removes one."""
    given = rules.attributes("attributes", asked)
    old = session.attributes
    removed = tuple(sorted([name for name in given if given[name] is None and name in old]))
    values = {
        name: value
        for name, value in given.items()
        if value is not None and not (name in old and rules.same_json(old[name], value))
    }
    replaced = {name: old[name] for name in (*values, *removed) if name in old}
    return [AttributesChanged(values, removed, replaced)] if values or removed else []


def identifiers(session: Session, asked: Sequence[str]) -> Sequence[Event]:
    """The identifiers are replaced, if they differ."""
    given = rules.identifiers("identifiers", asked)
    replaced = session.identifiers
    return [] if given == replaced else [IdentifiersReplaced(given, replaced)]


def _profile(session: Session, command: SetProfile, used: Mapping[str, Usage]) -> Sequence[Event]:
    profile = rules.text("profileId", command.profile_id, least=0)
    if profile == session.profile_id:
        return []
    return [ProfileChanged(session.profile_id, profile, is_first(profile, used))]


def _discount(session: Session, command: SetDiscount) -> Sequence[Event]:
    label = rules.text("label", command.label)
    value = rules.money("value", command.value)
    replaced = session.discounts.get(label)
    return [] if value == replaced else [DiscountSet(label, value, replaced)]
