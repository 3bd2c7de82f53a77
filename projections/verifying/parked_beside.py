"""The parked keys and skipped events of a verification, beside those of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions.sql import schema
from sessions.sql.connection import query_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.sql.connection import Connection
    from sessions.sql.head import Build
    from sessions.sql.tables import Table


class ParkedBeside:
    """A relation like `parked`, which begins with the skipped events of the verified builds.

    Folding finds which of their keys are parked. The rows of other builds are taken as they are.

    Args:
        connection: The connection of the verification.
        verified: The builds that are verified.
        suffix: What the relation's name has after `parked`.
    """

    def __init__(self, connection: Connection, verified: Sequence[Build], suffix: str) -> None:
        self._connection = connection
        self._query = query_on(connection)
        self._table = schema.PARKED.beside(suffix)
        which = " OR ".join(["projection = ? AND build = ?"] * len(verified)) or "FALSE"
        self._of_verified = f"({which})"
        self._verified = [part for build in verified for part in (build.name, build.number)]
        self._skips: list[Any] = []

    def take_skips(self) -> None:
        """Copy the skipped events of the verified builds."""
        self._take(f"skipped AND {self._of_verified}")
        self._skips = self._skipped(self._table)

    def has_its_skips(self) -> bool:
        """Whether the store still skips the same events in them."""
        return self._skips == self._skipped(schema.PARKED)

    def take_others(self) -> None:
        """Copy all rows of other builds."""
        self._take(f"NOT {self._of_verified}")

    def skips_of_nothing(self, application_id: int) -> list[tuple[Any, ...]]:
        """The keys of skips at positions where an application has no event: the next might be."""
        of_log = "SELECT 1 FROM events WHERE events.application_id = parked.application_id"
        no_event = f"NOT EXISTS ({of_log} AND events.position = parked.position)"
        key = ", ".join(schema.PARKED.key)
        where = f"skipped AND {self._of_verified} AND application_id = ? AND {no_event}"
        return self._query(
            schema.PARKED.select(where, key, columns=key), (*self._verified, application_id)
        )

    def _take(self, where: str) -> None:
        copied = f"INSERT INTO {self._table.name} {schema.PARKED.select(where)}"
        self._connection.execute(copied, self._verified)

    def _skipped(self, table: Table) -> list[Any]:
        key = ", ".join(table.key)
        where = f"skipped AND {self._of_verified}"
        return self._query(table.select(where, key, columns=key), self._verified)
