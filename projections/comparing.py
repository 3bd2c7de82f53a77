"""Do two relations hold the same rows?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from projections.pages import LogReader, read_events
from sessions.sql.connection import query_on
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sessions.sql.connection import Connection
    from sessions.sql.database import Database
    from sessions.sql.dialect import Dialect
    from sessions.sql.head import Build
    from sessions.sql.tables import Table
    from sessions.views.projection import Projection

MOST = 1000


class Compared(msgspec.Struct, frozen=True, rename="camel"):
    """A new build, compared with the current build of the same version that it replaces.

    Attributes:
        projection: The projection and its version, such as `customer_sessions 1`.
        application_id: The application.
        views: How many views the new build has.
        differing: The keys of the views that differed; at most 1000.
    """

    projection: str
    application_id: int
    views: int
    differing: list[str]


def compare_builds(
    database: Database,
    builds: Mapping[str, Build],
    projections: Iterable[Projection[Any]],
    applications: Iterable[int],
) -> list[Compared]:
    """Compare new builds with the current ones that they will replace, if they should be alike."""
    current = kept.builds(database.query, "current")
    there = database.relations(database.query)
    alike = [
        each
        for each in projections
        if each.name in current
        and _is_alike(builds[each.name], current[each.name])
        and there.issuperset(kept.relations(database.query, builds[each.name]))
    ]
    if not alike:
        return []
    with database.private() as connection:
        return [
            _compare(database, connection, builds[each.name], each, application)
            for each in alike
            for application in applications
        ]


def _is_alike(one: Build, other: Build) -> bool:
    return one.version == other.version and "live" not in {one.mode, other.mode}


def _compare(
    database: Database,
    connection: Connection,
    build: Build,
    projection: Projection[Any],
    application_id: int,
) -> Compared:
    """Compare a build with the current one, in one snapshot.

    They may have reached different positions: what only one of them has seen is no difference.
    """
    tables = [(table, kept.beside(table, build)) for table in projection.tables]
    names = [table.name for both in tables for table in both]
    with database.snapshot(connection, names):
        differing = {
            str(key[1]): None
            for one, other in tables
            for key in differing_keys(connection, one, other, application_id, database.dialect)
        }
        if differing:
            for key in _touched_since(database, connection, build, projection, application_id):
                differing.pop(key, None)
        counted = f"SELECT count(*) FROM {tables[0][1].name} WHERE application_id = ?"
        ((views,),) = connection.execute(counted, (application_id,)).fetchall()
    return Compared(projection.label, application_id, views, list(differing)[:MOST])


def _touched_since(
    database: Database,
    connection: Connection,
    build: Build,
    projection: Projection[Any],
    application_id: int,
) -> Iterator[str]:
    """The keys of events that one of the two builds may not have seen."""
    query = query_on(connection)
    current = kept.builds(query, "current")[build.name]
    builds = [build, *([current] if current.mode == "followed" else [])]
    after = min(kept.position(query, each, application_id) for each in builds)
    reader = LogReader(database, application_id, query)
    for recorded in read_events(reader, query, after):
        yield from map(str, projection.touched(recorded))


def differing_keys(
    connection: Connection, one: Table, other: Table, application_id: int, dialect: Dialect
) -> Iterator[tuple[Any, ...]]:
    """The keys of rows that differ, or that only one of two relations has."""
    same_key = " AND ".join(f"one.{name} = other.{name}" for name in one.key)
    differs = " OR ".join(
        dialect.differs.format(f"one.{c.name}", f"other.{c.name}") for c in one.columns
    )
    either = ((one, other, differs), (other, one, f"other.{one.key[0]} IS NULL"))
    for left, right, condition in either:
        yield from connection.execute(
            f"SELECT {', '.join(f'one.{name}' for name in one.key)} FROM {left.name} AS one "
            f"LEFT JOIN {right.name} AS other ON {same_key} "
            f"WHERE one.application_id = ? AND ({condition})",
            (application_id,),
        ).fetchall()
