"""`decide` says what a command does to a session, or refuses it: here, and only here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, assert_never

import msgspec

from sessions import cart, details, rules
from sessions.claims import Claim, Usage, first_session, is_first, redemptions, taken_by
from sessions.commands import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CancelSession,
    CloseSession,
    Command,
    LifecycleCommand,
    OpenSession,
    RemoveCoupon,
    RemoveItem,
    RemoveReferral,
    ReopenSession,
    ReplaceCart,
    ReturnItems,
    SetProfile,
    SetQuantity,
    name_of,
)
from sessions.errors import (
    IllegalTransition,
    InvalidValue,
    Refused,
    SessionExists,
    SessionNotClosed,
    SessionNotFound,
    SessionNotOpen,
)
from sessions.events import (
    Event,
    SessionCancelled,
    SessionClosed,
    SessionOpened,
    SessionReopened,
)
from sessions.session import evolve

if TYPE_CHECKING:
    from sessions.session import Session


class Known(msgspec.Struct, frozen=True, gc=False):
    """What a decision needs to know besides the session itself.

    Attributes:
        session_id: The session's id.
        now: The time by the clock.
        used: By limit, how much of it is used: for each claim that `asks` names for the command.
    """

    session_id: str
    now: datetime
    used: dict[str, Usage] = {}


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a command does to a session.

    Attributes:
        at: When the events happened.
        events: The events; empty if the session already is as the command wants it.
        claims: The claims that the events take.
    """

    at: datetime
    events: Sequence[Event]
    claims: Sequence[Claim] = ()


_ASKING = {OpenSession, SetProfile, CloseSession, CancelSession, ReopenSession}
"""The commands that ask. Most do not, and a look-up by type says so faster than `isinstance`."""


def asks(command: Command, session: Session | None = None) -> list[Claim]:
    """The claims whose limits must be in `Known.used` to decide a command for this session."""
    if type(command) not in _ASKING:
        return []
    if not isinstance(command, (OpenSession, SetProfile)):
        return redemptions(session.coupon, session.referral) if session else []
    try:
        profile = rules.text("profileId", command.profile_id)
    except Refused:  # it is "", or an id that `decide` will refuse
        return []
    return [first_session(profile)]


def decide(command: Command, session: Session | None, known: Known) -> Decision:
    """Decide what a command does to a session (None: it does not exist yet), or refuse it.

    It is pure: it reads nothing but its arguments.

    Raises:
        Refused: A rule forbids it; the class and the fields say which.
    """
    try:
        if isinstance(command, OpenSession):
            if session is not None:
                raise SessionExists(
                    session=known.session_id, state=session.state, command=name_of(command)
                )
            at = rules.happened_at(command.at, None, known.now)
            events: Sequence[Event] = _open(command, at, known)
        else:
            if session is None:
                raise SessionNotFound(session=known.session_id)
            _check_state(command, session.state, known.session_id)
            at = rules.happened_at(command.at, session.updated, known.now)
            events = _decide(command, session, known)
    except Refused as refusal:
        refusal.about(session=known.session_id, command=name_of(command))
        raise
    return Decision(at, events, [claim for event in events for claim in taken_by(event)])


def _check_state(command: Command, state: str, session_id: str) -> None:
    if state == "open" and not isinstance(command, (ReopenSession, ReturnItems)):
        return
    match command:
        case CancelSession():
            allowed, refusal = state != "cancelled", IllegalTransition
        case ReopenSession():
            allowed, refusal = state == "closed", SessionNotClosed
        case ReturnItems():
            allowed, refusal = state in {"closed", "partially_returned"}, SessionNotClosed
        case _:
            allowed, refusal = False, SessionNotOpen
    if not allowed:
        raise refusal(session=session_id, state=state, command=name_of(command))


def _open(command: OpenSession, at: datetime, known: Known) -> list[Event]:
    profile = rules.text("profileId", command.profile_id, least=0)
    events: list[Event] = [SessionOpened(is_first(profile, known.used), profile)]
    session = evolve(None, events[0], at)
    events += cart.filled(session, command.cart_items, command.total)
    events += details.coupon(session, rules.code("coupon", command.coupon, least=0))
    events += details.referral(session, rules.code("referral", command.referral, least=0))
    events += details.identifiers(session, command.identifiers)
    events += details.attributes(session, command.attributes)
    if command.state not in ("open", "closed"):
        raise InvalidValue(field="state", rule="open or closed", value=rules.shown(command.state))
    if command.state == "closed":
        for event in events[1:]:
            session = evolve(session, event, at)
        events.append(_closed(session))
    return events


def _decide(  # noqa: PLR0911  one line per command
    command: Command, session: Session, known: Known
) -> Sequence[Event]:
    match command:
        case AddItem():
            return cart.add_item(session, command)
        case SetQuantity():
            return cart.set_quantity(session, command)
        case RemoveItem():
            return cart.remove_item(session, command)
        case ReplaceCart():
            return cart.replace_cart(session, command)
        case ApplyCoupon() | RemoveCoupon() | ApplyReferral() | RemoveReferral():
            return details.of_codes(command, session)
        case CloseSession() | CancelSession() | ReopenSession() | ReturnItems():
            return _lifecycle(command, session)
        case OpenSession():
            raise AssertionError
        case _:
            return details.of_details(command, session, known.used)


def _lifecycle(command: LifecycleCommand, session: Session) -> Sequence[Event]:
    match command:
        case CloseSession():
            return [_closed(session)]
        case CancelSession():
            return [_cancelled(session)]
        case ReopenSession():
            return [_reopened(session)]
        case ReturnItems():
            return cart.return_items(session, command)
        case _:
            assert_never(command)


def _closed(session: Session) -> SessionClosed:
    return SessionClosed(session.total, session.coupon, session.referral)


def _cancelled(session: Session) -> SessionCancelled:
    discounts = rules.in_order(session.discounts)
    if session.closed is None:
        return SessionCancelled(session.state, discounts=discounts)
    return SessionCancelled(
        session.state, session.closed, session.coupon, session.referral, discounts
    )


def _reopened(session: Session) -> SessionReopened:
    if session.closed is None:
        raise AssertionError
    discounts = rules.in_order(session.discounts)
    return SessionReopened(session.closed, session.coupon, session.referral, discounts)
