"""The summary figures of a retail import, computed again by an oracle that shares no code with it.

Run as `python -m tests.retail_reference FILE`: prints the figures as one JSON line.
"""

import csv
import gzip
import io
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

MAX_LINES = 1000
MAX_UNITS = 10_000
MAX_SKU = 1000
PRICE_LIMIT = Decimal(10) ** 12
PRICE_STEP = Decimal("0.000001")

KEYS = (
    "sessions",
    "anonymous",
    "refused",
    "emptyInvoices",
    "skippedLines",
    "adjustments",
    "creditNotes",
    "returnedUnits",
    "unmatchedUnits",
    "firstSessions",
)


Cart = Counter[tuple[str, Decimal, str]]  # units left of each (sku, price, name)


@dataclass(frozen=True)
class Row:
    invoice: str
    sku: str
    name: str
    quantity: int
    date: datetime
    price: Decimal
    customer: str  # empty: unknown


def read(path: Path) -> list[Row]:
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return [
        Row(
            invoice=row["InvoiceNo"],
            sku=row["StockCode"],
            name=row["Description"].strip(),
            quantity=int(row["Quantity"]),
            date=datetime.fromisoformat(row["InvoiceDate"]),
            price=Decimal(row["UnitPrice"]),
            customer=row["CustomerID"].strip().removesuffix(".0"),
        )
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


def order_cart(rows: list[Row]) -> Cart:
    cart: Cart = Counter()  # a dict: in order of first addition
    for row in rows:
        if row.quantity > 0 and row.price > 0:
            cart[row.sku, row.price, row.name] += row.quantity
    return cart


def within_limits(cart: Cart) -> bool:
    return (
        len(cart) <= MAX_LINES
        and sum(cart.values()) <= MAX_UNITS
        and all(1 <= len(sku) <= MAX_SKU for sku, _, _ in cart)
        and all(price < PRICE_LIMIT for _, price, _ in cart)
        and all(price == price.quantize(PRICE_STEP) for _, price, _ in cart)
    )


def give_back(row: Row, carts: list[Cart]) -> int:
    """Take the units that a credit note's row returns out of a customer's carts; count them."""
    wanted = -row.quantity
    returned = 0
    for cart in reversed(carts):
        for key, units in cart.items():
            if key[:2] == (row.sku, row.price):
                taken = min(wanted - returned, units)
                cart[key] = units - taken
                returned += taken
    return returned


def figures(path: Path) -> dict[str, int | Decimal]:
    invoices: dict[str, list[Row]] = defaultdict(list)
    for row in read(path):
        invoices[row.invoice].append(row)

    count: Counter[str] = Counter()
    revenue = refunded = Decimal(0)
    carts: dict[str, list[Cart]] = defaultdict(list)  # by known customer, as stored

    # sorted() is stable, and a dict keeps its order: ties stay in file order
    for rows in sorted(invoices.values(), key=lambda rows: rows[0].date):
        invoice, customer = rows[0].invoice, rows[0].customer

        if invoice.startswith("A"):
            count["adjustments"] += 1

        elif invoice.startswith("C"):
            count["creditNotes"] += 1
            count["skippedLines"] += sum(row.quantity >= 0 for row in rows)
            for row in rows:
                if row.quantity < 0:
                    returned = give_back(row, carts.get(customer, []))
                    count["returnedUnits"] += returned
                    count["unmatchedUnits"] += -row.quantity - returned
                    refunded += returned * row.price

        else:
            count["skippedLines"] += sum(row.quantity <= 0 or row.price <= 0 for row in rows)
            cart = order_cart(rows)
            if not cart:
                count["emptyInvoices"] += 1
            elif not within_limits(cart):
                count["refused"] += 1
            else:
                count["sessions"] += 1
                revenue += sum(price * units for (_, price, _), units in cart.items())
                if customer:
                    carts[customer].append(cart)
                else:
                    count["anonymous"] += 1

    count["firstSessions"] = len(carts)
    return {**{key: count[key] for key in KEYS}, "revenue": revenue, "refunded": refunded}


def as_json(summary: dict[str, int | Decimal]) -> str:
    def number(value: int | Decimal) -> str:
        return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)

    return "{" + ", ".join(f'"{key}": {number(value)}' for key, value in summary.items()) + "}"


if __name__ == "__main__":
    sys.stdout.write(as_json(figures(Path(sys.argv[1]))) + "\n")
