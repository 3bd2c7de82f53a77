"""The kinds of values that a column can have: which values are of a kind, and how to store them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sessions import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["id", "text", "integer", "flag", "money", "time", "json"]

ADAPT: Mapping[Kind, Callable[[Any], object]] = {"money": str, "time": clock.text}
"""Makes of a value what a database takes; values of other kinds are taken as they are."""

INTEGERS = range(-(2**63), 2**63)
"""The whole numbers that every database takes as they are."""
MOST_ID = 1000
"""How many characters an id may have."""
_MOST_IN_INDEX = 256
"""How many bytes of an index's row an id takes at most: a longer one has a short form there."""
_PADDED = 7
"""Bytes of an index's row that a value takes beside its own: its length, and what aligns it."""
_FIXED = 8
"""Bytes of an index's row that a value of any other kind than these takes."""
VARYING: Mapping[Kind, float] = {
    "id": _PADDED + _MOST_IN_INDEX,
    "text": math.inf,
    "money": math.inf,
}
"""The kinds whose values take more or less of an index's row, and how many bytes at most."""
_MOST_DIGITS = 16_000
_MOST_DECIMALS = 16_383
"""What a numeric of PostgreSQL can have after the point; before it, it could have more."""
_NUL = r"\u0000"
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 in JSON: PostgreSQL takes it alone, and not in one of several rows."""


def fits(kind: Kind, value: object) -> bool:
    """Whether every database takes a value as one of the kind, and none as a different value."""
    return _FITS[kind](value)


def most_in_index(kind: Kind) -> float:
    """How many bytes of a row of PostgreSQL's index a value of a kind may take."""
    return VARYING.get(kind, _FIXED)


def size_in_index(kind: Kind, value: Any) -> int:  # noqa: ANN401  any kind's
    """How many bytes of a row of PostgreSQL's index a value takes at most: it may be compressed."""
    if value is None:
        return 0
    if kind == "id":
        return _PADDED + min(len(value.encode()), _MOST_IN_INDEX)
    if kind == "text":
        return _PADDED + len(value.encode())
    if kind == "money":  # two bytes for four digits, and for those at either end
        return _PADDED + 8 + len(str(value)) // 2
    return _FIXED


def as_given(kind: Kind, value: Any) -> Any:  # noqa: ANN401  any kind's
    """A value of a database as it was given, so that another database can take it."""
    return datetime.fromisoformat(value) if kind == "time" and value is not None else value


def _is_text(value: str) -> bool:
    if value.isascii():
        return "\0" not in value
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _is_json(value: str) -> bool:
    if _NUL in value and _ESCAPED_NUL.search(value):
        return False
    try:
        msgspec.json.decode(value)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return False
    return True


def _is_instant(value: datetime) -> bool:
    try:
        return value.tzinfo is not None and bool(value.astimezone(UTC))
    except OverflowError:
        return False


def _is_written(value: Decimal) -> bool:
    if not value.is_finite():
        return False
    before = value.adjusted()
    return before < _MOST_DIGITS and len(str(value)) - before <= _MOST_DECIMALS


_FITS: Mapping[Kind, Callable[[Any], bool]] = {
    "integer": lambda value: type(value) is int and value in INTEGERS,
    "flag": lambda value: type(value) is bool,
    "money": lambda value: type(value) is int or (type(value) is Decimal and _is_written(value)),
    "time": lambda value: isinstance(value, datetime) and _is_instant(value),
    "json": lambda value: isinstance(value, str) and _is_text(value) and _is_json(value),
    "id": lambda value: isinstance(value, str) and len(value) <= MOST_ID and _is_text(value),
    "text": lambda value: isinstance(value, str) and _is_text(value),
}
