"""Rebuilds views beside the existing ones, and switches once they have caught up."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from projections.folding import Overtaken, Progress, never, silent
from projections.known import kept_here, named
from projections.rebuilding.building import Building, Rebuilt
from projections.rebuilding.switching import clear
from sessions import rules, tracing
from sessions.errors import InvalidValue, RebuildRunning, StorageFailed
from sessions.sql.connection import query_on
from sessions.views import kept
from sessions.views.current import retire
from sessions.views.definitions import check_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build, Mode
    from sessions.store import SessionStore
    from sessions.views.projection import Projection

_NOT_CURRENT: tuple[kept.Status, ...] = ("building", "old")


def rebuild(  # noqa: PLR0913  all but the first have defaults
    store: SessionStore,
    progress: Progress = silent,
    *,
    names: Iterable[str] = (),
    mode: Mode | None = None,
    allow_older: bool = False,
    stop: Callable[[], bool] = never,
) -> Rebuilt:
    """Rebuild views from the log, beside the existing ones, and switch to them.

    It covers every application in the database, since they share the relations, and takes one pass
    for all projections. Others go on writing and reading; they wait only for the switch, which
    takes milliseconds, and on SQLite the time to remove what an earlier rebuild has left. A rebuild
    that was stopped, or died, resumes where it was when it is run again. From the switch on,
    writers that have other inline views are refused. If `names` is empty, inline projections that
    this process does not know become old: no writer keeps them any longer.

    Args:
        store: The store. It may be opened read-only: a writer is refused while views differ.
        progress: Called with the number of events done so far, and their total number.
        names: The projections to rebuild, of those that this process knows; all of them, and the
            claims, if none are named.
        mode: Their mode after the switch: `inline`, `followed` or `live`. None keeps it, and takes
            the mode of the definition for a projection that is new.
        allow_older: Also build versions older than those that the store keeps. Writers with the
            newer ones are refused then.
        stop: Asked after each batch, and before each further attempt to switch.

    Raises:
        ProjectionNotFound: This process knows no projection of a name.
        InvalidValue: There is no such mode, or it is `live` for a projection that SQL reads
            (`kept`), or `names` is a single text.
        ProjectionTooOld: The store keeps a newer version, and older ones are not allowed.
        CopyUnfinished: The store is being copied to.
        ViewsDiffer: Another projection, which stays, has a relation of the same name; or one to
            rebuild has other columns or relations than its current build, and the same version.
        UnknownEvent: A newer library wrote an event.
        UndecodableEvent: An event cannot be read.
        RebuildRunning: Somebody else is rebuilding.
        StoreNotFound: There is nothing to rebuild.
        BatchOpen: This thread has a batch open.
        StoreBusy: Others held the lock, or read what is renamed or dropped, for too long.
        DependentView: On PostgreSQL, a view that people made cannot be made on the new relation.
        DependentPolicy: On PostgreSQL, a policy cannot be made on the new relation.
        DependentObject: On PostgreSQL, something else depends on the old relation itself.
    """
    store.check_no_batch("rebuild")
    store.check_made()
    names = rules.names("names", names)
    database, projections = store.recorder.database, named(store, names)
    _check(projections, mode)
    building = Building(database, projections, mode, claims=not names, allow_older=allow_older)
    labels = [each.label for each in projections]
    with tracing.span("rebuild", projections=labels), alone(database, building):
        current = kept_here(store, kept.builds(store.rows, "current"))
        asked = [both for both in current if both[1] in projections]
        kept.check_columns(database, asked, is_to_be_rebuilt=True)
        return building.run(progress, stop)


@contextmanager
def alone(database: Database, building: Building) -> Iterator[None]:
    """A block in which nobody else rebuilds.

    Raises:
        RebuildRunning: Somebody else is rebuilding.
    """
    with database.held("rebuild") as held:
        if held is None:
            raise RebuildRunning(path=database.path)
        try:
            yield
        except Overtaken as error:
            raise RebuildRunning(path=database.path) from error
        except StorageFailed as error:
            if building.has_its_builds(database.query):
                raise
            raise RebuildRunning(path=database.path) from error


def _check(projections: Sequence[Projection[Any]], mode: Mode | None) -> None:
    if mode is None:
        return
    check_mode(mode)
    asked_by_sql = [each.name for each in projections if each.kept is not None]
    if mode == "live" and asked_by_sql:
        rule = f"inline or followed, since queries in SQL need {' and '.join(asked_by_sql)}"
        raise InvalidValue(field="mode", rule=rule, value=mode)


def drop(store: SessionStore, name: str) -> list[str]:
    """Remove the builds of a projection that are not current: the old one, and an unfinished one.

    If this process does not know the projection, the current build is removed too, and with it the
    projection.

    Args:
        store: The store.
        name: The projection.

    Returns:
        What was removed, each with its version, such as `customer_sessions 1`.

    Raises:
        ProjectionNotFound: Neither the store nor this process knows the name.
        RebuildRunning: Somebody is rebuilding.
        CopyUnfinished: The store is being copied to.
        StoreNotFound: There is nothing to drop.
        BatchOpen: This thread has a batch open.
        StoreBusy: Others held the lock, or read what is renamed or dropped, for too long.
        DependentObject: On PostgreSQL, something else depends on a relation of a build.
    """
    store.check_no_batch("drop")
    store.check_made()
    database = store.recorder.database
    is_known = any(name == each.name for each in store.projections)
    if not _builds(store.rows, name, kept.STATUSES):
        named(store, [name])
    with database.held("rebuild") as held:
        if held is None:
            raise RebuildRunning(path=database.path)
        found = clear(database, partial(_dropped, database, name, is_known=is_known))
    return [build.label for build in found]


def _dropped(
    database: Database, name: str, connection: Connection, *, is_known: bool
) -> list[Build]:
    kept.check_whole(query_on(connection))
    found = _builds(query_on(connection), name, _NOT_CURRENT if is_known else kept.STATUSES)
    if not is_known:
        retire(database, connection, name)
    for build in found:
        kept.remove(connection, build)
    return found


def _builds(query: Query, name: str, statuses: Sequence[kept.Status]) -> list[Build]:
    found = [kept.builds(query, status).get(name) for status in statuses]
    return [build for build in found if build is not None]
