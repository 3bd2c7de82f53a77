"""Which views a store keeps: builds of projections, and their relations.

The relations of a current build have the names that the projection gives them. Those of a build in
progress, and of an old one, have the build's number after the name. So people's queries find the
current build, and a switch only renames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sessions import clock
from sessions.errors import ViewsDiffer
from sessions.sql import head, schema
from sessions.sql.connection import query_on
from sessions.sql.creating import created
from sessions.sql.head import Build

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.dialect import Dialect
    from sessions.sql.head import Mode
    from sessions.sql.tables import Table
    from sessions.views.projection import Projection

_POSITION = "SELECT position FROM positions WHERE follower = ? AND upstream = ?"
_FOLLOWED_TO = (
    "SELECT coalesce(position, 0) FROM projections LEFT JOIN positions "
    "ON follower = name || '#' || build AND upstream = ? WHERE {}"
)

Status = Literal["current", "building", "old"]
STATUSES: tuple[Status, ...] = ("current", "building", "old")

_COLUMNS = "name, build, version, mode, revision"
_OF_BUILD = "name = ? AND build = ?"
_REVISE = f"UPDATE projections SET revision = revision + 1 WHERE {_OF_BUILD}"
_SET_STATUS = f"UPDATE projections SET status = ? WHERE {_OF_BUILD}"
_REMOVE = (
    f"DELETE FROM projections WHERE {_OF_BUILD}",
    "DELETE FROM parked WHERE projection = ? AND build = ?",
)
_NEWEST = "SELECT max(build) FROM projections"
"""No two builds share a number: relations, and indexes that need a name, are named with it."""


def builds(query: Query, status: Status) -> dict[str, Build]:
    """The builds with that status, by the names of their projections."""
    sql = schema.PROJECTIONS.select("status = ?", "name, build", columns=_COLUMNS)
    return {row[0]: Build(*row) for row in query(sql, (status,))}


def check_whole(query: Query) -> None:
    """Raise if the store is the target of a copy that is not complete.

    Raises:
        CopyUnfinished: It is being copied to, or the copy was interrupted.
    """
    head.check_whole(builds(query, "current").values())


def suffix(build: Build) -> str:
    """What follows the names of a build's relations while it is not the current one."""
    return f"_build_{build.number}"


def check_columns(
    database: Database,
    current: Sequence[tuple[Build, Projection[Any]]],
    *,
    is_to_be_rebuilt: bool = False,
) -> None:
    """Raise if a current build lacks relations or columns that its projection has.

    Relations and columns that only the store has are people's own.

    Args:
        database: The database.
        current: Current builds, and the projections that this process has of them.
        is_to_be_rebuilt: A relation that the build had, and somebody dropped, is made again.

    Raises:
        ViewsDiffer: One does, and no other process has just switched to another build.
    """
    names = [table.name for _, projection in current for table in projection.tables]
    there = database.columns(database.query, names)
    for build, projection in current:
        absent = _absent(build, projection, there)
        had = relations(database.query, build) if absent else ()
        new = [name for name in absent if name not in had] + _lacking(projection, there)
        dropped = [name for name in absent if name in had and not is_to_be_rebuilt]
        now = builds(database.query, "current").get(build.name) if new or dropped else None
        if now is None or now.number != build.number:
            continue
        advice = advice_on([build.name])
        if dropped:
            stored = f"{build.label} without {', '.join(dropped)}, which somebody dropped"
            raise ViewsDiffer(stored=stored, found=projection.label, advice=advice)
        found = f"{projection.label} with {', '.join(new)}"
        advice = f"raise its version, and {advice}"
        raise ViewsDiffer(stored=build.label, found=found, advice=advice)


def _absent(
    build: Build, projection: Projection[Any], there: Collection[tuple[str, str]]
) -> list[str]:
    """The relations that a projection has here, and the store does not."""
    found = {relation for relation, _ in there}
    return [e.name for e in tables_of(projection.tables, build.mode) if e.name not in found]


def _lacking(projection: Projection[Any], there: Collection[tuple[str, str]]) -> list[str]:
    found = {relation for relation, _ in there}
    here = columns_of(projection.tables)
    return [".".join(both) for both in sorted(here.difference(there)) if both[0] in found]


def advice_on(names: Iterable[str], *, is_newer: bool = False) -> str:
    """What to do if the store keeps other versions of projections than this process has.

    `is_newer`: One that the store keeps is newer.
    """
    if is_newer:
        return "upgrade this process"
    return f"run `sessions projections rebuild {' '.join(names)}`"


def columns_of(tables: Iterable[Table]) -> set[tuple[str, str]]:
    """Relations as they are here, each with each of its columns."""
    return {(table.name, column.name) for table in tables for column in table.columns}


def tables_of(tables: Sequence[Table], mode: Mode) -> Sequence[Table]:
    """The relations that are kept in a mode."""
    return () if mode == "live" else tables


def register(
    connection: Connection, what: tuple[str, int, Mode], status: Status, tables: Iterable[Table]
) -> Build:
    """Record a new build: its name, version and mode."""
    name, version, mode = what
    ((newest,),) = connection.execute(_NEWEST).fetchall()
    began = int(clock.now().timestamp() * 1_000_000)  # after a `drop` a number may be used again
    build = Build(name, (newest or 0) + 1, version, mode, began)
    relations = " ".join([table.name for table in tables])
    row = (name, build.number, version, mode, status, build.revision, relations)
    connection.execute(schema.PROJECTIONS.insert(), row)
    return build


def create(connection: Connection, build: Build, tables: Iterable[Table], dialect: Dialect) -> None:
    """Make the relations of a build, under names of their own."""
    for table in tables:
        for statement in created(beside(table, build), dialect):
            connection.execute(statement)


def beside(table: Table, build: Build) -> Table:
    """A relation of a build, under its name while the build is not current."""
    return table.beside(suffix(build))


def relations(query: Query, build: Build) -> list[str]:
    """The relations of a build, by their names while it is current; none if it is gone."""
    sql = schema.PROJECTIONS.select(_OF_BUILD, columns="relations")
    found = query(sql, (build.name, build.number))
    return [name for (names,) in found for name in names.split()]


def revise(connection: Connection, build: Build) -> None:
    """Tell all writers that views changed otherwise than by following the log."""
    connection.execute(_REVISE, (build.name, build.number))


def set_status(connection: Connection, build: Build, status: Status) -> None:
    """Change the status of a build."""
    connection.execute(_SET_STATUS, (status, build.name, build.number))


def remove(connection: Connection, build: Build) -> None:
    """Remove a build that is not current, with its relations."""
    for table in relations(query_on(connection), build):
        connection.execute(f"DROP TABLE IF EXISTS {table}{suffix(build)}")
    forget_position(connection, build)
    for statement in _REMOVE:
        connection.execute(statement, (build.name, build.number))


def follower_of(build: Build) -> str:
    """The name under which a build's position is stored."""
    return f"{build.name}#{build.number}"


def right(build: Build, application_id: int) -> str:
    """The name of the lease to follow an application's log with a projection."""
    return f"{build.name}/{application_id}"


def position(query: Query, build: Build, application_id: int) -> int:
    """The position that a build has reached in an application's log."""
    rows = query(_POSITION, (follower_of(build), str(application_id)))
    return rows[0][0] if rows else 0


def followed_to(
    query: Query, projections: Iterable[Projection[Any]], application_id: int
) -> list[int]:
    """The positions that those of some projections that are followed have reached in a log."""
    sql = _FOLLOWED_TO.format(_are_followed(projections))
    return [reached for (reached,) in query(sql, (str(application_id),))]


def is_any_followed(projections: Iterable[Projection[Any]]) -> str:
    """The SQL condition that one of some projections is followed."""
    return f"EXISTS (SELECT 1 FROM projections WHERE {_are_followed(projections)})"


def is_any_other(projections: Iterable[Projection[Any]]) -> str:
    """The SQL condition that the store keeps another version of one of some projections."""
    others = [f"name = '{each.name}' AND version <> {each.version}" for each in projections]
    return (
        f"EXISTS (SELECT 1 FROM projections WHERE status = 'current' AND ({' OR '.join(others)}))"
    )


def _are_followed(projections: Iterable[Projection[Any]]) -> str:
    quoted = ", ".join([f"'{each.name}'" for each in projections])
    return f"name IN ({quoted}) AND status = 'current' AND mode = 'followed'"


def forget_position(connection: Connection, build: Build) -> None:
    """Remove a build's positions."""
    connection.execute("DELETE FROM positions WHERE follower = ?", (follower_of(build),))
