"""Checks a projection when it is defined, and names the part that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from msgspec import inspect

from sessions.errors import InvalidValue
from sessions.events import Event
from sessions.sql.head import Mode
from sessions.sql.tables import Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sessions.kinds import Kind

_KINDS: Mapping[type[inspect.Type], tuple[Kind, ...]] = {
    inspect.IntType: ("integer", "money"),
    inspect.StrType: ("id", "text", "json"),
    inspect.BoolType: ("flag",),
    inspect.DecimalType: ("money",),
    inspect.DateTimeType: ("time",),
    inspect.FloatType: (),
}
"""The kinds of columns that take a field's values, by its type; other types are not checked."""

_WITH_FIELDS = (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType)


_KINDS_OF_KEYS = ("id", "text", "integer")


def check_several(field: str, given: object, kind: type = object) -> None:
    """Raise unless something is a tuple or list, of values of a kind.

    Raises:
        InvalidValue: It is not.
    """
    if not isinstance(given, tuple | list):
        raise InvalidValue(field=field, rule="a tuple", value=repr(given))
    for each in given:
        if not isinstance(each, kind):
            raise InvalidValue(field=field, rule=f"a tuple of `{kind.__name__}`", value=repr(each))


def check_function(field: str, given: object) -> None:
    """Raise if something cannot be called.

    Raises:
        InvalidValue: It cannot.
    """
    if not callable(given):
        raise InvalidValue(field=field, rule="a function", value=repr(given))


def check_view(view: Any) -> None:  # noqa: ANN401  any type
    """Raise unless this is a type.

    Raises:
        InvalidValue: It is not.
    """
    try:
        inspect.type_info(view)
    except TypeError:
        raise InvalidValue(field="view", rule="a type", value=repr(view)) from None


def check_version(version: object) -> None:
    """Raise unless a version is a whole number from 1.

    Raises:
        InvalidValue: It is not.
    """
    if type(version) is not int or version < 1:
        raise InvalidValue(field="version", rule="a whole number from 1", value=repr(version))


def check_mode(mode: str) -> None:
    """Raise unless this is a mode.

    Raises:
        InvalidValue: It is not.
    """
    if mode not in get_args(Mode):
        raise InvalidValue(field="mode", rule=f"one of {', '.join(get_args(Mode))}", value=mode)


def check_key(key: object) -> None:
    """Raise unless this is a column of a kind that keys can have.

    Raises:
        InvalidValue: It is not.
    """
    if not isinstance(key, Column):
        raise InvalidValue(field="key", rule="a `Column`", value=repr(key))
    if key.kind not in _KINDS_OF_KEYS:
        rule = f"a column of the kind {' or '.join(_KINDS_OF_KEYS)}"
        raise InvalidValue(field="key", rule=rule, value=repr(key.kind))


def check_types(types: Sequence[object]) -> None:
    """Raise if one of the types is not a class of events.

    Raises:
        InvalidValue: There is one.
    """
    for each in types:
        if each not in get_args(Event):
            raise InvalidValue(field="types", rule="classes of events", value=repr(each))


def check_columns(view: Any, columns: Sequence[Column]) -> None:  # noqa: ANN401  any type
    """Raise if a column is not a field of the view, or cannot take the field's values.

    Raises:
        InvalidValue: There is one.
    """
    shapes = _parts(inspect.type_info(view))
    fields = [each for shape in shapes if isinstance(shape, _WITH_FIELDS) for each in shape.fields]
    for column in columns:
        types = [part for each in fields if each.name == column.name for part in _parts(each.type)]
        if types:
            _check_kind(column, types)
        elif not any(hasattr(getattr(shape, "cls", None), column.name) for shape in shapes):
            value = repr(column.name)
            raise InvalidValue(field="columns", rule="fields of the view", value=value)


def _check_kind(column: Column, types: Sequence[inspect.Type]) -> None:
    kinds = {kind for each in types for kind in _KINDS.get(type(each), (column.kind,))}
    if column.kind not in kinds:
        rule = f"{column.name} needs the kind {' or '.join(sorted(kinds))}"
        if not kinds:
            rule = f"no column for {column.name}, which is a float (make it a Decimal)"
        raise InvalidValue(field="columns", rule=rule, value=column.kind)


def _parts(info: inspect.Type) -> Sequence[inspect.Type]:
    """The members of a union, or else the type itself, without None."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]
