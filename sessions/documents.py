"""Views and other values as JSON: amounts are numbers, with all their digits."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

_encode = msgspec.json.Encoder(decimal_format="number").encode
_FLOATS = (inspect.FloatType, inspect.AnyType, inspect.CustomType)
_SETS = (inspect.SetType, inspect.FrozenSetType)


def writes(view: type[V]) -> Callable[[V], str]:
    """Writes views of a type as JSON.

    It raises ValueError for a float that is not finite, which would be written as null, and read as
    something else. If the type has no floats, this is not checked. If it has sets, names and the
    values of sets are sorted, because a set has another order in each process.
    """
    kind = inspect.type_info(view)
    write = _sorted if _may_hold(kind, _SETS, set()) else to_json
    return partial(_checked, write) if _may_hold(kind, _FLOATS, set()) else write


def to_json(value: object) -> str:
    """A value as JSON, on one line, with its names in their own order."""
    return _encode(value).decode()


def _sorted(view: object) -> str:
    plain = msgspec.to_builtins(
        view, builtin_types=(Decimal,), str_keys=True, order="deterministic"
    )
    return to_json(plain)


def _checked(write: Callable[[V], str], view: V) -> str:
    text = write(view)
    if "null" in text:
        _check_finite(msgspec.to_builtins(view))
    return text


def _check_finite(value: object) -> None:
    match value:
        case float() if not math.isfinite(value):
            message = f"JSON cannot express the number {value}"
            raise ValueError(message)
        case list() | tuple():
            for each in value:
                _check_finite(each)
        case dict():
            for each in value.values():
                _check_finite(each)
        case _:
            pass


def _may_hold(kind: object, sought: tuple[type, ...], seen: set[int]) -> bool:
    """Whether a type is made of one of those that are sought; it may be made of itself."""
    if isinstance(kind, sought):
        return True
    if id(kind) in seen:
        return False
    seen.add(id(kind))
    match kind:
        case inspect.Type() | inspect.Field():
            return any(_may_hold(part, sought, seen) for part in msgspec.structs.astuple(kind))
        case tuple():
            return any(_may_hold(part, sought, seen) for part in kind)
        case _:
            return False
