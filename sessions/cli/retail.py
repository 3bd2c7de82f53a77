"""A shop's order lines as sessions: the mapping of `sessions import-retail`.

`C...` is a credit note, `A...` an adjustment, and every other invoice an order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from projections import CartItem, CustomerSessions
from projections.attachments import PROJECTION as ATTACHMENTS
from projections.customer_session import PROJECTION as CUSTOMER_SESSION
from sessions.commands import AddItem, CloseSession, OpenSession, ReturnItem, ReturnItems
from sessions.commits.answers import Request, fingerprint
from sessions.errors import IdempotencyKeyReused, Refused, SessionsError
from sessions.events import ItemsReturned, SessionClosed, SessionOpened
from sessions.money import plain
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.cli.retail_file import Invoice, OrderLine
    from sessions.commands import Command
    from sessions.commits.answers import Executed
    from sessions.store import SessionStore

_MARK = "creditNote"
"""The field of a return's metadata that has the fingerprint of its credit note."""


class NotInline(SessionsError):  # noqa: N818  as in sessions.errors
    """{name} is followed: first run `sessions projections rebuild {name} --mode inline`"""  # noqa: D415  a message

    name: str


class Summary(msgspec.Struct, rename="camel"):
    """What an import made of a file; amounts are in the shop's currency."""

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
    store: SessionStore,
    invoices: Sequence[Invoice],
    progress: Callable[[int, int], object],
    refused: Callable[[str, SessionsError], object],
) -> Summary:
    """Make sessions of invoices, each recorded as a whole, with an idempotency key of its own.

    It can be stopped and run again: what is recorded already is counted again, and not changed.

    Args:
        store: The store. It must keep the sessions' views inline: they say what can be returned.
        invoices: The invoices, in the order in which they happened.
        progress: Called with the number of lines done, and of all lines.
        refused: Called with the number of each invoice that is refused, and the error.

    Raises:
        NotInline: The store does not keep these views inline.
    """
    _check_inline(store)
    summary = Summary()
    total = sum([len(invoice.lines) for invoice in invoices])
    done = 0
    with store.batch() as batch:
        for invoice in invoices:
            match invoice.number[:1]:
                case "A":
                    summary.adjustments += 1
                case "C":
                    batch.begin()  # what it finds must still be there when it returns it
                    _credit(store, invoice, summary, refused)
                case _:
                    _order(store, invoice, summary, refused)
            done += len(invoice.lines)
            progress(done, total)
    summary.revenue, summary.refunded = plain(summary.revenue), plain(summary.refunded)
    return summary


def _check_inline(store: SessionStore) -> None:
    builds = kept.builds(store.rows, "current")
    for name in (CUSTOMER_SESSION.name, ATTACHMENTS.name):
        build = builds.get(name)
        if build is not None and build.mode == "followed":
            raise NotInline(name=name)


def _order(
    store: SessionStore,
    invoice: Invoice,
    summary: Summary,
    refused: Callable[[str, SessionsError], object],
) -> None:
    lines = [line for line in invoice.lines if line.quantity > 0 and line.price > 0]
    summary.skipped_lines += len(invoice.lines) - len(lines)
    if not lines:
        summary.empty_invoices += 1
        return
    commands = _commands(invoice, lines)
    try:
        executed = store.execute_many(invoice.number, commands, idempotency_key=_key(invoice))
    except Refused as error:
        refused(invoice.number, error)
        summary.refused += 1
        return
    summary.sessions += 1
    summary.anonymous += not invoice.profile_id
    _count(executed, summary)


def _commands(invoice: Invoice, lines: Sequence[OrderLine]) -> list[Command]:
    """The commands that record an invoice as an order."""
    at = invoice.at
    return [
        OpenSession(profile_id=invoice.profile_id, at=at),
        *[
            AddItem(sku=x.sku, price=x.price, quantity=x.quantity, name=x.name, at=at)
            for x in lines
        ],
        CloseSession(at=at),
    ]


def _credit(
    store: SessionStore,
    invoice: Invoice,
    summary: Summary,
    refused: Callable[[str, SessionsError], object],
) -> None:
    summary.credit_notes += 1
    lines = [line for line in invoice.lines if line.quantity < 0]
    summary.skipped_lines += len(invoice.lines) - len(lines)
    try:
        executed = _returned(store, invoice, lines)
    except IdempotencyKeyReused as error:
        refused(invoice.number, error)
        summary.refused += 1
        return
    except Refused as error:  # ahead of the clock, or its number or customer is not an id
        refused(invoice.number, error)
        executed = []
    matched = _count(executed, summary)
    summary.unmatched_units -= sum([line.quantity for line in lines]) + matched


def _returned(store: SessionStore, invoice: Invoice, lines: Sequence[OrderLine]) -> list[Executed]:
    """Record a credit note, or return the answer if it is recorded already.

    Its commands depend on what was sold by then, so they cannot be compared with those of an
    earlier run. Instead its events carry the fingerprint of its lines.

    Raises:
        IdempotencyKeyReused: Its key was used for another one, or for something else.
        Refused: A rule forbids it.
    """
    key = _key(invoice)
    said = [Request(invoice.number, command) for command in _commands(invoice, lines)]
    mark = fingerprint(said)
    executed = store.answered(key)
    if executed is None:
        return _return(store, invoice, lines, {_MARK: mark})
    if not all(_is_marked(answer, mark) for answer in executed):
        raise IdempotencyKeyReused(key=key)
    return executed


def _is_marked(answer: Executed, mark: str) -> bool:
    """Whether an answer is a return with this mark, or one from before there were marks."""
    return bool(answer.events) and all(
        isinstance(recorded.event, ItemsReturned) and recorded.metadata.get(_MARK, mark) == mark
        for recorded in answer.events
    )


def _return(
    store: SessionStore, invoice: Invoice, lines: Sequence[OrderLine], metadata: dict[str, str]
) -> list[Executed]:
    returns = _matched(store, invoice, lines) if invoice.profile_id else {}
    commands = [
        (session_id, ReturnItems(items=items, at=invoice.at))
        for session_id, items in returns.items()
    ]
    return store.execute_all(commands, idempotency_key=_key(invoice), metadata=metadata)


class _Place(msgspec.Struct):
    """A cart line, and how many of its units can still be returned."""

    session_id: str
    item: CartItem
    left: int

    def sells(self, line: OrderLine) -> bool:
        """Whether it has the article of an order line, at the same price."""
        return (self.item.sku, self.item.price) == (line.sku, line.price)


def _matched(
    store: SessionStore, invoice: Invoice, lines: Sequence[OrderLine]
) -> dict[str, list[ReturnItem]]:
    """What a credit note returns, by session: latest session first, lines by position."""
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
    """Add what was recorded to the summary, and give the number of units returned."""
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
