"""Customers with orders, and what the tests compare in their histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from projections import CustomerHistory, Move
from sessions import (
    CartItem,
    CloseSession,
    OpenSession,
    SessionStore,
    SetProfile,
)
from tests.conftest import add

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projections import Figures
    from sessions import Recorded
    from tests.conftest import Clock

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def order(store: SessionStore, name: str, *prices: str, **fields: Any) -> None:
    """An order of p: a line of one unit for each price."""
    items = [CartItem(sku=str(i), price=Decimal(price)) for i, price in enumerate(prices)]
    store.execute(name, OpenSession(**{"profile_id": "p", "cart_items": items, **fields}))
    store.execute(name, CloseSession(at=fields.get("at")))


def sums(figures: Figures) -> tuple[str, ...]:
    """Gross, discounts, returned and net."""
    money = (figures.gross, figures.discounts, figures.returned, figures.net)
    return tuple(map(str, money))


def ids(history: CustomerHistory, *, belongs: bool = True) -> list[str]:
    return [each.session_id for each in history.sessions if each.belongs is belongs]


def types(events: Sequence[Recorded]) -> list[str]:
    return [recorded.type for recorded in events]


def guest_becomes_known(store: SessionStore, clock: Clock) -> Move:
    """A guest's session with an item becomes cust's second one, and then an order of 59.9."""
    store.execute("old", OpenSession(profile_id="cust"))
    store.execute("s", OpenSession(profile_id="guest"))
    store.execute("s", add())
    at = clock.move(minutes=5)
    moved = store.execute("s", SetProfile(profile_id="cust"))
    clock.move(minutes=5)
    store.execute("s", CloseSession())
    return Move("cust", at, moved.position)
