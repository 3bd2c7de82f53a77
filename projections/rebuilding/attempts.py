"""Chooses the builds that a rebuild fills: those of an earlier attempt, or new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions.errors import ProjectionTooOld
from sessions.sql.connection import query_on
from sessions.views import kept
from sessions.views.parked import leave_out, skips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build, Mode
    from sessions.sql.tables import Table
    from sessions.views.parked import Skip
    from sessions.views.projection import Projection

_GO_BACK = (
    "upgrade this process, "
    "or run `sessions projections rebuild --allow-older` (in Python: `allow_older`)"
)


class Attempts:
    """The builds of some projections.

    Args:
        database: Where they are built.
        projections: The projections. A name that is none of theirs is that of the claims.
        mode: Their mode after the switch; None keeps it.
        allow_older: Also build versions older than the current ones.
        source: Another database to take modes and skipped events from.
    """

    def __init__(
        self,
        database: Database,
        projections: Sequence[Projection[Any]],
        mode: Mode | None,
        *,
        allow_older: bool,
        source: Database | None,
    ) -> None:
        self._database = database
        self._projections = {each.name: each for each in projections}
        self._mode = mode
        self._allows_older = allow_older
        self._source = source

    def build(self, connection: Connection, name: str, tables: Sequence[Table]) -> Build:
        """The build of an earlier attempt, if it is what is asked for; else a new one.

        Raises:
            ProjectionTooOld: The store keeps a newer version, and an older one is not allowed.
        """
        query, projection = query_on(connection), self._projections.get(name)
        version = projection.version if projection else 1
        before = query if self._source is None else self._source.query
        current = kept.builds(before, "current").get(name)
        if current is not None and version < current.version and not self._allows_older:
            found = f"{name} {version}"
            raise ProjectionTooOld(stored=current.label, found=found, advice=_GO_BACK)
        mode = self._mode_of(projection, current)
        tables, skipped = kept.tables_of(tables, mode), _skips_of(before, name, version)
        begun = kept.builds(query, "building").get(name)
        if begun is not None:
            asked = (version, mode, skipped)
            there = (begun.version, begun.mode, skips(query, begun))
            if there == asked and self._has_columns(query, begun, tables):
                return begun
            kept.remove(connection, begun)
        build = kept.register(connection, (name, version, mode), "building", tables)
        kept.create(connection, build, tables, self._database.dialect)
        leave_out(connection, skipped, build, self._database.dialect)
        return build

    def _has_columns(self, query: Query, begun: Build, tables: Sequence[Table]) -> bool:
        """Whether the relations of an earlier attempt have the columns that this process has."""
        beside = [kept.beside(table, begun) for table in tables]
        return kept.columns_of(beside) == self._database.columns(
            query, [table.name for table in beside]
        )

    def _mode_of(self, projection: Projection[Any] | None, current: Build | None) -> Mode:
        if projection is None:
            return "inline"
        return self._mode or (current.mode if current else projection.mode)


def _skips_of(query: Query, name: str, version: int) -> list[Skip]:
    """The events that a version skips, whether it is the current one or the one before."""
    found = (kept.builds(query, "current").get(name), kept.builds(query, "old").get(name))
    same = next((build for build in found if build and build.version == version), None)
    return skips(query, same) if same else []
