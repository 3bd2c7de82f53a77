"""The rules for single values.

Each function takes a field's name and value, and returns the value in its stored form, or refuses
it.

The limits are those of the Talon.One Integration API (docs/reference.md#limits).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from sessions import clock
from sessions.errors import InvalidValue, LimitExceeded
from sessions.money import DECIMALS, DIGITS, fits, plain

MAX_ID = 1000
MAX_CODE = 100
MAX_KEY = 255
MAX_IDENTIFIERS = 5
MAX_LINES = 1000
MAX_UNITS = 10_000
MAX_COUNT = 2**63 - 1
MAX_PAGE = 1000
MAX_DEPTH = 100
MAX_INT_BITS = 4096
MAX_SECONDS = 2_147_483
CLOCK_SKEW = timedelta(minutes=5)

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_JSON = msgspec.json.Encoder(order="deterministic")


def text(field: str, value: object, *, least: int = 1, most: int | None = MAX_ID) -> str:
    """A text of `least` to `most` characters: any Unicode but U+0000."""
    if not isinstance(value, str):
        raise InvalidValue(field=field, rule="a string", value=shown(value))
    if "\0" in value or not (value.isascii() or encodes(value)):
        raise InvalidValue(field=field, rule="Unicode text without U+0000", value=shown(value))
    if len(value) < least:
        raise InvalidValue(field=field, rule=f"{least} to {most} characters", value=shown(value))
    if most is not None and len(value) > most:
        raise LimitExceeded(field=field, limit=f"{most} characters", value=len(value))
    return value if type(value) is str else str.__str__(value)


def code(field: str, value: object, *, least: int = 1) -> str:
    """A coupon or referral code: at most 100 characters."""
    return text(field, value, least=least, most=MAX_CODE)


def money(field: str, value: object) -> Decimal:
    """An amount in the application's currency (or a measure): never a float."""
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise InvalidValue(field=field, rule="a Decimal or an int", value=shown(value))
    if not value.is_finite() or value < 0:
        raise InvalidValue(field=field, rule="a finite number >= 0", value=shown(value))
    if value and value.adjusted() >= DIGITS:
        limit = f"{DIGITS} digits before the point"
        raise LimitExceeded(field=field, limit=limit, value=value.adjusted() + 1)
    if value and not fits(value):
        raise LimitExceeded(field=field, limit=f"{DECIMALS} decimals", value="more")
    return plain(value)


def is_money(value: Decimal) -> bool:
    """Whether `money` takes a Decimal."""
    if not value.is_finite() or value < 0:
        return False
    return not value or (value.adjusted() < DIGITS and fits(value))


def count(field: str, value: object, *, least: int = 1) -> int:
    """A whole number, from `least`."""
    if type(value) is not int or value < least:
        raise InvalidValue(field=field, rule=f"a whole number >= {least}", value=shown(value))
    if value > MAX_COUNT:
        raise LimitExceeded(field=field, limit=MAX_COUNT, value="more")
    return value


def names(field: str, values: Iterable[T]) -> tuple[T, ...]:
    """Several names, or things that have one; a single text would be taken for its letters."""
    if isinstance(values, str):
        raise InvalidValue(field=field, rule="a list of names", value=shown(values))
    return tuple(several(field, values))


def several(field: str, values: Iterable[T]) -> Iterable[T]:
    """Several values, not a single one."""
    if not isinstance(values, Iterable):
        raise InvalidValue(field=field, rule="a list", value=shown(values))
    return values


def seconds(field: str, value: object) -> float:
    """A time to wait, in seconds, up to what every database and lock can count."""
    if type(value) not in {int, float} or not 0 <= value <= MAX_SECONDS:  # type: ignore[operator]  # it is a number
        rule = f"seconds from 0 to {MAX_SECONDS}"
        raise InvalidValue(field=field, rule=rule, value=shown(value))
    return value  # type: ignore[return-value]  # it is a number


def attributes(field: str, value: object) -> dict[str, Any]:
    """Any JSON under names that match `^[A-Za-z][A-Za-z0-9_]*$`; a copy of the caller's."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InvalidValue(field=field, rule="a JSON object", value=shown(value))
    for name in value:
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            rule = "names of ASCII letters, digits and _ that begin with a letter"
            raise InvalidValue(field=field, rule=rule, value=shown(name))
    return in_order({name: json(f"{field}.{name}", inner) for name, inner in value.items()})


def metadata(field: str, value: object) -> dict[str, Any]:
    """Any JSON object; a copy of the caller's."""
    copy = json(field, value)
    if not isinstance(copy, dict):
        raise InvalidValue(field=field, rule="a JSON object", value=shown(value))
    return copy


def json(field: str, value: object, depth: int = 0) -> Any:  # noqa: ANN401  JSON of any shape
    """A copy of the caller's JSON value. Nested lists and objects are its levels."""
    match value:
        case None | bool():
            return value
        case int() if value.bit_length() > MAX_INT_BITS:
            raise LimitExceeded(field=field, limit=f"{MAX_INT_BITS} bits", value=value.bit_length())
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case str():
            return text(field, value, least=0, most=None)
        case Mapping() | Sequence() if depth == MAX_DEPTH:
            raise LimitExceeded(field=field, limit=f"{MAX_DEPTH} levels", value="deeper")
        case Mapping():
            return in_order(
                {
                    _name(field, key): json(f"{field}.{key}", inner, depth + 1)
                    for key, inner in value.items()
                }
            )
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [json(f"{field}[{i}]", inner, depth + 1) for i, inner in enumerate(value)]
        case _:
            kind = type(value).__name__
            raise InvalidValue(field=field, rule="a JSON value", value=f"{shown(value)} ({kind})")


def _name(field: str, value: object) -> str:
    if not isinstance(value, str):
        rule = "a JSON object, whose names are strings"
        raise InvalidValue(field=field, rule=rule, value=shown(value))
    return text(field, value, least=0, most=None)


def in_order(named: dict[str, T]) -> dict[str, T]:
    """A dict in the order in which it is stored: a fold sees the same before and after storing."""
    return dict(sorted(named.items())) if len(named) > 1 else named


def same_json(one: object, other: object) -> bool:
    """Whether two JSON values are written the same way: 1, 1.0 and true are three values."""
    return _JSON.encode(one) == _JSON.encode(other)


def identifiers(field: str, value: object) -> tuple[str, ...]:
    """At most 5 texts."""
    values = sequence(field, value)
    if len(values) > MAX_IDENTIFIERS:
        raise LimitExceeded(field=field, limit=MAX_IDENTIFIERS, value=len(values))
    return tuple([text(f"{field}[{i}]", inner) for i, inner in enumerate(values)])


def sequence(field: str, value: object) -> Sequence[Any]:
    """A list or a tuple."""
    if not isinstance(value, list | tuple):
        raise InvalidValue(field=field, rule="a list", value=shown(value))
    return value


def instance(field: str, value: object, kind: type[object]) -> None:
    """Raise if a value is not of a class."""
    if not isinstance(value, kind):
        raise InvalidValue(field=field, rule=f"a {kind.__name__}", value=shown(value))


def moment(field: str, value: object) -> datetime:
    """A time with a timezone, in UTC."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        given = value.isoformat() if isinstance(value, datetime) else shown(value)
        raise InvalidValue(field=field, rule="a time with a timezone", value=given)
    try:
        utc = value.astimezone(UTC)
        return utc if type(utc) is datetime else datetime.combine(utc.date(), utc.timetz())
    except OverflowError:
        rule = "a time from year 1 to 9999 in UTC"
        raise InvalidValue(field=field, rule=rule, value=value) from None


def as_of(value: object) -> datetime | None:
    """The time about which a query asks, in UTC, if one is given."""
    return None if value is None else moment("as_of", value)


def happened_at(value: datetime | None, latest: datetime | None, now: datetime) -> datetime:
    """When a command happened: at its own time, or else now; never before the latest event."""
    if now.tzinfo is not UTC:
        now = moment("now", now)
    if value is None:
        return now if latest is None else max(now, latest)
    at = moment("at", value)
    if latest is not None and at < latest:
        rule = f"no earlier than the session's latest event at {clock.text(latest)}"
        raise InvalidValue(field="at", rule=rule, value=clock.text(at))
    if at - now > CLOCK_SKEW:
        rule = "no more than five minutes ahead of the clock"
        raise InvalidValue(field="at", rule=rule, value=clock.text(at))
    return at


def encodes(value: str) -> bool:
    """Whether a string is text: it holds no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """A value as errors show it: on one line, and a number in JSON's notation."""
    try:
        text = str(value) if isinstance(value, Decimal) else ascii(value)
    except ValueError:  # Python does not print a huge number
        text = f"a huge {type(value).__name__}"
    except Exception:  # noqa: BLE001  it is nested too deeply, or its own `__repr__` fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004  a terminal's line
