"""What SQLite and PostgreSQL say differently, in one place each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sessions import clock
from sessions.cached import cached_property
from sessions.kinds import INTEGERS
from sessions.sql.head import CATCH_UP, HEAD
from sessions.sql.topics import TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sessions.kinds import Kind


@dataclass(frozen=True)
class Dialect:
    """What a database says in its own way.

    Attributes:
        types: The type of a column for each kind of values.
        clustered: Ends the definition of a table whose rows are stored in the order of its key.
        hashes: Whether an index has no room for long ids: it then holds a short form (`short_key`),
            by which ids are looked up.
        names_indexes: Whether an index has to be given a name; else it gets one that is free.
        joins_rows: Whether many rows are best written by one statement, instead of row by row.
        differs: The condition that two values differ, of which either may be NULL.
        each: Joins rows to the values by which they are looked up, one after the other. No
            database may change this order; SQLite takes it from CROSS JOIN.
        each_or_none: As `each`, with NULLs where there is no row.
        rare: Tells the planner that a condition holds for few rows, if it would guess otherwise.
        temporary: The schema of relations that a connection has for itself.
        functions: The statements that make the functions it needs.
        event: The columns of an event for `Mapper.recorded`; no value is read twice.
        refuse_changes: The statements that make the log append-only.
        adapt: By type, makes of people's values those that its driver takes correctly.
    """

    types: Mapping[Kind, str]
    clustered: str
    hashes: bool
    names_indexes: bool
    joins_rows: bool
    differs: str
    each: str
    each_or_none: str
    rare: str
    temporary: str
    functions: Sequence[str]
    event: str
    refuse_changes: Sequence[str]
    adapt: Mapping[type, Callable[[Any], object]]

    @cached_property
    def news(self) -> str:
        """The SELECT of the rows (`event`) of an application's log after a position."""
        return (
            f"SELECT {self.event} FROM events WHERE application_id = ? AND position > ? "
            f"ORDER BY position LIMIT {CATCH_UP}"
        )

    def key(self, name: str) -> str:
        """An id as indexes hold it; `name` is a column or the mark of a parameter."""
        return f"short_key({name})" if self.hashes else name

    def is_id(self, column: str, value: str = "?") -> str:
        """The condition that a column has an id: a given one, or that of another column."""
        return f"{self.key(column)} = {self.key(value)}"


LOG_MOVED = "CS001"
"""The SQLSTATE of a transaction that took the lock with its commit, and found the log moved."""

_EVENT = (
    f"position, category, stream_id, version, {TOPIC}, "
    "at, NULLIF(recorded_at, at), command_id, NULLIF({}, '{{}}'), data"
)


def _number(amount: Decimal) -> int | float:
    """An amount as SQLite's columns hold it: a text would be greater than every number."""
    whole = amount == amount.to_integral_value() and int(amount) in INTEGERS
    return int(amount) if whole else float(amount)


SQLITE = Dialect(
    types={
        "id": "TEXT",
        "text": "TEXT",
        "integer": "INTEGER",
        "flag": "INTEGER",
        "money": "NUMERIC",
        "time": "TEXT",
        "json": "TEXT",
    },
    clustered=" WITHOUT ROWID",
    hashes=False,
    names_indexes=True,
    joins_rows=False,
    differs="{0} IS NOT {1}",
    each="CROSS JOIN {table} ON {where}",
    each_or_none="LEFT JOIN {table} ON {where}",
    rare="unlikely({})",
    temporary="temp",
    functions=[],
    event=_EVENT.format("metadata"),
    refuse_changes=[
        f"CREATE TRIGGER events_refuse_{change} BEFORE {change.upper()} ON events "
        "BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END"
        for change in ("update", "delete")
    ],
    adapt={datetime: clock.text, Decimal: _number},
)

_EACH = "LATERAL (SELECT * FROM {table} WHERE {where} OFFSET 0) AS {table}"
"""For a plain join, or an IN, a planner without statistics makes a pass over all rows: for two new
sessions it read a new store's log from the beginning. `OFFSET` rules that out."""

_REFUSE = (
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the log is only added to'; END $$"
)
_REFUSE_CHANGES = (
    "CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
)

_SHORT_KEY = """
CREATE FUNCTION short_key(id text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF octet_length(id) < 256 THEN
        RETURN id;
    END IF;
    RETURN repeat(encode(sha256(convert_to(id, 'UTF8')), 'hex'), 4);
END $$
"""
"""What stands for an id in a unique index: the id, or 256 digits if it is at least that long."""

_BEGIN_WRITING = f"""
CREATE FUNCTION begin_writing(store bigint, log bigint, application bigint)
RETURNS TABLE (
    newest bigint, view_name text, view_build bigint, view_version bigint, view_mode text,
    view_revision bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(store);
    PERFORM pg_advisory_xact_lock(log);
    RETURN QUERY {HEAD.replace("?", "application")};
END $$
"""
"""Takes the lock, then reads what it protects: each statement sees what was committed before it."""

_CONFIRM_WRITING = f"""
CREATE FUNCTION confirm_writing(
    store bigint, log bigint, application bigint, known bigint, known_views text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(store);
    PERFORM pg_advisory_xact_lock(log);
    IF known <> coalesce((SELECT max(position) FROM events WHERE application_id = application), 0)
        OR known_views <> coalesce(
            (SELECT string_agg(concat_ws(' ', name, build, mode, revision), ', ' ORDER BY name)
            FROM projections WHERE status = 'current'), '')
    THEN
        RAISE EXCEPTION 'others have written' USING ERRCODE = '{LOG_MOVED}';
    END IF;
END $$
"""
"""Takes the lock, and raises an error unless what it protects is as it is known."""

POSTGRES = Dialect(
    types={
        "id": 'text COLLATE "C"',
        "text": 'text COLLATE "C"',
        "integer": "bigint",
        "flag": "boolean",
        "money": "numeric",
        "time": "timestamptz",
        "json": "json",
    },
    clustered="",
    hashes=True,
    names_indexes=False,
    joins_rows=True,
    differs="CAST({0} AS text) IS DISTINCT FROM CAST({1} AS text)",
    each=f"CROSS JOIN {_EACH}",
    each_or_none=f"LEFT JOIN {_EACH} ON TRUE",
    rare="{}",
    temporary="pg_temp",
    functions=[_SHORT_KEY, _BEGIN_WRITING, _CONFIRM_WRITING],
    event=_EVENT.format("CAST(metadata AS text)"),
    refuse_changes=[_REFUSE, _REFUSE_CHANGES],
    adapt={},
)
