"""What can be changed in place, and so must not be shared with code that may do that."""

from __future__ import annotations

from typing import Any, get_origin

from msgspec import inspect

_FIXED = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.TimeType,
    inspect.DateType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.EnumType,
    inspect.LiteralType,
)


def can_change(kind: Any) -> bool:  # noqa: ANN401  a type of any form
    """Whether values of a type hold something, at any depth, that can be changed in place."""
    return _can_change(inspect.type_info(kind), set())


def _can_change(info: inspect.Type, seen: set[type]) -> bool:
    """`seen` are the classes that were looked at: a type may hold its own."""
    match info:
        case (
            inspect.Metadata(type=held)
            | inspect.VarTupleType(item_type=held)
            | inspect.FrozenSetType(item_type=held)
        ):
            return _can_change(held, seen)
        case inspect.UnionType(types=kinds) | inspect.TupleType(item_types=kinds):
            return any(_can_change(each, seen) for each in kinds)
        case inspect.StructType() | inspect.DataclassType() | inspect.NamedTupleType():
            fields = () if info.cls in seen else info.fields
            seen.add(info.cls)
            return not _is_frozen(info.cls) or any(_can_change(each.type, seen) for each in fields)
        case _:
            return not isinstance(info, _FIXED)


def _is_frozen(kind: Any) -> bool:  # noqa: ANN401  a class
    """Whether the fields of a class cannot be set; those of an unknown kind of class may be."""
    kind = get_origin(kind) or kind
    if issubclass(kind, tuple):
        return True
    settings = getattr(kind, "__struct_config__", getattr(kind, "__dataclass_params__", None))
    return settings is not None and bool(settings.frozen)
