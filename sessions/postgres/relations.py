"""The relations in a schema of PostgreSQL: found, made room for, renamed and handed on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from sessions.database import Connection, Database, StillRead, query_on
from sessions.errors import NotAStore, StorageFailed
from sessions.postgres.dependents import handing_on
from sessions.postgres.failures import GRANT
from sessions.postgres.pool import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sessions.database import Query
    from sessions.postgres.place import Place

_CLEAR_MILLISECONDS = 100
"""How long writers wait at a time for those who read what is to be renamed."""

_RELATIONS = (
    "SELECT tablename, has_schema_privilege(schemaname, 'USAGE') "
    "FROM pg_catalog.pg_tables WHERE schemaname = ?"
)
_COLUMNS = (
    "SELECT relname, attname FROM pg_catalog.pg_attribute "
    "JOIN pg_catalog.pg_class ON attrelid = pg_class.oid "
    "JOIN pg_catalog.pg_namespace ON relnamespace = pg_namespace.oid "
    "WHERE nspname = ? AND relname IN ({}) AND attnum > 0 AND NOT attisdropped"
)


class PostgresRelations(Database):
    """A database of which one schema is ours."""

    _place: Place

    def relations(self, query: Query) -> set[str]:
        """The names of all relations in the schema, if the role may use them at all."""
        schema = self._place.schema
        found = dict(query(_RELATIONS, (schema,)))
        if not all(found.values()):  # they would be said not to exist
            reason = f"permission denied for schema {schema}: {GRANT}"
            raise StorageFailed(path=self.path, reason=reason)
        return set(found)

    def columns(self, query: Query, names: Sequence[str]) -> set[tuple[str, str]]:
        """Those relations of some names that are there, each with each of its columns."""
        asked = _COLUMNS.format(", ".join("?" * len(names)))
        return set(query(asked, (self._place.schema, *names))) if names else set()

    def prepare(self, connection: Connection) -> None:
        """Make the schema, where nobody did.

        Raises:
            NotAStore: The database's encoding does not take all text.
        """
        ((encoding,),) = connection.execute("SHOW server_encoding").fetchall()
        if encoding != "UTF8":
            reason = f"its database has the encoding {encoding}, and a store needs UTF8"
            raise NotAStore(path=self.path, reason=reason)
        sql = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?"
        if not connection.execute(sql, (self._place.schema,)).fetchall():
            connection.execute(f"CREATE SCHEMA {quoted(self._place.schema)}")

    @contextmanager
    def clearing(self, relations: Callable[[Query], Iterable[str]]) -> Iterator[Connection]:
        """`writing`, of relations that nobody reads then, and that are to be renamed or dropped."""
        with self.writing() as connection:
            query = query_on(connection)
            self._clear(connection, sorted(self.relations(query).intersection(relations(query))))
            yield connection

    def _clear(self, connection: Connection, names: Sequence[str]) -> None:
        """Wait for a moment until nobody reads some relations, in the order of their names.

        Raises:
            StillRead: Somebody does.
        """
        if not names:
            return
        connection.execute(f"SET LOCAL lock_timeout = {_CLEAR_MILLISECONDS}")
        try:
            connection.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
        except psycopg.errors.LockNotAvailable as error:
            raise StillRead from error
        milliseconds = max(1, round(self.lock_timeout * 1000))
        connection.execute(f"SET LOCAL lock_timeout = {milliseconds}")

    def rename(self, connection: Connection, table: str, to: str) -> None:
        """Rename a relation; its grants, and views that people made of it, go with it."""
        connection.execute(f"ALTER TABLE {table} RENAME TO {to}")

    def handing_on(
        self, connection: Connection, tables: Sequence[str]
    ) -> AbstractContextManager[None]:
        """Let grants and people's views be of the relations that have the names at the end."""
        return handing_on(connection, tables)
