"""Make the inline views anew from the log, for the projections that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projections.afresh import Fold, Progress, silent
from sessions import inline, schema
from sessions.database import query_on
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.database import Connection, Database
    from sessions.dialect import Dialect
    from sessions.inline import Projection
    from sessions.schema import Table

_APPLICATIONS = f"SELECT DISTINCT application_id FROM {schema.EVENTS.name} ORDER BY 1"


def applications_of(database: Database) -> list[int]:
    """The applications in a database that have events."""
    return [application for (application,) in database.query(_APPLICATIONS)]


def rebuild(store: SessionStore, progress: Progress = silent) -> int:
    """Replace all inline views and claims by what the log says, in one transaction.

    The store is then kept with the projections that this process has. It is done for every
    application in the database, since they share the relations; writers wait meanwhile, and an
    interrupted rebuild changes nothing.

    Args:
        store: A store, which may be opened read-only: a writer is refused while views differ.
        progress: Is told the events done and their number.

    Returns:
        The number of events that were folded.

    Raises:
        UndecodableEvent: An event cannot be read; nothing is changed.
        FoldFailed: An event cannot be folded; nothing is changed.
        StoreNotFound: There is nothing to rebuild.
        BatchOpen: This thread has a batch open.
        StoreBusy: Other writers held the lock for too long.
    """
    store.check_no_batch("rebuild")
    store.position  # noqa: B018  it raises StoreNotFound
    projections = inline.installed()
    database = store.recorder.database
    with database.writing() as connection:
        _empty(database, connection, projections)
        total = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        done = 0
        for application in applications_of(database):
            log = SessionStore(database, application, read_only=True).log()
            fold = Fold(connection, application, projections, database.dialect)
            for folded in fold.take(log):
                progress(done + folded, total)
            done += fold.done
    return done


def _empty(
    database: Database, connection: Connection, projections: Sequence[Projection[Any]]
) -> None:
    """Make the relations empty; they stay, with what others are granted on them, if they can."""
    query = query_on(connection)
    found = database.relations(query)
    kept = dict(query(f"SELECT name, version FROM {schema.INLINE_VIEWS.name}", ()))
    for table in (schema.CLAIMS, schema.LIMITS):
        _renew(connection, table, database.dialect, as_it_is=table.name in found)
    for projection in projections:
        same = kept.get(projection.name) == projection.version and projection.table.name in found
        _renew(connection, projection.table, database.dialect, as_it_is=same)
    connection.execute(f"DELETE FROM {schema.INLINE_VIEWS.name}")
    inline.name_to_writers(connection, projections)


def _renew(connection: Connection, table: Table, dialect: Dialect, *, as_it_is: bool) -> None:
    if as_it_is:
        statements = [f"DELETE FROM {table.name}", *table.create_indexes(dialect)]
    else:
        statements = [f"DROP TABLE IF EXISTS {table.name}", *table.create(dialect)]
    for statement in statements:
        connection.execute(statement)
