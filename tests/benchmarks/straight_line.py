"""The straight-line limit: a bare loop over sqlite3 and msgspec, with nothing of ours but the log.

It knows only the events of the workload, checks nothing, and keeps one plain dict per session: what
anybody could write by hand in an afternoon, and never change again.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

SELECT = (
    "SELECT stream_id, type, at, data FROM events "
    "WHERE application_id = 1 AND position > ? ORDER BY position LIMIT ?"
)
PAGE = 1000

Session = dict[str, Any]


class Shape(Struct, rename="camel"):
    pass


class Opened(Shape):
    first_session: bool
    profile_id: str = ""


class Item(Shape):
    sku: str
    price: Decimal
    name: str = ""


class ItemAdded(Shape):
    position: int
    item: Item
    line_quantity: int


class QuantityChanged(Shape):
    position: int
    quantity: int


class CouponApplied(Shape):
    coupon: str


class DiscountSet(Shape):
    label: str
    value: Decimal


class Closed(Shape):
    total: Decimal


def opened(session: Session, event: Opened, at: str) -> None:
    session.update(
        created=at,
        profileId=event.profile_id,
        firstSession=event.first_session,
        state="open",
        coupon="",
        cartItems=[],
        discounts={},
    )


def item_added(session: Session, event: ItemAdded, _: str) -> None:
    item, lines = event.item, session["cartItems"]
    line = {
        "sku": item.sku,
        "name": item.name,
        "price": item.price,
        "quantity": event.line_quantity,
    }
    lines[event.position :] = [line, *lines[event.position + 1 :]]


def quantity_changed(session: Session, event: QuantityChanged, _: str) -> None:
    session["cartItems"][event.position]["quantity"] = event.quantity


def coupon_applied(session: Session, event: CouponApplied, _: str) -> None:
    session["coupon"] = event.coupon


def discount_set(session: Session, event: DiscountSet, _: str) -> None:
    session["discounts"][event.label] = event.value


def closed(session: Session, _: Closed, at: str) -> None:
    session["state"] = "closed"
    session["closed"] = at


STEPS: dict[str, tuple[Callable[[str], Any], Callable[[Session, Any, str], None]]] = {
    "SessionOpened": (Decoder(Opened).decode, opened),
    "ItemAdded": (Decoder(ItemAdded).decode, item_added),
    "QuantityChanged": (Decoder(QuantityChanged).decode, quantity_changed),
    "CouponApplied": (Decoder(CouponApplied).decode, coupon_applied),
    "DiscountSet": (Decoder(DiscountSet).decode, discount_set),
    "SessionClosed": (Decoder(Closed).decode, closed),
}


def replay(path: Path) -> dict[str, Session]:
    """Fold the whole log into dicts that are ready for JSON, and keep all of them."""
    sessions: dict[str, Session] = {}
    with closing(sqlite3.connect(path)) as connection:
        position = 0
        while rows := connection.execute(SELECT, (position, PAGE)).fetchall():
            for session_id, name, at, data in rows:
                session = sessions.get(session_id)
                if session is None:
                    session = sessions[session_id] = {"integrationId": session_id, "updateCount": 0}
                decode, apply = STEPS[name]
                apply(session, decode(data), at)
                session["updated"] = at
                session["updateCount"] += 1
            position += len(rows)  # there are no gaps
    for session in sessions.values():
        finish(session)
    return sessions


def finish(session: Session) -> None:
    total = Decimal(0)
    for position, line in enumerate(session["cartItems"]):
        line["position"] = position
        total += line["price"] * line["quantity"]
    session["total"] = total
