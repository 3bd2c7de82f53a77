"""Reading and checking the file of a shop's order lines.

The format is that of *Online Retail* (UCI Machine Learning Repository, Daqing Chen, 2015): CSV, one
line per article, grouped into invoices.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from projections.folding import silent
from sessions.cli.files import BadFile
from sessions.errors import SessionsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from projections.folding import Progress

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
_NO_NUMBER = Decimal("NaN")
_LONGEST = 1000
"""Characters of a number at most; Python does not print a sum of more than 4300."""

_SURPLUS = "\n"
"""The name for the surplus values of a row, which no column can have."""

_DATES = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S")

_TOLD = 1000
"""Lines between two reports of progress."""


class BadLine(SessionsError):  # noqa: N818  as in sessions.errors
    """line {line} of the file, {column}: expected {rule}, not {value!r}"""  # noqa: D415  a message


class OrderLine(msgspec.Struct, frozen=True):
    """A line of the file."""

    sku: str
    name: str
    quantity: int
    price: Decimal


class Invoice(msgspec.Struct, frozen=True):
    """An invoice: its lines, and the date and customer of the first."""

    number: str
    at: datetime
    profile_id: str
    lines: list[OrderLine]


def read_invoices(path: Path, progress: Progress = silent) -> list[Invoice]:
    """The invoices of a file, gzipped or not, by the date of their first line.

    Args:
        path: The file.
        progress: Called with the number of lines read, and of all lines.

    Raises:
        BadLine: A line cannot be read; lines count from 1, including the header.
        BadFile: The file is damaged or not CSV, or the system cannot read it.
    """
    invoices: dict[str, Invoice] = {}
    for number, at, profile, line in _read_lines(path, progress):
        invoice = invoices.setdefault(number, Invoice(number, at, profile, []))
        invoice.lines.append(line)
    return sorted(invoices.values(), key=lambda invoice: invoice.at)


def _read_lines(path: Path, progress: Progress) -> Iterator[tuple[str, datetime, str, OrderLine]]:
    text = _read_text(path)
    total = max(text.count("\n"), text.count("\r"))
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey=_SURPLUS, strict=True)
    begins = 1
    try:
        named = rows.fieldnames or []
        lacking = [name for name in _COLUMNS if name not in named]
        if lacking:
            reason = (
                f"line 1 does not name the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}"
            )
            raise BadFile(path=path, reason=reason)
        twice = [name for name in _COLUMNS if named.count(name) > 1]
        if twice:
            reason = f"line 1 names {', '.join(twice)} more than once"
            raise BadFile(path=path, reason=reason)
        begins = rows.line_num + 1
        for count, row in enumerate(rows, 1):
            yield _read_line(row, rows.line_num)
            if count % _TOLD == 0:
                progress(min(rows.line_num, total), total)
            begins = rows.line_num + 1
        progress(total, total)
    except csv.Error as error:
        raise BadFile(path=path, reason=f"from line {begins}, {error}") from error


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(path=path, reason=error.strerror) from error
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise BadFile(path=path, reason=error) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read_line(row: dict[str, str], number: int) -> tuple[str, datetime, str, OrderLine]:
    for name in _COLUMNS:
        if row[name] is None:
            raise BadLine(line=number, column=name, rule="a value", value=None)
    surplus = "".join(row.get(_SURPLUS, ())).strip()
    if surplus:  # nobody knows which value is of which column
        rule = "as many values as line 1 names"
        raise BadLine(line=number, column="beyond the last column", rule=rule, value=surplus[:80])
    line = OrderLine(
        row["StockCode"],
        row["Description"].strip(),
        _whole(row["Quantity"], number),
        _amount(row["UnitPrice"], number),
    )
    profile = row["CustomerID"].strip().removesuffix(".0")
    return row["InvoiceNo"], _date(row["InvoiceDate"], number), profile, line


def _whole(text: str, line: int) -> int:
    if len(text) > _LONGEST:
        rule = f"at most {_LONGEST} characters"
        raise BadLine(line=line, column="Quantity", rule=rule, value=text[:80])
    amount = _number(text)
    is_whole = amount.is_finite() and amount.adjusted() < _LONGEST
    if not is_whole or amount != amount.to_integral_value():
        raise BadLine(line=line, column="Quantity", rule="a whole number", value=text[:80])
    return int(amount)


def _amount(text: str, line: int) -> Decimal:
    amount = _number(text)
    if not amount.is_finite():
        raise BadLine(line=line, column="UnitPrice", rule="a number", value=text[:80])
    return amount


def _number(text: str) -> Decimal:
    """A text as a number; "1_000" and other scripts' digits are numbers to Python only."""
    if "_" in text or not text.isascii():
        return _NO_NUMBER
    try:
        return Decimal(text)
    except InvalidOperation:
        return _NO_NUMBER


def _date(text: str, line: int) -> datetime:
    date = _date_of(text)
    if date is None:
        raise BadLine(line=line, column="InvoiceDate", rule="a date and time", value=text[:80])
    return date


@lru_cache(1024)  # the lines of an invoice share one: parsing each took half of the time
def _date_of(text: str) -> datetime | None:
    for form in _DATES:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
