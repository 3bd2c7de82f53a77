"""The statements that make a relation, with its keys and indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.sql.dialect import Dialect
    from sessions.sql.tables import Table


def created(table: Table, dialect: Dialect) -> list[str]:
    """The statements that make a relation."""
    order = dialect.clustered if table.clustered else ""
    made = f"CREATE TABLE {table.name} ({_definition(table, dialect)}){order}"
    indexes = [("INDEX", f"({table.distinct(names, dialect)})") for names in table.indexes]
    all_of_it = f"ALTER TABLE {table.name} REPLICA IDENTITY FULL"
    named = [all_of_it] if _is_hashed(table, table.key, dialect) else []  # it has no primary key
    return [made, *named, *_indexed_by(table, [*indexes, *_hashed(table, dialect)], dialect)]


def created_temporary(table: Table, dialect: Dialect) -> list[str]:
    """The statements that make a relation for the connection alone."""
    made = f"CREATE TEMPORARY TABLE {table.name} ({_definition(table, dialect)})"
    return [made, *_indexed_by(table, _hashed(table, dialect), dialect)]


def _definition(table: Table, dialect: Dialect) -> str:
    columns = [
        f"{column.name} {dialect.types[column.kind]}{'' if column.nullable else ' NOT NULL'}"
        for column in table.columns
    ]
    keys = [
        f"{kind} ({', '.join(names)})"
        for kind, names in (("PRIMARY KEY", table.key), *[("UNIQUE", u) for u in table.unique])
        if not _is_hashed(table, names, dialect)
    ]
    return ", ".join([*columns, *keys])


def _indexed_by(table: Table, indexes: Sequence[tuple[str, str]], dialect: Dialect) -> list[str]:
    """The statements that make indexes, each given by its kind and what it is on.

    No statement uses their names. A name that has to be given is the relation's and a number: it is
    unique, and hardly longer.
    """
    names = [
        f" {table.name}_idx{number}" if dialect.names_indexes else ""
        for number in range(1, len(indexes) + 1)
    ]
    return [
        f"CREATE {kind}{name} ON {table.name} {on}"
        for name, (kind, on) in zip(names, indexes, strict=True)
    ]


def _hashed(table: Table, dialect: Dialect) -> list[tuple[str, str]]:
    """The indexes of keys with ids."""
    if not dialect.hashes:
        return []
    keys = [names for names in (table.key, *table.unique) if _is_hashed(table, names, dialect)]
    return [
        *[("UNIQUE INDEX", f"({table.distinct(names, dialect)})") for names in keys],
        *[("INDEX", f"USING hash ({name})") for name in table.lookups],
    ]


def _is_hashed(table: Table, names: Sequence[str], dialect: Dialect) -> bool:
    return dialect.hashes and not table.ids.isdisjoint(names)
