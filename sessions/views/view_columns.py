"""The fields of views that become columns: which there are, and of what kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import inspect

from sessions.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sessions.kinds import Kind
    from sessions.sql.tables import Column

_KINDS: Mapping[type[inspect.Type], tuple[Kind, ...]] = {
    inspect.IntType: ("integer", "money"),
    inspect.StrType: ("id", "text", "json"),
    inspect.BoolType: ("flag",),
    inspect.DecimalType: ("money",),
    inspect.DateTimeType: ("time",),
}
"""The kinds of columns that take the values of a field; of another type, nobody knows before."""


def check_columns(view: Any, columns: Sequence[Column]) -> None:  # noqa: ANN401  any type
    """Refuse columns that are no fields of a view, or that take no value of theirs.

    Raises:
        InvalidValue: There is one.
    """
    shapes = _parts(inspect.type_info(view))
    fields = [field for shape in shapes for field in getattr(shape, "fields", ())]
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
        rule = f"{column.name} is of the kind {' or '.join(sorted(kinds))}"
        raise InvalidValue(field="columns", rule=rule, value=column.kind)


def _parts(info: inspect.Type) -> Sequence[inspect.Type]:
    """A type, or those that it is one of, but for None."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    kinds = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]
