"""The projections that a process knows, and their builds as seen by one application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions.errors import (
    ProjectionNotFound,
    ProjectionNotKept,
    StorageFailed,
    ViewBehind,
    ViewUnreadable,
)
from sessions.sql import schema
from sessions.views import kept
from sessions.views.parked import ParkedKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sessions.keys import Key
    from sessions.sql.connection import Query
    from sessions.sql.head import Build, Head
    from sessions.sql.tables import Table
    from sessions.store import SessionStore
    from sessions.views.projection import Projection


def named(store: SessionStore, names: Sequence[str]) -> list[Projection[Any]]:
    """The projections of these names, or all that the process knows if none are named.

    Raises:
        ProjectionNotFound: No projection that this process knows has the name.
    """
    known = {projection.name: projection for projection in store.projections}
    for name in names:
        if name not in known:
            raise ProjectionNotFound(name=name, known=", ".join(known))
    return [known[name] for name in dict.fromkeys(names or known)]


def asking(store: SessionStore, *projections: Projection[Any]) -> Query:
    """A function that queries relations of projections by SQL, of this process's versions only.

    The first column that is asked for is `kept.is_any_other` of the projections. What another
    version made is not returned: if the store has just been switched again, it is asked again.

    Raises:
        ProjectionNotKept: The store does not keep one of the projections, or another version.
        CopyUnfinished: A query failed, and the store is being copied to.
        ViewsDiffer: A query failed, and one has relations or columns that its build does not have.
    """

    def asked(sql: str, parameters: Sequence[object]) -> list[Any]:
        while True:
            try:
                rows = store.rows(sql, parameters)
            except StorageFailed as error:
                kept.check_whole(store.rows)
                _check_kept(store, projections, error)
                raise
            if rows and not rows[0][0]:
                return rows
            builds = kept.builds(store.rows, "current")
            for each in projections:
                build = builds.get(each.name)
                if build is not None and not is_kept(each, build):
                    raise not_kept(store, each, build)
            if not rows:
                return rows

    return asked


def _check_kept(
    store: SessionStore, projections: Sequence[Projection[Any]], error: StorageFailed
) -> None:
    """Raise if a query failed because the store does not keep projections as they are here."""
    builds = kept.builds(store.rows, "current")
    for each in projections:
        if not is_kept(each, builds.get(each.name)):
            raise not_kept(store, each, builds.get(each.name)) from error
    kept.check_columns(store.recorder.database, [(builds[e.name], e) for e in projections])


def is_kept(projection: Projection[Any], build: Build | None) -> bool:
    """Whether a store's current build has this version of a projection."""
    return build is not None and build.version == projection.version


def kept_here(
    store: SessionStore, builds: Mapping[str, Build]
) -> list[tuple[Build, Projection[Any]]]:
    """The projections of which some builds have this process's version in relations."""
    rows = {name: build for name, build in builds.items() if build.mode != "live"}
    return [(rows[e.name], e) for e in store.projections if is_kept(e, rows.get(e.name))]


def not_kept(
    store: SessionStore, projection: Projection[Any], build: Build | None
) -> ProjectionNotKept:
    """The error to raise if the store does not keep this version of a projection."""
    if build is not None:
        advice = kept.advice_on([projection.name], is_newer=build.version > projection.version)
    elif projection.name not in {each.name for each in store.projections}:
        advice = "install it, or give it to `SessionStore.open(projections=...)`"
    elif projection.mode == "followed":
        advice = "run `sessions projections run`, which begins it"
    else:
        advice = kept.advice_on([projection.name])
    return ProjectionNotKept(projection=projection.label, advice=advice)


def behind(projection: Projection[Any], position: int, asked: int) -> ViewBehind:
    """The error to raise if a projection is followed, and has not reached a position yet."""
    reason = "it is followed: wait for it, and make sure that a runner is at work"
    return ViewBehind(projection=projection.name, position=position, asked=asked, reason=reason)


def come(store: SessionStore, build: Build, query: Query) -> int:
    """The position that a current build has reached: the log's end, unless it is followed."""
    if build.mode == "followed":
        return kept.position(query, build, store.application_id)
    return store.recorder.head(query).position


def come_together(store: SessionStore, projections: Iterable[Projection[Any]], head: Head) -> int:
    """The position that all of some projections have reached: the log's end, if none is followed.

    They may be switched meanwhile: builds and positions of what is followed are of one moment.
    """
    modes = {each.name: each.mode for each in head.views}
    followed = [each for each in projections if modes.get(each.name) == "followed"]
    reached = kept.followed_to(store.rows, followed, store.application_id) if followed else []
    return min([head.position, *reached])


def parked_keys(store: SessionStore, build: Build, table: Table = schema.PARKED) -> ParkedKeys:
    """The parked keys of a build."""
    dialect = store.recorder.database.dialect
    return ParkedKeys(store.application_id, build.name, build.number, dialect, table)


def unreadable(
    store: SessionStore, projection: Projection[Any], key: Key, error: Exception
) -> ProjectionNotKept | ViewUnreadable:
    """The error to raise for a row that is not a view: another version's, or changed by hand."""
    build = kept.builds(store.rows, "current").get(projection.name)
    if not is_kept(projection, build):
        return not_kept(store, projection, build)
    path, advice = store.recorder.database.path, kept.advice_on([projection.name])
    where = {"path": path, "projection": projection.name, "key": key}
    return ViewUnreadable(**where, advice=advice, reason=error)
