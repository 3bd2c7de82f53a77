"""A shop's order lines as sessions: the mapping of `sessions import-retail`.

The format is that of *Online Retail* (UCI Machine Learning Repository, Daqing Chen, 2015): a line
an article, grouped into invoices; `C...` is a credit note, `A...` an adjustment.
"""

from __future__ import annotations

import csv
import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import msgspec

from projections import CartItem, CustomerSessions
from sessions.commands import AddItem, CloseSession, OpenSession, ReturnItem, ReturnItems
from sessions.errors import IdempotencyKeyReused, Refused, SessionsError
from sessions.events import ItemsReturned, SessionClosed, SessionOpened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sessions.answers import Executed
    from sessions.commands import Command
    from sessions.store import SessionStore

_GZIP = b"\x1f\x8b"
_COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
)
_DATES = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M")


class BadLine(SessionsError):  # noqa: N818  as in sessions.errors
    """line {line} of the file, {column}: {rule}, not {value!r}"""  # noqa: D415


class OrderLine(msgspec.Struct, frozen=True):
    """A line of the file."""

    sku: str
    name: str
    quantity: int
    price: Decimal


class Invoice(msgspec.Struct, frozen=True):
    """An invoice: its lines, and what its first line says of it."""

    number: str
    at: datetime
    profile_id: str
    lines: list[OrderLine]


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


def read_invoices(path: Path) -> list[Invoice]:
    """The invoices of a file, gzipped or not, by the date of their first line.

    Raises:
        BadLine: A line cannot be read; the number counts from 1, the header included.
        OSError: The file cannot be read.
    """
    invoices: dict[str, Invoice] = {}
    for number, at, profile, line in _read_lines(path):
        invoice = invoices.setdefault(number, Invoice(number, at, profile, []))
        invoice.lines.append(line)
    return sorted(invoices.values(), key=lambda invoice: invoice.at)


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
    executed = store.answered(_key(invoice))
    if executed is None:
        returns = _matched(store, invoice, lines) if invoice.profile_id else {}
        commands = [
            (session_id, ReturnItems(items=items, at=invoice.at))
            for session_id, items in returns.items()
        ]
        executed = store.execute_all(commands, idempotency_key=_key(invoice))
    matched = _count(executed, summary)
    summary.unmatched_units -= sum([line.quantity for line in lines]) + matched


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


# --- the file


def _read_lines(path: Path) -> Iterator[tuple[str, datetime, str, OrderLine]]:
    data = path.read_bytes()
    if data.startswith(_GZIP):
        data = gzip.decompress(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    for name in _COLUMNS:
        if name not in (rows.fieldnames or ()):
            raise BadLine(line=1, column=name, rule="a column of this name", value=rows.fieldnames)
    for row in rows:
        yield _read_line(row, rows.line_num)


def _read_line(row: dict[str, str], number: int) -> tuple[str, datetime, str, OrderLine]:
    for name in _COLUMNS:
        if row[name] is None:
            raise BadLine(line=number, column=name, rule="a value", value=None)
    line = OrderLine(
        row["StockCode"],
        row["Description"].strip(),
        _whole(row["Quantity"], number),
        _amount(row["UnitPrice"], number),
    )
    profile = row["CustomerID"].removesuffix(".0")
    return row["InvoiceNo"], _date(row["InvoiceDate"], number), profile, line


def _whole(text: str, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadLine(line=line, column="Quantity", rule="a whole number", value=text) from None


def _amount(text: str, line: int) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BadLine(line=line, column="UnitPrice", rule="a number", value=text) from None


def _date(text: str, line: int) -> datetime:
    for form in _DATES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise BadLine(line=line, column="InvoiceDate", rule="a date and time", value=text)
