"""Making a store, migrating it, and telling whether a database holds one.

A new store is made as `schema` says. An older one is brought forward by the numbered migrations
that it lacks, in one transaction that has the lock; a migration that was ever released never
changes. A store that is newer than this library is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sessions import clock
from sessions.errors import NotAStore, StoreTooNew, StoreTooOld
from sessions.sql import schema
from sessions.sql.creating import created

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.dialect import Dialect


def statements(dialect: Dialect) -> list[str]:
    """The statements that make a new store."""
    return [
        *dialect.functions,
        *[statement for table in schema.TABLES for statement in created(table, dialect)],
        *dialect.refuse_changes,
    ]


_POSITIONS = (
    "CREATE TABLE IF NOT EXISTS positions (follower {id} NOT NULL, upstream {id} NOT NULL, "
    "position {integer} NOT NULL{key}){order}"
)
_POSITIONS_KEY = ", PRIMARY KEY (follower, upstream)"
_POSITIONS_ONCE = (
    "CREATE UNIQUE INDEX IF NOT EXISTS positions_upstream_once ON positions "
    "(short_key(follower), short_key(upstream))"
)


def _types(dialect: Dialect) -> Mapping[str, str]:
    return cast("Mapping[str, str]", dialect.types)


def _positions(dialect: Dialect) -> list[str]:
    key = "" if dialect.hashes else _POSITIONS_KEY
    made = _POSITIONS.format(**_types(dialect), key=key, order=dialect.clustered)
    return [made, _POSITIONS_ONCE] if dialect.hashes else [made]


def _only_added_to(dialect: Dialect) -> list[str]:
    """The log itself says where it ends, as it is append-only; followers store their positions."""
    return ["DROP TABLE applications", *_positions(dialect), *dialect.refuse_changes]


_PROJECTIONS = (
    "CREATE TABLE projections (name {text} NOT NULL, build {integer} NOT NULL, "
    "version {integer} NOT NULL, mode {text} NOT NULL, status {text} NOT NULL, "
    "revision {integer} NOT NULL, relations {text} NOT NULL, PRIMARY KEY (name, build))"
)
_CURRENT = (
    "INSERT INTO projections (name, build, version, mode, status, revision, relations) "
    "SELECT name, 1, version, 'inline', 'current', 0, name FROM inline_views"
)
_PARKED = (
    "CREATE TABLE parked (application_id {integer} NOT NULL, projection {text} NOT NULL, "
    "build {integer} NOT NULL, key {id} NOT NULL, position {integer} NOT NULL, type {text} "
    "NOT NULL, error {text} NOT NULL, parked_at {time} NOT NULL, skipped {flag} NOT NULL{key})"
)
_PARKED_KEY = ", PRIMARY KEY (application_id, projection, build, key, position)"
_PARKED_ONCE = (
    "CREATE UNIQUE INDEX parked_position_once ON parked "
    "(application_id, projection, build, short_key(key), position)"
)
_NO_FUNCTIONS = [f"DROP FUNCTION IF EXISTS {name}" for name in ("begin_writing", "confirm_writing")]


def _builds(dialect: Dialect) -> list[str]:
    """Each projection may have several builds, each in its mode; keys may be parked.

    The first stores of version 2 have no `positions`, and not both functions.
    """
    types = _types(dialect)
    made = [
        *_positions(dialect),
        _PROJECTIONS.format(**types),
        _CURRENT,
        "DROP TABLE inline_views",
        _PARKED.format(**types, key="" if dialect.hashes else _PARKED_KEY),
    ]
    if dialect.hashes:
        made += [_PARKED_ONCE, *_NO_FUNCTIONS]
    return [*made, *[each for each in dialect.functions if "_writing(" in each]]


_REPLICA_IDENTITY = """
DO $$ DECLARE its text; BEGIN
    FOR its IN
        SELECT relname FROM pg_class
        WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND relkind = 'r' AND relreplident = 'd'
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)
        AND relname IN (
            SELECT unnest(ARRAY['answers', 'claims', 'limits', 'parked', 'positions'])
            UNION ALL
            SELECT unnest(string_to_array(relations, ' '))
                || CASE status WHEN 'current' THEN '' ELSE '_build_' || build END
            FROM projections
        )
    LOOP
        EXECUTE format('ALTER TABLE %I REPLICA IDENTITY FULL', its);
    END LOOP;
END $$"""


def _replicated(dialect: Dialect) -> list[str]:
    """Else a publication of all tables would refuse changes to those without a primary key."""
    return [_REPLICA_IDENTITY] if dialect.hashes else []


MIGRATIONS: Mapping[int, Callable[[Dialect], list[str]]] = {
    2: _only_added_to,
    3: _builds,
    4: _replicated,
}
"""The statements that make each version of the schema from the one before."""

_ALWAYS = {"migrations", "events", "claims", "limits", "answers"}
"""The relations that a store of any version has."""

SCHEMA_VERSION = max(MIGRATIONS)
"""The version of the schema that this library knows."""


def make(database: Database, connection: Connection, query: Query) -> bool:
    """Make or migrate the store, in a transaction that has the lock.

    Returns:
        Whether it is new, so that its views are still to be made.

    Raises:
        NotAStore: It is a database of something else.
        StoreTooNew: A newer library made it.
    """
    found = version(database, query)
    if found is None:
        database.prepare(connection)
        for statement in statements(database.dialect):
            connection.execute(statement)
        _note(connection, SCHEMA_VERSION)
        return True
    for number in range(found + 1, SCHEMA_VERSION + 1):
        for statement in MIGRATIONS[number](database.dialect):
            connection.execute(statement)
        _note(connection, number)
    return False


def _note(connection: Connection, number: int) -> None:
    applied = schema.MIGRATIONS.values((number, clock.now()))
    connection.execute(schema.MIGRATIONS.insert(), applied)


def is_store(database: Database) -> bool:
    """Whether the database holds a store of the newest schema; False if it is empty.

    Raises:
        NotAStore: It is a database of something else.
        StoreTooNew: A newer library made it.
        StoreTooOld: It has to be migrated first.
    """
    found = version(database, database.query)
    if found is not None and found < SCHEMA_VERSION:
        raise StoreTooOld(path=database.path, found=found, known=SCHEMA_VERSION)
    return found is not None


def version(database: Database, query: Query) -> int | None:
    """The version of the store's schema; None if the database is empty.

    Raises:
        NotAStore: It is a database of something else.
        StoreTooNew: A newer library made it.
    """
    found = database.relations(query)
    if not found:
        return None
    if not found >= _ALWAYS:
        raise NotAStore(path=database.path, reason="it holds other tables")
    newest: int | None = query(f"SELECT max(version) FROM {schema.MIGRATIONS.name}", ())[0][0]
    if newest is None:
        raise NotAStore(path=database.path, reason="its table of migrations is empty")
    if newest > SCHEMA_VERSION:
        raise StoreTooNew(path=database.path, found=newest, known=SCHEMA_VERSION)
    return newest
