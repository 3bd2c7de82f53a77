"""Claims: limits that hold across streams, exactly, under any concurrency.

A stream holds a claim on a limit, such as "the first session of cust-7". The claim is taken in the
transaction that appends the event which says so, refused when the limit is used up, counted once
however often one holder takes it, and released by an event. So everything about it is in the
events, and the stored claims can be computed from them afresh at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sessions.errors import InvalidValue
from sessions.events import (
    ProfileChanged,
    SessionCancelled,
    SessionClosed,
    SessionOpened,
    SessionReopened,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sessions.events import Event


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A stream's claim on a limit; `at_most` holders may have one (None: any number)."""

    limit: str
    at_most: int | None = None


class Usage(msgspec.Struct, frozen=True, gc=False):
    """How much of a limit is used: by how many holders, and whether this stream is one of them."""

    count: int = 0
    held: bool = False

    def admits(self, claim: Claim) -> bool:
        """Whether this stream may take the claim."""
        return self.held or claim.at_most is None or self.count < claim.at_most


def first_session(profile_id: str) -> Claim:
    """The claim on being a profile's first session; it is never released."""
    return Claim(f"first-session:{profile_id}", 1)


def redemption(kind: str, code: str) -> Claim:
    """The claim on redeeming a coupon or referral code; codes have no upper bound yet."""
    return Claim(f"{kind}-redemption:{code}")


CLAIMING = frozenset(
    {SessionOpened, ProfileChanged, SessionClosed, SessionCancelled, SessionReopened}
)
"""The types of events that take or release claims."""


def taken_by(event: Event) -> list[Claim]:
    """The claims that an event takes for its stream."""
    if type(event) is SessionClosed:
        return redemptions(event.coupon, event.referral)
    if type(event) is SessionOpened or type(event) is ProfileChanged:
        return [first_session(event.profile_id)] if event.first_session and event.profile_id else []
    return []


def released_by(event: Event) -> list[Claim]:
    """The claims that an event releases for its stream."""
    if type(event) is SessionCancelled or type(event) is SessionReopened:
        return redemptions(event.coupon, event.referral)
    return []


def redemptions(coupon: str, referral: str) -> list[Claim]:
    """The claims on redeeming the codes; "" is no code."""
    codes = {"coupon": coupon, "referral": referral}
    return [redemption(kind, code) for kind, code in codes.items() if code]


def is_first(profile_id: str, used: Mapping[str, Usage]) -> bool:
    """Whether this session is the first of a profile; an anonymous one always is.

    Raises:
        InvalidValue: `used` lacks the limit on the profile's first session.
    """
    if not profile_id:
        return True
    claim = first_session(profile_id)
    usage = used.get(claim.limit)
    if usage is None:
        rule = f"the usage of each limit that `asks` names, such as {claim.limit!r}"
        raise InvalidValue(field="known.used", rule=rule, value=list(used))
    return usage.admits(claim)
