"""The relations in a schema of PostgreSQL: found, made room for, renamed and handed on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import psycopg

from sessions.errors import NotAStore, StorageFailed
from sessions.postgres.dependents import handing_on
from sessions.postgres.failures import GRANT
from sessions.postgres.pool import quoted
from sessions.sql.database import Database, StillRead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sessions.postgres.connection import PostgresConnection
    from sessions.postgres.place import Place
    from sessions.sql.connection import Connection, Query

_WAIT_SHORTLY = """
SELECT set_config('lock_timeout', (CASE WHEN is_vacuumed THEN after + 200 ELSE 100 END)::text, true)
FROM (SELECT setting::int AS after FROM pg_settings WHERE name = 'deadlock_timeout') AS deadlocks,
(
    SELECT coalesce(bool_and(mode = 'ShareUpdateExclusiveLock' AND usesysid IS NULL), FALSE)
        AS is_vacuumed
    FROM pg_locks JOIN pg_class ON oid = relation LEFT JOIN pg_stat_activity USING (pid)
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = ?)
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relkind IN ('r', 'm') AND granted AND pg_locks.pid <> pg_backend_pid()
        AND mode IN ('AccessShareLock', 'ShareUpdateExclusiveLock')
) AS locks
"""
"""Wait a tenth of a second for readers. A vacuum of the server's own, which no user runs, gives
way, but only to one that has waited until the server looks for deadlocks."""

_MEANWHILE = ("tuple concurrently updated", "could not open relation with OID")
"""What errors say if somebody has granted something meanwhile, or dropped a view."""

_RELATIONS = (
    "SELECT tablename, has_schema_privilege(schemaname, 'USAGE') "
    "FROM pg_catalog.pg_tables WHERE schemaname = ?"
)
_OTHERS = """
SELECT tablename, tableowner, pg_has_role(tableowner, 'USAGE')
FROM pg_catalog.pg_tables JOIN pg_catalog.pg_roles ON rolname = current_user
WHERE schemaname = ? AND tablename = ANY(?) AND NOT rolsuper AND NOT (
    pg_has_role(tableowner, 'USAGE')
    AND (tableowner = current_user OR has_schema_privilege(tableowner, schemaname, 'CREATE'))
) LIMIT 1
"""
_COLUMNS = (
    "SELECT relname, attname FROM pg_catalog.pg_attribute "
    "JOIN pg_catalog.pg_class ON attrelid = pg_class.oid "
    "JOIN pg_catalog.pg_namespace ON relnamespace = pg_namespace.oid "
    "WHERE nspname = ? AND relname IN ({}) AND attnum > 0 AND NOT attisdropped"
)


class PostgresRelations(Database):
    """A database of which one schema belongs to the store."""

    _place: Place

    def relations(self, query: Query) -> set[str]:
        """The names of all relations in the schema, if the role may use them at all."""
        schema = self._place.schema
        found = dict(query(_RELATIONS, (schema,)))
        if not all(found.values()):  # they would seem not to exist
            reason = f"permission denied for schema {schema}: {GRANT}"
            raise StorageFailed(path=self.path, reason=reason)
        return set(found)

    def columns(self, query: Query, names: Sequence[str]) -> set[tuple[str, str]]:
        """The columns of those relations that exist: pairs of relation and column."""
        asked = _COLUMNS.format(", ".join("?" * len(names)))
        return set(query(asked, (self._place.schema, *names))) if names else set()

    def prepare(self, connection: Connection) -> None:
        """Make the schema, if it is not there.

        Raises:
            NotAStore: The database is not UTF8.
        """
        ((encoding,),) = connection.execute("SHOW server_encoding").fetchall()
        if encoding != "UTF8":
            reason = f"its database has the encoding {encoding}, but a store needs UTF8"
            raise NotAStore(path=self.path, reason=reason)
        sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?"
        if not connection.execute(sql, (self._place.schema,)).fetchall():
            connection.execute(f"CREATE SCHEMA {quoted(self._place.schema)}")

    @contextmanager
    def clearing(self) -> Iterator[Connection]:
        """`writing`, to rename and drop relations: it does not wait long for their readers.

        Locks are taken only where they are needed, on what goes, in the order in which readers take
        them: people's views, and then the relations that these are built on.

        Raises:
            StillRead: An open transaction has read one of them, or a view that is built on it.
        """
        with self.writing() as connection:
            connection.execute(_WAIT_SHORTLY, (self._place.schema,))
            try:
                yield connection
            except psycopg.errors.LockNotAvailable as error:
                raise StillRead from error
            except psycopg.errors.InternalError_ as error:
                if not any(said in str(error) for said in _MEANWHILE):
                    raise
                raise StillRead from error

    def rename(self, connection: Connection, table: str, to: str) -> None:
        """Rename a relation; its grants, and views that people built on it, go with it."""
        connection.execute(f"ALTER TABLE {table} RENAME TO {to}")

    def check_owned(self, tables: Collection[str]) -> None:
        """Raise if one of these relations exists and belongs to another role.

        Raises:
            StorageFailed: One does.
        """
        for name, owner, is_owner in self.query(_OTHERS, (self._place.schema, list(tables))):
            reason = f"must be owner of table {name}, which belongs to {owner}: {GRANT}"
            if is_owner:  # its replacement has to be that owner's again
                reason = f"{owner}, the owner of table {name}, must be granted CREATE on the schema"
            raise StorageFailed(path=self.path, reason=reason)

    def handing_on(
        self, connection: Connection, tables: Sequence[str]
    ) -> AbstractContextManager[None]:
        """Hand grants and people's views to the relations that have the names at the end."""
        return handing_on(cast("PostgresConnection", connection), tables)
