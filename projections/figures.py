"""What do sessions add up to? Orders, sums, codes, and the time between two orders."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, get_args

import msgspec

from sessions import money
from sessions.events import State

if TYPE_CHECKING:
    from sessions.session import Session

_ORDERS = ("closed", "partially_returned")
_NONE = Decimal(0)


class Figures(msgspec.Struct, frozen=True):
    """What sessions add up to. An order is a session that is closed or partially returned.

    A session that is open or cancelled counts in `states`, and in nothing else. Money is exact,
    in the application's currency.

    Attributes:
        states: How many sessions are in each state; all four are there.
        gross: The totals of the orders: before discounts, and unchanged by returns.
        discounts: Their discounts.
        returned: Price times quantity of their units that were returned.
        coupons: How many orders redeemed a coupon code, by code.
        referrals: How many orders redeemed a referral code, by code.
        order_times: When each order was closed (UTC), the earliest first.
    """

    states: dict[State, int] = msgspec.field(
        default_factory=lambda: dict.fromkeys(get_args(State), 0)
    )
    gross: Decimal = _NONE
    discounts: Decimal = _NONE
    returned: Decimal = _NONE
    coupons: dict[str, int] = {}
    referrals: dict[str, int] = {}
    order_times: tuple[datetime, ...] = ()

    @property
    def orders(self) -> int:
        """How many orders there are."""
        return len(self.order_times)

    @property
    def net(self) -> Decimal:
        """`gross` without `discounts` and `returned`; below 0 if these are more."""
        return money.total([(self.gross, 1), (self.discounts, -1), (self.returned, -1)])

    @property
    def gaps(self) -> list[timedelta]:
        """The time between each order and the next one: one less than there are orders."""
        return [later - earlier for earlier, later in pairwise(self.order_times)]

    @property
    def average_gap(self) -> timedelta | None:
        """The mean of `gaps`, to the microsecond; None with fewer than two orders."""
        if len(self.order_times) < 2:  # noqa: PLR2004  a gap is between two
            return None
        return (self.order_times[-1] - self.order_times[0]) / (len(self.order_times) - 1)

    def as_dict(self) -> dict[str, object]:
        """The figures by their names in JSON, without the single gaps."""
        average = self.average_gap
        return {
            "states": self.states,
            "orders": self.orders,
            "gross": self.gross,
            "discounts": self.discounts,
            "returned": self.returned,
            "net": self.net,
            "coupons": self.coupons,
            "referrals": self.referrals,
            "averageGapSeconds": None if average is None else average.total_seconds(),
        }


class Tally:
    """Figures that are updated one session after the other, and copied only when they are read."""

    def __init__(self, figures: Figures) -> None:
        self._seen: Figures | None = figures
        self._states = dict(figures.states)
        self._gross, self._discounts = figures.gross, figures.discounts
        self._returned = figures.returned
        self._coupons, self._referrals = dict(figures.coupons), dict(figures.referrals)
        self._order_times = list(figures.order_times)

    @property
    def figures(self) -> Figures:
        """What the sessions add up to now."""
        if self._seen is None:
            self._seen = Figures(
                dict(self._states),
                self._gross,
                self._discounts,
                self._returned,
                dict(sorted(self._coupons.items())),
                dict(sorted(self._referrals.items())),
                tuple(self._order_times),
            )
        return self._seen

    def change(self, before: Session | None, after: Session | None) -> None:
        """Count a session's new state instead of its old one: None before it came, or once it went.

        The cost depends on the size of this session, not on how many there are.
        """
        if before and after and before.state == after.state and after.state not in _ORDERS:
            return
        for session, times in ((before, -1), (after, 1)):
            if session is not None:
                self._count(session, times)

    def _count(self, session: Session, times: int) -> None:
        self._seen = None
        self._states[session.state] += times
        if session.state not in _ORDERS:
            return
        discounts = [(value, times) for value in session.discounts.values()]
        returned = [(line.item.price, line.returned * times) for line in session.lines]
        self._gross = money.total([(self._gross, 1), (session.total, times)])
        self._discounts = money.total([(self._discounts, 1), *discounts])
        self._returned = money.total([(self._returned, 1), *returned])
        _tally(self._coupons, session.coupon, times)
        _tally(self._referrals, session.referral, times)
        at = session.closed or session.updated
        place = bisect_left(self._order_times, at)
        if times > 0:
            self._order_times.insert(place, at)
        else:
            del self._order_times[place]


def _tally(counts: dict[str, int], code: str, times: int) -> None:
    """Count a code once more, or once less; "" is no code."""
    if code:
        counts[code] = counts.get(code, 0) + times
        if not counts[code]:
            del counts[code]
