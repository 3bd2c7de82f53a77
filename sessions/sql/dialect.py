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
    """A database's own words.

    Attributes:
        types: The type of a column for each kind of values.
        clustered: Ends the definition of a table whose rows lie in the order of its key.
        hashes: Whether an index has no room for an id of any length: it holds a short form then
            (`short_key`), and an id is found by that.
        names_indexes: Whether an index has to be given a name; else it gets one that is free.
        joins_rows: Whether many rows are best written by one statement, and not row by row.
        differs: The condition that two values differ, of which either may be NULL.
        each: How rows are joined to the values that they are looked for by, one after the other.
        rare: How the planner is told that a condition holds for few rows, where it guesses.
        functions: The statements that make the functions it needs.
        event: What is read of an event, for `Mapper.recorded`: nothing twice.
        refuse_changes: The statements that make the log one that is only added to.
        adapt: What makes of people's values, by their types, those that its driver takes rightly.
    """

    types: Mapping[Kind, str]
    clustered: str
    hashes: bool
    names_indexes: bool
    joins_rows: bool
    differs: str
    each: str
    rare: str
    functions: Sequence[str]
    event: str
    refuse_changes: Sequence[str]
    adapt: Mapping[type, Callable[[Any], object]]

    @cached_property
    def news(self) -> str:
        """Asks for the rows (`event`) of an application's log after a position."""
        return (
            f"SELECT {self.event} FROM events WHERE application_id = ? AND position > ? "
            f"ORDER BY position LIMIT {CATCH_UP}"
        )

    def key(self, name: str) -> str:
        """An id as indexes have it: a column's name, or the mark of a parameter."""
        return f"short_key({name})" if self.hashes else name

    def is_id(self, column: str, value: str = "?") -> str:
        """The condition that a column has the id that is given, or is the value of another one."""
        return f"{self.key(column)} = {self.key(value)}"


LOG_MOVED = "CS001"
"""The error of a transaction that took the lock late, and too late."""

_EVENT = (
    f"position, category, stream_id, version, {TOPIC}, "
    "at, NULLIF(recorded_at, at), command_id, NULLIF({}, '{{}}'), data"
)


def _number(amount: Decimal) -> int | float:
    """An amount as SQLite's columns have it: as a text it would be more than any number is."""
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
    each="{found}",
    rare="unlikely({})",
    functions=[],
    event=_EVENT.format("metadata"),
    refuse_changes=[
        f"CREATE TRIGGER events_refuse_{change} BEFORE {change.upper()} ON events "
        "BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END"
        for change in ("update", "delete")
    ],
    adapt={datetime: clock.text, Decimal: _number},
)

_EACH = "LATERAL (SELECT * FROM {found} OFFSET 0) AS {table}"
"""Of a mere join, or an IN, the planner makes a pass over all rows while it has no statistics: two
new sessions had a new store's log read from its beginning. `OFFSET` forbids it to think of that."""

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
"""What stands for an id in a unique index: itself, or 256 digits where it is as long as that."""

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
"""The lock, and then what it protects: a statement in a function sees what was committed before."""

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
"""The lock, and whether what it protects is as it is known: or else an error."""

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
    each=_EACH,
    rare="{}",
    functions=[_SHORT_KEY, _BEGIN_WRITING, _CONFIRM_WRITING],
    event=_EVENT.format("CAST(metadata AS text)"),
    refuse_changes=[_REFUSE, _REFUSE_CHANGES],
    adapt={},
)
