"""Moves a store to another database: every event, key and position stays as it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from projections.copying.side_by_side import COPIED, SideBySide, extent_of
from projections.folding import Progress, silent
from projections.pages import applications_of, count_of_events
from projections.rebuilding.building import Building
from projections.rebuilding.rebuild import alone
from projections.rebuilding.switching import close, open_to_all
from projections.verifying.verify import differences_within, verify
from sessions import rules
from sessions.errors import CopyDiffers, InvalidValue, ProjectionTooOld, ViewsDiffer
from sessions.sql import schema
from sessions.sql.connection import query_on
from sessions.sql.inserting import Insert
from sessions.store import SessionStore
from sessions.views import kept

if TYPE_CHECKING:
    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database


class Copied(msgspec.Struct, frozen=True, rename="camel"):
    """What a copy holds, including what an earlier attempt copied.

    Attributes:
        applications: How many applications.
        events: How many events they have.
        keys: How many idempotency keys they have.
    """

    applications: int
    events: int
    keys: int


def copy(source: SessionStore, target: SessionStore, progress: Progress = silent) -> Copied:
    """Copy all applications of a store into a new one, which may be on another kind of database.

    Positions, times, ids, idempotency keys and the bytes of every event stay as they are, and so
    do the positions of followers. Views and claims are rebuilt from the events, in the modes that
    they have in the source, and without the events that are skipped there. A copy that was
    interrupted resumes where it stopped. Nobody can write to the target before everything has been
    compared and verified; that happens before the commit that lets writers in.

    Stop the writers of the source first: what they write meanwhile may be missing. If the copy is
    complete already, with all that the source has, it is only compared and verified again, and
    nothing is written: the target may be in use by then.

    Args:
        source: The store to copy; it may be opened read-only.
        target: The store to copy to: a new one, or one that an earlier attempt has begun. Open it
            read-only: a writer is refused until the copy is complete.
        progress: Called with the number of events done so far, and their total number.

    Raises:
        CopyDiffers: The target holds something else than the source, or a copy that was complete
            has views that do not equal its events.
        InvalidValue: The target is the source, or one of them is no store.
        RebuildRunning: Somebody else is copying to the target, or rebuilding there.
        BatchOpen: This thread has a batch open on one of them.
        StoreNotFound: The source does not exist.
        CopyUnfinished: The source is a copy that was not finished.
        ViewsDiffer: The source keeps a projection that is not installed here.
        ProjectionTooOld: The source keeps a newer version of a projection than this process has.
    """
    rules.instance("source", source, SessionStore)
    rules.instance("target", target, SessionStore)
    one, other = source.recorder.database, target.recorder.database
    source.check_no_batch("copy")
    target.check_no_batch("copy")
    source.check_made()
    stores = SideBySide(one, other)
    if stores.are_one:
        rule = "a different store than the source"
        raise InvalidValue(field="target", rule=rule, value=other.path)
    kept.check_whole(one.query)
    _check_known(one, target)
    target.make()
    building = Building(other, target.projections, claims=True, source=one)
    with alone(other, building):
        if stores.is_complete:
            events = _compare_again(stores, target, progress)
        else:
            events = _copy_log(stores, progress)
            _copy_positions(one, other)
            building.run(check=stores.compare, confirm=partial(_verify, target))
    keys = one.query(f"SELECT count(*) FROM {schema.ANSWERS.name}")[0][0]
    return Copied(len(applications_of(one.query, schema.ANSWERS.name)), events, keys)


def _check_known(one: Database, target: SessionStore) -> None:
    """Check that the target can keep every projection that the source keeps."""
    known = {each.name: each for each in target.projections}
    stored = kept.builds(one.query, "current")
    unknown = stored.keys() - known.keys()
    if unknown:
        raise ViewsDiffer(
            stored=", ".join(each.label for each in stored.values()),
            found=", ".join(each.label for each in known.values()) or "(none)",
            advice=f"install {', '.join(sorted(unknown))} here, or drop it from the source",
        )
    for name, build in stored.items():
        if known[name].version < build.version:
            advice = "upgrade this process"
            raise ProjectionTooOld(stored=build.label, found=known[name].label, advice=advice)


def _compare_again(stores: SideBySide, target: SessionStore, progress: Progress) -> int:
    """Compare a copy that may be in use, and verify it; the answer is how many events it has."""
    stores.compare()
    total, done = count_of_events(stores.source), 0
    for application in applications_of(stores.target.query):
        made = _of_application(target, application)
        for difference in verify(made, partial(_tell, progress, done, total), limit=1):
            if difference.relation != schema.PROJECTIONS.name:  # what is installed is no difference
                raise CopyDiffers(path=stores.target.path, where=difference)
        done += made.position
    return total


def _tell(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    """Report the progress of several applications, one after the other, as one."""
    progress(before + done, total)


def _of_application(target: SessionStore, application: int) -> SessionStore:
    database, known = target.recorder.database, target.projections
    return SessionStore(database, application, read_only=True, projections=known)


def _copy_log(stores: SideBySide, progress: Progress) -> int:
    """Copy the events and keys that the target lacks; nobody else writes to it from now on.

    Returns:
        How many events both have.
    """
    before = extent_of(stores.target.query)
    stores.check_begun()
    close(stores.target, partial(_check_extent, stores, before))
    inserts = {table.name: Insert(table, stores.target.dialect) for table in COPIED}
    total, done = count_of_events(stores.source), 0
    for table, (seen, page) in stores.lacking():
        if page:
            with stores.target.writing() as connection:
                inserts[table.name](connection, [table.values(row) for row in page])
        done += seen if table is schema.EVENTS else 0
        progress(done, total)
    return done


def _check_extent(stores: SideBySide, before: list[Any], query: Query) -> None:
    """Check that nobody has written to the target since its content was checked."""
    if extent_of(query) != before:
        raise CopyDiffers(path=stores.target.path, where="rows just written to the target")


def _copy_positions(one: Database, other: Database) -> None:
    """Copy the positions of people's own followers; those of the store's builds are not copied."""
    table, own = schema.POSITIONS, set()
    for status in kept.STATUSES:
        own |= {kept.follower_of(build) for build in kept.builds(one.query, status).values()}
    rows = [row for row in one.query(table.select()) if row[0] not in own]
    newer = f"{table.upsert(other.dialect)} WHERE positions.position < excluded.position"
    with other.writing() as connection:
        Insert(table, other.dialect, newer)(connection, rows)


def _verify(target: SessionStore, connection: Connection) -> None:
    """Verify all views, in the transaction that lets writers into the target."""
    open_to_all(connection)
    for application in applications_of(query_on(connection)):
        made = _of_application(target, application)
        for difference in differences_within(made, connection):
            raise CopyDiffers(path=target.recorder.database.path, where=difference)
