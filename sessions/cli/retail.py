"""A shop's order lines as sessions: the mapping of `sessions import-retail`.

`C...` is a credit note, `A...` an adjustment, and every other invoice an order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from projections import CartItem, CustomerSessions
from sessions.commands import AddItem, CloseSession, OpenSession, ReturnItem, ReturnItems
from sessions.errors import IdempotencyKeyReused, Refused
from sessions.events import ItemsReturned, SessionClosed, SessionOpened
from sessions.money import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.answers import Executed
    from sessions.cli.retail_file import Invoice, OrderLine
    from sessions.commands import Command
    from sessions.store import SessionStore


class Summary(msgspec.Struct, rename="camel"):
    """What an import made of a file; amounts in the shop's currency."""

    sessions: int = 0
    anonymous: int = 0
    refused: int = 0
    empty_invoices: int = 0
    skipped_lines: int = 0
    adjustments: int = 0
    credit_notes: int = 0
    returned_units: int = 0
    unmatched_units: int = 0
    first_sessions: int = 0
    revenue: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)


def import_invoices(
    store: SessionStore, invoices: Sequence[Invoice], progress: Callable[[int, int], object]
) -> Summary:
    """Make sessions of invoices; one transaction and one idempotency key an invoice.

    It can be run again after it was stopped: what is there is not changed, and counted again.
    """
    summary = Summary()
    total = sum([len(invoice.lines) for invoice in invoices])
    done = 0
    with store.batch():
        for invoice in invoices:
            match invoice.number[:1]:
                case "A":
                    summary.adjustments += 1
                case "C":
                    _credit(store, invoice, summary)
                case _:
                    _order(store, invoice, summary)
            done += len(invoice.lines)
            progress(done, total)
    summary.revenue, summary.refunded = plain(summary.revenue), plain(summary.refunded)
    return summary


def _order(store: SessionStore, invoice: Invoice, summary: Summary) -> None:
    lines = [line for line in invoice.lines if line.quantity > 0 and line.price > 0]
    summary.skipped_lines += len(invoice.lines) - len(lines)
    if not lines:
        summary.empty_invoices += 1
        return
    at = invoice.at
    commands: list[Command] = [
        OpenSession(profile_id=invoice.profile_id, at=at),
        *[
            AddItem(sku=x.sku, price=x.price, quantity=x.quantity, name=x.name, at=at)
            for x in lines
        ],
        CloseSession(at=at),
    ]
    try:
        executed = store.execute_many(invoice.number, commands, idempotency_key=_key(invoice))
    except (Refused, IdempotencyKeyReused):
        summary.refused += 1
        return
    summary.sessions += 1
    summary.anonymous += not invoice.profile_id
    _count(executed, summary)


def _credit(store: SessionStore, invoice: Invoice, summary: Summary) -> None:
    summary.credit_notes += 1
    lines = [line for line in invoice.lines if line.quantity < 0]
    summary.skipped_lines += len(invoice.lines) - len(lines)
    executed = store.answered(_key(invoice)) if store.exists else None
    if executed is None:
        executed = _return(store, invoice, lines)
    matched = _count(executed, summary)
    summary.unmatched_units -= sum([line.quantity for line in lines]) + matched


def _return(store: SessionStore, invoice: Invoice, lines: Sequence[OrderLine]) -> list[Executed]:
    known = invoice.profile_id and store.exists
    returns = _matched(store, invoice, lines) if known else {}
    commands = [
        (session_id, ReturnItems(items=items, at=invoice.at))
        for session_id, items in returns.items()
    ]
    try:
        return store.execute_all(commands, idempotency_key=_key(invoice))
    except Refused:  # a date that is ahead of the clock
        return []


class _Place(msgspec.Struct):
    """A cart line that units may be returned of."""

    session_id: str
    item: CartItem
    left: int

    def sells(self, line: OrderLine) -> bool:
        """Whether it is the article of an order line, at its price."""
        return (self.item.sku, self.item.price) == (line.sku, line.price)


def _matched(
    store: SessionStore, invoice: Invoice, lines: Sequence[OrderLine]
) -> dict[str, list[ReturnItem]]:
    """What a credit note returns, by session: the latest session first, lines by position."""
    views = CustomerSessions(store).of_profile(invoice.profile_id)
    left = [
        _Place(view.integration_id, item, item.remaining_quantity)
        for view in reversed(views)
        if view.state in {"closed", "partially_returned"} and view.updated <= invoice.at
        for item in view.cart_items
    ]
    returns: dict[str, list[ReturnItem]] = {}
    for line in lines:
        wanted = -line.quantity
        for place in left:
            if wanted and place.left and place.sells(line):
                taken = min(wanted, place.left)
                place.left -= taken
                wanted -= taken
                returned = ReturnItem(position=place.item.position, quantity=taken)
                returns.setdefault(place.session_id, []).append(returned)
    return returns


def _count(executed: Sequence[Executed], summary: Summary) -> int:
    """Count what was recorded; the number of units that came back."""
    returned = 0
    for event in [recorded.event for answer in executed for recorded in answer.events]:
        match event:
            case SessionOpened():
                summary.first_sessions += bool(event.first_session and event.profile_id)
            case SessionClosed():
                summary.revenue += event.total
            case ItemsReturned():
                returned += sum([item.quantity for item in event.items])
                summary.refunded += sum([item.price * item.quantity for item in event.items])
            case _:
                pass
    summary.returned_units += returned
    return returned


def _key(invoice: Invoice) -> str:
    return f"retail:{invoice.number}"
