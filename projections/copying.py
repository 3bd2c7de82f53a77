"""Move a store to another database: every event, key and position as it is."""

from __future__ import annotations

from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import msgspec

from projections.building import Building
from projections.folding import Progress, silent
from projections.pages import applications_of, count_of_events
from projections.rebuild import alone
from projections.switching import close, open_to_all
from projections.verify import differences_within, verify
from sessions import kept, schema
from sessions.connection import query_on
from sessions.errors import CopyDiffers, InvalidValue, ProjectionTooOld, ViewsDiffer
from sessions.inserting import Insert
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.connection import Connection, Query
    from sessions.database import Database
    from sessions.tables import Table

_PAGE = 2000


class Copied(msgspec.Struct, frozen=True, rename="camel"):
    """What a copy holds.

    Attributes:
        applications: How many applications.
        events: Their events, the ones of an earlier attempt included.
        keys: Their idempotency keys.
    """

    applications: int
    events: int
    keys: int


def copy(source: SessionStore, target: SessionStore, progress: Progress = silent) -> Copied:
    """Copy all applications of a store into a new one, which may be on another kind of database.

    Positions, times, ids, keys and the bytes of every event stay as they are, and so do the
    positions of followers; views and claims are made anew from them, in the modes that the source
    has them in, and without the events that are skipped there. A copy that was interrupted goes
    on where it stopped. Nobody can write to it before all is compared and verified: that comes
    before the commit that lets people write. Stop those who write to the source first: what they
    write meanwhile may be missing. A copy that is complete, with all that the source has, is only
    compared and verified again: people may use it by then, and nothing is written.

    Args:
        source: The store to copy; it may be opened read-only.
        target: Where to; a store that is new, or that an earlier attempt has begun. Open it
            read-only: a writer is refused until the copy is complete.
        progress: Is told the events done and their number.

    Raises:
        CopyDiffers: The target holds something else than the source, or a copy that was complete
            has views that do not equal its events.
        InvalidValue: The target is the source.
        RebuildRunning: Somebody else copies to it, or rebuilds there.
        BatchOpen: This thread has a batch open on one of them.
        StoreNotFound: There is no source.
        CopyUnfinished: The source is a copy that was not finished.
        ViewsDiffer: The source keeps a projection that is not installed here.
        ProjectionTooOld: The source keeps a newer version of one.
    """
    one, other = source.recorder.database, target.recorder.database
    source.check_no_batch("copy")
    target.check_no_batch("copy")
    source.check_made()
    if _is_same(one, other):
        rule = "another store than the source"
        raise InvalidValue(field="target", rule=rule, value=other.path)
    kept.check_whole(one.query)
    _check_known(one, target)
    target.make()
    building = Building(other, target.projections, claims=True, source=one)
    with alone(other, building):
        if _is_complete(one, other):
            events = _compare_again(one, target, progress)
        else:
            events = _copy_log(one, other, progress)
            _copy_positions(one, other)
            building.run(check=partial(_compare, one, other), confirm=partial(_verify, target))
    keys = one.query(f"SELECT count(*) FROM {schema.ANSWERS.name}")[0][0]
    return Copied(len(applications_of(one.query, schema.ANSWERS.name)), events, keys)


_COPIED = (schema.EVENTS, schema.ANSWERS)
_END = {"integer": 0, "text": ""}
_NOTHING: list[Any] = [[], [(0,)]]
"""The extent of a store that has neither events nor keys."""


def _is_same(one: Database, other: Database) -> bool:
    """Whether both are one store, whatever their URLs say: what one holds the other cannot."""
    if one is other or one.dialect is not other.dialect or one.in_memory or other.in_memory:
        return one is other
    if not one.works_beside:
        return Path(other.path).exists() and Path(one.path).samefile(other.path)
    name = f"copy {uuid4()}"
    with one.held(name), other.held(name) as held:
        return held is None


def _tasks(*databases: Database) -> list[tuple[Table, int]]:
    """What is to be copied: an application may have idempotency keys and no events."""
    found = {one for each in databases for one in applications_of(each.query, schema.ANSWERS.name)}
    return [(table, application) for application in sorted(found) for table in _COPIED]


def _check_known(one: Database, target: SessionStore) -> None:
    """All that the source keeps can be kept in the target."""
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


def _is_complete(one: Database, other: Database) -> bool:
    """Whether an earlier copy came to its end, and has as much as the source has by now."""
    extent = _extent(other.query)
    is_whole = kept.COPY not in kept.builds(other.query, "current")
    return is_whole and extent != _NOTHING and extent == _extent(one.query)


def _compare_again(one: Database, target: SessionStore, progress: Progress) -> int:
    """Compare a copy that people may use, and verify it; the answer is how many events it has."""
    other = target.recorder.database
    _compare(one, other)
    total, done = count_of_events(one), 0
    for application in applications_of(other.query):
        made = _of_application(target, application)
        for difference in verify(made, partial(_tell, progress, done, total), limit=1):
            if difference.relation != schema.PROJECTIONS.name:  # what is installed is no difference
                raise CopyDiffers(path=other.path, where=difference)
        done += made.position
    return total


def _tell(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    """Tell of the events of several applications, one after the other."""
    progress(before + done, total)


def _of_application(target: SessionStore, application: int) -> SessionStore:
    database, known = target.recorder.database, target.projections
    return SessionStore(database, application, read_only=True, projections=known)


def _copy_log(one: Database, other: Database, progress: Progress) -> int:
    """Copy the events and the keys that the other lacks, to which nobody else writes from now on.

    Returns:
        How many events both have.
    """
    before = _extent(other.query)
    _check_begun(one, other)
    close(other, partial(_check_extent, other.path, before))
    total, done = count_of_events(one), 0
    for table, application in _tasks(one):
        for copied in _copied(one, other, table, application):
            done += copied if table is schema.EVENTS else 0
            progress(done, total)
    return done


def _extent(query: Query) -> list[Any]:
    """How far the logs of a store have come, and how many keys it has."""
    heads = "SELECT application_id, max(position) FROM events GROUP BY 1 ORDER BY 1"
    return [query(heads, ()), query("SELECT count(*) FROM answers", ())]


def _check_extent(path: str, before: list[Any], query: Query) -> None:
    """Nobody has written since what is there was checked."""
    if _extent(query) != before:
        raise CopyDiffers(path=path, where="what somebody writes there just now")


def _check_begun(one: Database, other: Database) -> None:
    """What the target has already is the beginning of the source."""
    newest = schema.EVENTS.select("application_id = ?", "position DESC", 1)
    here = schema.EVENTS.select("application_id = ? AND position = ?")
    for application in applications_of(other.query):
        (last,) = other.query(newest, (application,))
        same = one.query(here, (application, last[1]))
        if not same or schema.EVENTS.given(same[0]) != schema.EVENTS.given(last):
            raise CopyDiffers(path=other.path, where=f"events {last[:2]}")
    for application in applications_of(other.query, schema.ANSWERS.name):
        mine, theirs = (_rows(each, schema.ANSWERS, application) for each in (one, other))
        for row in theirs:
            if row not in mine:  # both are in order: what is passed by is asked for no more
                raise CopyDiffers(path=other.path, where=f"{schema.ANSWERS.name} {row[:2]}")


_Lacking: TypeAlias = tuple[int, "list[Sequence[Any]]"]
"""How many rows were looked at, and those of them that the other store lacks."""


def _copied(one: Database, other: Database, table: Table, application: int) -> Iterator[int]:
    """Copy what the other lacks, page by page; yields how much is done with each."""
    lacking = _events_lacking if table is schema.EVENTS else _answers_lacking
    insert = Insert(table, other.dialect)
    for seen, page in lacking(one, other, application):
        if page:
            with other.writing() as connection:
                insert(connection, [table.values(row) for row in page])
        yield seen


def _events_lacking(one: Database, other: Database, application: int) -> Iterator[_Lacking]:
    """They come in the order of their positions: what is lacking comes after what is there."""
    newest = "SELECT max(position), count(*) FROM events WHERE application_id = ?"
    ((last, there),) = other.query(newest, (application,))
    yield there, []
    for page in _pages(one, schema.EVENTS, application, last):
        yield len(page), page


def _answers_lacking(one: Database, other: Database, application: int) -> Iterator[_Lacking]:
    """Keys come in any order: one that was used since may come before those that are there.

    Both are in order, and what is there has been found to be the source's.
    """
    theirs = _rows(other, schema.ANSWERS, application)
    there = next(theirs, None)
    for page in _pages(one, schema.ANSWERS, application):
        lacking = []
        for row in page:
            if row == there:
                there = next(theirs, None)
            else:
                lacking.append(row)
        yield len(page), lacking


def _pages(
    database: Database, table: Table, application: int, after: object = None
) -> Iterator[list[Sequence[Any]]]:
    """An application's rows in the order of their key."""
    key = [column.name for column in table.columns].index(table.key[1])
    after = _END[table.columns[key].kind] if after is None else after
    sql = table.select(f"application_id = ? AND {table.key[1]} > ?", table.key[1], _PAGE)
    while page := database.query(sql, (application, after), passing=True):
        yield [table.given(row) for row in page]
        after = page[-1][key]


def _rows(database: Database, table: Table, application: int) -> Iterator[Sequence[Any]]:
    return chain.from_iterable(_pages(database, table, application))


def _copy_positions(one: Database, other: Database) -> None:
    """How far followers of others have come; that of the store's own builds is theirs."""
    table, own = schema.POSITIONS, set()
    for status in kept.STATUSES:
        own |= {kept.follower_of(build) for build in kept.builds(one.query, status).values()}
    rows = [row for row in one.query(table.select()) if row[0] not in own]
    newer = f"{table.upsert(other.dialect)} WHERE positions.position < excluded.position"
    with other.writing() as connection:
        Insert(table, other.dialect, newer)(connection, rows)


def _compare(one: Database, other: Database) -> None:
    """Before anybody can write to the other: both hold the same rows."""
    for table, application in _tasks(one, other):
        mine, theirs = (_rows(each, table, application) for each in (one, other))
        for here, there in zip_longest(mine, theirs):
            if here != there:
                raise CopyDiffers(path=other.path, where=f"{table.name} {(here or there)[:2]}")


def _verify(target: SessionStore, connection: Connection) -> None:
    """In the transaction that lets people write to the target: all views equal the events."""
    open_to_all(connection)
    for application in applications_of(query_on(connection)):
        made = _of_application(target, application)
        for difference in differences_within(made, connection):
            raise CopyDiffers(path=target.recorder.database.path, where=difference)
