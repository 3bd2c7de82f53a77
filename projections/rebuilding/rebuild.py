"""Build views anew beside the ones that are there, and switch when they have caught up."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from projections.folding import Overtaken, Progress, never, silent
from projections.known import named
from projections.rebuilding.building import Building, Rebuilt
from projections.rebuilding.switching import clear
from sessions import rules, tracing
from sessions.errors import InvalidValue, RebuildRunning, StorageFailed
from sessions.sql.connection import query_on
from sessions.views import kept
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
    """Build views anew from the log, beside those that are there, and switch to them.

    It is done for every application in the database, since they share the relations, and in one
    pass for all projections. Others go on writing and reading; they wait for the switch alone,
    which takes milliseconds. A rebuild that was stopped, or died, goes on where it was when it is
    run again. From the switch on, writers that have other inline views are refused. Where all are
    built, inline projections that this process does not know become old: no writer keeps them.

    Args:
        store: A store, which may be opened read-only: a writer is refused while views differ.
        progress: Is told the events done and their number.
        names: The projections to build, as this process knows them; all of them, and the claims,
            if none are named.
        mode: How they are run from then on: `inline`, `followed` or `live`; as until now, or as
            the projection says if it is new.
        allow_older: Build versions that are older than those which the store keeps too: writers
            of the newer ones are refused then.
        stop: Is asked after each batch, and before each further attempt to switch.

    Raises:
        ProjectionNotFound: No projection has the name.
        InvalidValue: There is no such mode, or it is `live` for projections that SQL asks; or
            `names` is one text.
        ProjectionTooOld: The store keeps a newer version, and older ones are not allowed.
        CopyUnfinished: The store is being copied to.
        ViewsDiffer: Another projection, which stays, has a relation of one of them.
        UnknownEvent: A newer library wrote an event.
        UndecodableEvent: An event cannot be read.
        RebuildRunning: Somebody else is at it.
        StoreNotFound: There is nothing to rebuild.
        BatchOpen: This thread has a batch open.
        StoreBusy: Others held the lock, or read what is renamed or dropped, for too long.
        DependentView: On PostgreSQL a view that people made cannot be made of what is new.
        DependentPolicy: On PostgreSQL a policy cannot be made for it.
        DependentObject: Something else is of the relation itself.
    """
    store.check_no_batch("rebuild")
    store.check_made()
    names = rules.names("names", names)
    database, projections = store.recorder.database, named(store, names)
    _check(projections, mode)
    building = Building(database, projections, mode, claims=not names, allow_older=allow_older)
    labels = [each.label for each in projections]
    with tracing.span("rebuild", projections=labels), alone(database, building):
        return building.run(progress, stop)


@contextmanager
def alone(database: Database, building: Building) -> Iterator[None]:
    """Build inside while nobody else does.

    Raises:
        RebuildRunning: Somebody else is at it.
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
        rule = f"inline or followed, since SQL asks {' and '.join(asked_by_sql)}"
        raise InvalidValue(field="mode", rule=rule, value=mode)


def drop(store: SessionStore, name: str) -> list[str]:
    """Remove the builds of a projection that are not current: the one before, or one not finished.

    Of a projection that this process does not know, the current one is removed too: it is gone.

    Returns:
        What was removed, such as `customer_sessions 1`.

    Raises:
        ProjectionNotFound: Neither the store nor this process knows the name.
        RebuildRunning: Somebody rebuilds just now.
        CopyUnfinished: The store is being copied to.
        StoreNotFound: There is nothing to drop.
        BatchOpen: This thread has a batch open.
        StoreBusy: Others held the lock, or read what is renamed or dropped, for too long.
    """
    store.check_no_batch("drop")
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
        kept.retire(database, connection, name)
    for build in found:
        kept.remove(connection, build)
    return found


def _builds(query: Query, name: str, statuses: Sequence[kept.Status]) -> list[Build]:
    found = [kept.builds(query, status).get(name) for status in statuses]
    return [build for build in found if build is not None]
