"""Views as JSON: the text that is kept of one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

_encode = msgspec.json.Encoder(decimal_format="number").encode


def writes(view: type[V]) -> Callable[[V], str]:
    """What makes JSON of views of a type.

    It raises ValueError for a float that is no finite number: that would be written as null, and
    read as something else. Where the type has no floats, nobody looks for them.
    """
    return _checked if _may_hold_floats(inspect.type_info(view), set()) else _written


def _written(view: object) -> str:
    return _encode(view).decode()


def _checked(view: object) -> str:
    text = _written(view)
    if "null" in text:
        _check_finite(msgspec.to_builtins(view))
    return text


def _check_finite(value: object) -> None:
    match value:
        case float() if not math.isfinite(value):
            message = f"JSON has no number {value}"
            raise ValueError(message)
        case list() | tuple():
            for each in value:
                _check_finite(each)
        case dict():
            for each in value.values():
                _check_finite(each)
        case _:
            pass


def _may_hold_floats(kind: object, seen: set[int]) -> bool:
    """Whether a float is among what a type is made of; a type may be made of itself."""
    if isinstance(kind, inspect.FloatType | inspect.AnyType | inspect.CustomType):
        return True
    if id(kind) in seen:
        return False
    seen.add(id(kind))
    match kind:
        case inspect.Type() | inspect.Field():
            return any(_may_hold_floats(part, seen) for part in msgspec.structs.astuple(kind))
        case tuple():
            return any(_may_hold_floats(part, seen) for part in kind)
        case _:
            return False
