"""Checks a projection when it is defined, and names the part that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import msgspec
from msgspec import inspect

from sessions.errors import InvalidValue
from sessions.events import Event
from sessions.rules import MAX_COUNT, shown
from sessions.sql.head import Mode
from sessions.sql.tables import Column, Table
from sessions.views.names import check_relation
from sessions.views.storage import Rows, Storage

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


_KINDS_OF_IDS = ("id", "text")
_KINDS_OF_KEYS = (*_KINDS_OF_IDS, "integer")


def check_several(field: str, given: object, kind: type = object) -> None:
    """Raise unless something is a tuple or list, of values of a kind.

    Raises:
        InvalidValue: It is not.
    """
    if not isinstance(given, tuple | list):
        raise InvalidValue(field=field, rule="a tuple", value=shown(given))
    for each in given:
        if not isinstance(each, kind):
            raise InvalidValue(field=field, rule=f"a tuple of `{kind.__name__}`", value=shown(each))


def check_function(field: str, given: object) -> None:
    """Raise if something cannot be called.

    Raises:
        InvalidValue: It cannot.
    """
    if not callable(given):
        raise InvalidValue(field=field, rule="a function", value=shown(given))


def _check_is(field: str, given: object, kind: type) -> None:
    if not isinstance(given, kind):
        raise InvalidValue(field=field, rule=f"a `{kind.__name__}`", value=shown(given))


def check_rows(rows: Rows[Any]) -> None:
    """Raise unless the fields of a further relation are such that a table can be made of them.

    Raises:
        InvalidValue: They are not.
    """
    check_relation(rows.name)
    check_several(f"{rows.name}.columns", rows.columns, Column)
    check_several(f"{rows.name}.key", rows.key, str)
    check_several(f"{rows.name}.indexes", rows.indexes, tuple)
    check_function(f"{rows.name}.of", rows.of)


def check_storage(kept: Storage[Any]) -> None:
    """Raise unless this says how views are stored.

    Raises:
        InvalidValue: It does not.
    """
    _check_is("kept", kept, Storage)
    _check_is("kept.table", kept.table, Table)
    check_several("kept.table.columns", kept.table.columns, Column)
    check_several("kept.table.key", kept.table.key, str)
    check_several("kept.table.indexes", kept.table.indexes, tuple)
    check_function("kept.to_row", kept.to_row)
    check_function("kept.from_row", kept.from_row)
    if kept.settled is not None:
        check_function("kept.settled", kept.settled)


def check_view(view: Any) -> None:  # noqa: ANN401  any type
    """Raise unless this is a type that msgspec can read.

    Raises:
        InvalidValue: It is not.
    """
    try:
        msgspec.json.Decoder(view)
    except (NameError, TypeError, ValueError) as error:  # a part may have a name unknown here
        rule = "a type that msgspec can read"
        raise InvalidValue(field="view", rule=rule, value=shown(view)) from error


def check_version(version: object) -> None:
    """Raise unless a version is a whole number from 1 that every database takes.

    Raises:
        InvalidValue: It is not.
    """
    if type(version) is not int or not 1 <= version <= MAX_COUNT:
        rule = f"a whole number from 1 to {MAX_COUNT}"
        raise InvalidValue(field="version", rule=rule, value=shown(version))


def check_mode(mode: object) -> None:
    """Raise unless this is a mode.

    Raises:
        InvalidValue: It is not.
    """
    modes = get_args(Mode)
    if mode not in modes:
        raise InvalidValue(field="mode", rule=f"one of {', '.join(modes)}", value=shown(mode))


def check_key(key: Column, *, is_of_session: bool) -> None:
    """Raise unless this is a column of a kind that keys, or ids of sessions, can have.

    Raises:
        InvalidValue: It is not.
    """
    _check_is("key", key, Column)
    kinds = _KINDS_OF_IDS if is_of_session else _KINDS_OF_KEYS
    if key.kind not in kinds:
        rule = f"a column of the kind {' or '.join(kinds)}"
        raise InvalidValue(field="key", rule=rule, value=shown(key.kind))


def check_types(types: Sequence[object]) -> None:
    """Raise if one of the types is not a class of events.

    Raises:
        InvalidValue: There is one.
    """
    for each in types:
        if each not in get_args(Event):
            raise InvalidValue(field="types", rule="classes of events", value=shown(each))


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
            value = shown(column.name)
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
