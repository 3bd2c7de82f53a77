"""The relations in a SQLite database: found and renamed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from sessions.sql.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from sessions.sql.connection import Connection, Query

_COLUMNS = (
    "SELECT made.name, its.name FROM sqlite_master AS made "
    "CROSS JOIN pragma_table_info(made.name, 'main') AS its "
    "WHERE made.type = 'table' AND made.name IN ({})"
)
"""Only these are looked at: a virtual table whose module is not here would be an error."""


class SqliteRelations(Database):
    """A database that belongs to the store as a whole."""

    def relations(self, query: Query) -> set[str]:
        """The names of all relations in the database."""
        return {name for (name,) in query("SELECT name FROM sqlite_master", ())}

    def columns(self, query: Query, names: Sequence[str]) -> set[tuple[str, str]]:
        """The columns of those relations that exist: pairs of relation and column."""
        return set(query(_COLUMNS.format(", ".join("?" * len(names))), names))

    def prepare(self, connection: Connection) -> None:
        """Nothing to do: a file is ready."""

    def rename(self, connection: Connection, table: str, to: str) -> None:
        """Rename a relation; what people built on its name stays with the name."""
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute(f"ALTER TABLE {table} RENAME TO {to}")
        connection.execute("PRAGMA legacy_alter_table = OFF")

    def handing_on(
        self,
        connection: Connection,  # noqa: ARG002  PostgreSQL needs it
        tables: Sequence[str],  # noqa: ARG002  PostgreSQL needs it
    ) -> AbstractContextManager[None]:
        """Nothing to do: there are no roles, and a view refers to the name."""
        return nullcontext()
