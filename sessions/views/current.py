"""Makes builds current: those begun, and those switched to; the ones before become old.

Their relations are only renamed. So people's queries find the current build by the plain names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions.errors import ViewsDiffer
from sessions.sql.connection import query_on
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build
    from sessions.views.projection import Projection


def begin(
    database: Database, connection: Connection, projections: Iterable[Projection[Any]]
) -> None:
    """Keep projections from the beginning of the log, each in its own mode.

    Raises:
        ViewsDiffer: Another one has a relation of the same name.
    """
    for each in projections:
        tables = kept.tables_of(each.tables, each.mode)
        build = kept.register(connection, (each.name, each.version, each.mode), "current", tables)
        kept.create(connection, build, tables, database.dialect)
        check_free(query_on(connection), [build], leaving=[each.name])
        take_names(database, connection, build)


def switch(database: Database, connection: Connection, builds: Sequence[Build]) -> None:
    """Make builds the current ones, and those that were current the old ones.

    Raises:
        ViewsDiffer: One that stays has a relation of the same name.
    """
    query = query_on(connection)
    check_free(query, builds, leaving=[build.name for build in builds])
    current = kept.builds(query, "current")
    before = {
        build.name: kept.relations(query, current[build.name]) if build.name in current else ()
        for build in builds
    }
    now = {build.name: kept.relations(query, build) for build in builds}
    for some in _together(builds, before, now):
        moved = {name for build in some for name in (*before[build.name], *now[build.name])}
        with database.handing_on(connection, sorted(moved)):
            for build in some:
                retire(database, connection, build.name)
            for build in some:
                take_names(database, connection, build)
    for build in builds:
        kept.set_status(connection, build, "current")
        if build.mode == "inline":
            kept.forget_position(connection, build)


def _together(
    builds: Sequence[Build], before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]
) -> Sequence[Sequence[Build]]:
    """What is switched to in one step: all if a relation goes over to another projection.

    Then all have to give up their names before any takes one. Else one by one: policies of one
    relation that look into another are handed on in several steps.
    """
    owners = {relation: name for name, relations in before.items() for relation in relations}
    goes_over = any(
        owners.get(relation, name) != name
        for name, relations in now.items()
        for relation in relations
    )
    return [builds] if goes_over else [[build] for build in builds]


def retire(database: Database, connection: Connection, name: str) -> None:
    """Make the current build of a projection, if there is one, the only old one."""
    query = query_on(connection)
    old, current = (kept.builds(query, status).get(name) for status in ("old", "current"))
    if old is not None:
        kept.remove(connection, old)
    if current is None:
        return
    there = database.relations(query)
    for table in kept.relations(query, current):
        if table in there:
            database.rename(connection, table, table + kept.suffix(current))
    kept.set_status(connection, current, "old")


def take_names(database: Database, connection: Connection, build: Build) -> None:
    """Give the relations of a build the plain names, which those of a current one have."""
    for table in kept.relations(query_on(connection), build):
        database.rename(connection, table + kept.suffix(build), table)


def check_free(query: Query, builds: Iterable[Build], leaving: Collection[str]) -> None:
    """Raise if a current build that stays has a relation named as one of some builds.

    Args:
        query: What to query with.
        builds: The builds that are to take their names.
        leaving: The projections whose current builds give up theirs.

    Raises:
        ViewsDiffer: One has.
    """
    for other in kept.builds(query, "current").values():
        had = () if other.name in leaving else kept.relations(query, other)
        for build in builds if had else ():
            shared = sorted(set(had).intersection(kept.relations(query, build)))
            if shared:
                raise _not_free(build, other, ", ".join(shared))


def _not_free(build: Build, other: Build, names: str) -> ViewsDiffer:
    advice = (
        f"rebuild {other.name} without {names}, or, if {other.name} is not installed, run "
        f"`sessions projections drop {other.name}`"
    )
    return ViewsDiffer(stored=other.label, found=f"{build.label} with {names}", advice=advice)
