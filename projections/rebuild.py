"""Make the inline views anew from the log, for the projections that are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections import afresh
from projections.afresh import Fold, Progress, silent
from sessions import inline, schema
from sessions.store import SessionStore

if TYPE_CHECKING:
    from sessions.database import Database

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
    dialect = database.dialect
    with database.writing() as connection:
        for table in afresh.tables(projections):
            connection.execute(f"DROP TABLE IF EXISTS {table.name}")
        connection.execute(f"DELETE FROM {schema.INLINE_VIEWS.name}")
        for statement in [*schema.CLAIMS.create(dialect), *schema.LIMITS.create(dialect)]:
            connection.execute(statement)
        inline.create(connection, projections, dialect)
        total = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        done = 0
        for application in applications_of(database):
            log = SessionStore(database, application, read_only=True).log()
            fold = Fold(connection, application, projections, dialect)
            for folded in fold.take(log):
                progress(done + folded, total)
            done += fold.done
    return done
