"""People's own SQL: it may be one SELECT, which neither sets nor begins anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sessions import rules
from sessions.errors import InvalidValue, LimitExceeded
from sessions.kinds import INTEGERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_GAP = r"\s | --[^\r\n]*+ (?: \r?\n | $) | /\* (?: [^*/] | \*(?!/) | /(?!\*) )*+ \*/"
"""It can only be read in one way. Databases differ on a comment within a comment, and on a line
that ends with a bare carriage return, so neither is accepted."""

_BEGINS = r"(?: SELECT | WITH | VALUES ) \b"
_SELECT = re.compile(
    rf"""
    (?: {_GAP} )*+
    (?: EXPLAIN \b
        (?: {_GAP} | (?: ANALYZE | VERBOSE | QUERY (?: {_GAP} )++ PLAN ) \b )*+
        (?: \( (?! (?: {_GAP} )*+ {_BEGINS} ) (?: {_GAP} | [\w,] )*+ \) )?+
    )?+
    (?: {_GAP} | \( )*+
    {_BEGINS}""",
    re.IGNORECASE | re.VERBOSE,
)
"""SQLite carries out a PRAGMA as it compiles it, so an EXPLAIN may only be of a SELECT too."""


@lru_cache(maxsize=512)
def is_select(sql: str) -> bool:
    """Whether a statement begins as a SELECT does.

    If one that begins like this writes, the database refuses it. A statement that only sets
    something (`SET`, `PRAGMA`) would not be refused, and would stay set for the next query on the
    connection.
    """
    return _SELECT.match(sql) is not None


def no_select(sql: object) -> InvalidValue:
    """The error for a statement that is not one SELECT."""
    return InvalidValue(field="sql", rule="one SELECT", value=rules.shown(sql))


def bound(parameters: Sequence[object], adapt: Mapping[type, Callable[[Any], object]]) -> list[Any]:
    """The parameters of people's SELECT, as a database takes them.

    Raises:
        InvalidValue: They are not a list or tuple, or a text or a time among them is not one that
            all databases take for the same.
        LimitExceeded: A whole number among them has more than 64 bits.
    """
    if isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence):
        rule = "a list or tuple with a value for each ?"
        raise InvalidValue(field="parameters", rule=rule, value=rules.shown(parameters))
    given = map(_checked, parameters)
    return [adapt[type(each)](each) if type(each) in adapt else each for each in given]


def _checked(value: object) -> object:
    match value:
        case str():
            return rules.text("parameters", value, least=0, most=None)
        case datetime():
            return rules.moment("parameters", value)
        case Decimal() if not value.is_finite():
            raise InvalidValue(field="parameters", rule="a finite number", value=value)
        case Decimal():
            return Decimal(value)
        case list():  # for one of several values, on PostgreSQL
            return [_checked(each) for each in value]
        case int() if value not in INTEGERS:
            raise LimitExceeded(field="parameters", limit=rules.MAX_COUNT, value="a huge number")
        case _:
            return value
