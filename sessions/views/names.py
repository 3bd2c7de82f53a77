"""The names of relations and columns that people define: every database must take them.

Statements do not quote names. So a name must be plain, not a reserved word, and none that the
library or a database uses itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from sessions.errors import InvalidValue
from sessions.kinds import Kind
from sessions.rules import shown
from sessions.sql.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from sessions.sql.tables import Column, Table

_WORDS = """
add all alter analyse analyze and any array as asc asymmetric authorization autoincrement between
binary both case cast check cmax cmin collate collation column commit concurrently constraint
create cross ctid current_catalog current_date current_role current_schema current_time
current_timestamp current_user default deferrable delete desc distinct do drop else end escape
except exists false fetch for foreign freeze from full grant group having if ilike in index
initially inner insert intersect into is isnull join lateral leading left like limit localtime
localtimestamp natural not nothing notnull null offset on only or order outer overlaps placing
primary raise references returning right select session_user set similar some symmetric system_user
table tableoid tablesample then to trailing transaction true union unique update user using values
variadic verbose when where window with xmax xmin
"""
RESERVED = frozenset(_WORDS.split())
"""Names that SQLite or PostgreSQL does not take: their reserved words and system columns."""

_RELATION = re.compile(r"[a-z][a-z0-9_]{0,29}")
"""PostgreSQL cuts a name at 63 bytes: this leaves room for what is added to it."""
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,62}")
_GIVEN = re.compile(r"excluded|(pg|sqlite)_.*|.*_(build_[0-9]+|idx[0-9]*|pkey|fresh|replaced)")
"""Names that databases use themselves, and names that are made from a relation's name.

`excluded` is the row that an INSERT cannot add because there is one with its key.
"""
_STORE = {table.name for table in TABLES}
_ROOM = 7_900
"""How many bytes of values a row of PostgreSQL has room for, beside what heads it. A long value is
kept elsewhere; any other may take as much as the reference to one."""
_SHORT, _REFERENCE = 8, 24
_MOST_INDEXED = 32
"""How many columns an index of PostgreSQL can have."""


def check_relation(name: str) -> None:
    """Raise if this cannot be the name of a relation on every database.

    Raises:
        InvalidValue: It cannot.
    """
    _check_plain("name", name, _RELATION, 30)
    if name in _STORE:
        raise InvalidValue(field="name", rule="a name not used by the store", value=shown(name))
    if _GIVEN.fullmatch(name):
        rule = (
            "a name that neither the store nor a database gives (excluded, pg_*, sqlite_*, "
            "*_build_N, *_idx, *_idxN, *_pkey, *_fresh, *_replaced)"
        )
        raise InvalidValue(field="name", rule=rule, value=shown(name))


def check_table(table: Table) -> None:
    """Raise if not every database would make a relation.

    Raises:
        InvalidValue: A name is not allowed or is there twice, a column's kind does not exist, there
            are too many columns, or a key or an index names columns that it cannot have.
    """
    check_relation(table.name)
    for column in table.columns:
        _check_column(table.name, column)
    names = [column.name for column in table.columns]
    _check_room(table)
    if len(set(names)) < len(names):
        rule, value = "a different name for each", ", ".join(names)
        raise InvalidValue(field=f"{table.name}.columns", rule=rule, value=value)
    may_be_null = {column.name for column in table.columns if column.nullable}
    _check_indexed(table, "key", table.key, without=may_be_null)
    for index in table.indexes:
        _check_indexed(table, "indexes", index)


def _check_column(table: str, column: Column) -> None:
    _check_plain(f"{table}.columns", column.name, _COLUMN, 63)
    if column.kind not in get_args(Kind):
        rule = f"one of the kinds {', '.join(get_args(Kind))}"
        raise InvalidValue(field=f"{table}.{column.name}", rule=rule, value=shown(column.kind))


def _check_plain(field: str, name: object, pattern: re.Pattern[str], most: int) -> None:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        rule = f"at most {most} lower-case letters, digits and _, a letter first"
        raise InvalidValue(field=field, rule=rule, value=shown(name))
    if name in RESERVED:
        raise InvalidValue(field=field, rule="a name that SQL does not reserve", value=shown(name))


def _check_room(table: Table) -> None:
    short = [column for column in table.columns if column.kind in {"integer", "flag", "time"}]
    size = _SHORT * len(short) + _REFERENCE * (len(table.columns) - len(short))
    if size > _ROOM:
        each = f"{_SHORT} for an integer, a flag or a time, {_REFERENCE} for any other"
        rule = f"columns of at most {_ROOM} bytes together ({each})"
        raise InvalidValue(field=f"{table.name}.columns", rule=rule, value=size)


def _check_indexed(
    table: Table,
    what: str,
    names: Sequence[str],
    *,
    without: AbstractSet[str] = frozenset(),
) -> None:
    can = sorted({column.name for column in table.columns if column.kind != "json"} - without)
    if not names or not all(name in can for name in names) or len(set(names)) < len(names):
        rule = f"one or more of the columns {', '.join(can)}, each once"
        raise InvalidValue(field=f"{table.name}.{what}", rule=rule, value=shown(tuple(names)))
    if len(names) > _MOST_INDEXED:
        rule = f"at most {_MOST_INDEXED} columns, with those of the application and the key"
        raise InvalidValue(field=f"{table.name}.{what}", rule=rule, value=len(names))
