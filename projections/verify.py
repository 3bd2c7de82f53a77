"""Does everything that the store keeps equal what happened?"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from projections import afresh
from projections.afresh import Fold, Progress, silent
from projections.attachments import TABLE as ATTACHMENTS
from sessions import inline, schema
from sessions.database import query_on
from sessions.errors import FoldFailed, UndecodableEvent, UnknownEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.database import Connection
    from sessions.dialect import Dialect
    from sessions.schema import Table
    from sessions.store import SessionStore

_FRESH = "fresh_"
_EVENTS = schema.EVENTS.name
_ALL = 2**62

Row = tuple[Any, ...]


def _fresh(table: Table) -> Table:
    return replace(table, name=_FRESH + table.name)


class Difference(msgspec.Struct, frozen=True):
    """Something that the store keeps and that the log says otherwise.

    Attributes:
        relation: The relation it is in.
        key: The row's key, without the application.
        column: The column; "" where the whole row is missing, or is there without a reason.
        stored: What the store has.
        expected: What the log says.
    """

    relation: str
    key: tuple[Any, ...]
    column: str
    stored: Any
    expected: Any


def verify(
    store: SessionStore, progress: Progress = silent, *, limit: int = 1000
) -> list[Difference]:
    """Fold the whole log afresh, and compare every view row, claim and attachment with it.

    Others may write meanwhile: all is compared in one snapshot of the store. Memory does not grow
    with the log.

    Args:
        store: A store; it may be opened read-only.
        progress: Is told the events done and their number.
        limit: Stop after so many differences.

    Returns:
        What differs; nothing, if every view equals its events.

    Raises:
        StoreNotFound: There is nothing to verify.
        BatchOpen: This thread has a batch open.
    """
    store.check_no_batch("verify")
    store.position  # noqa: B018  it raises StoreNotFound
    database = store.recorder.database
    with database.private() as connection:
        tables = afresh.tables(inline.installed())
        for table in tables:
            for statement in _fresh(table).create_temporary(database.dialect):
                connection.execute(statement)
        try:
            return list(islice(_differences(connection, store, tables, progress), limit))
        finally:
            for table in tables:
                connection.execute(f"DROP TABLE {_fresh(table).name}")


def _differences(
    connection: Connection,
    store: SessionStore,
    tables: Sequence[Table],
    progress: Progress,
) -> Iterator[Difference]:
    database = store.recorder.database
    with database.snapshot(connection):
        holes = list(_log(connection, store.application_id))
    if holes:
        yield from holes
        return  # views of a log with holes say nothing
    fold = Fold(connection, store.application_id, inline.installed(), database.dialect, _FRESH)
    total = store.position
    try:
        with _transaction(connection):
            for done in fold.take(store.log(until=total)):
                progress(done, total)
        with database.snapshot(connection):  # and what came meanwhile
            rest = store.recorder.log_rows(query_on(connection), fold.position, _ALL)
            for _ in fold.take(store.mapper.recorded(store.application_id, rest)):
                pass
            for table in tables:
                yield from _rows(connection, table, store.application_id, database.dialect)
            yield from _first_sessions(connection, fold)
    except (UndecodableEvent, UnknownEvent) as error:
        yield Difference(_EVENTS, (error.where,), "data", str(error), "an event")
    except FoldFailed as error:
        yield Difference(_EVENTS, (error.position,), "data", str(error), "an event that folds")


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """One transaction for what is written to temporary tables; no snapshot of the store."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def _log(connection: Connection, application_id: int) -> Iterator[Difference]:
    """Positions and versions without gaps."""
    sizes = "SELECT count(*), max(position) FROM events WHERE application_id = ?"
    ((count, newest),) = connection.execute(sizes, (application_id,))
    if count != (newest or 0):
        yield Difference(_EVENTS, (), "position", f"{count} events", f"{newest} events")
    versions = (
        "SELECT category, stream_id, count(*), max(version) FROM events WHERE application_id = ? "
        "GROUP BY category, stream_id HAVING min(version) <> 1 OR count(*) <> max(version)"
    )
    for category, stream, held, last in connection.execute(versions, (application_id,)):
        expected = f"{last} events"
        yield Difference(_EVENTS, (category, stream), "version", f"{held} events", expected)


def _rows(
    connection: Connection, table: Table, application_id: int, dialect: Dialect
) -> Iterator[Difference]:
    fresh = _fresh(table)
    same_key = " AND ".join(f"one.{name} = other.{name}" for name in table.key)
    differs = " OR ".join(
        dialect.differs.format(f"one.{c.name}", f"other.{c.name}") for c in table.columns
    )
    either = (
        (table.name, fresh.name, differs),
        (fresh.name, table.name, f"other.{table.key[0]} IS NULL"),
    )
    for one, other, condition in either:
        keys = connection.execute(
            f"SELECT {', '.join(f'one.{name}' for name in table.key)} FROM {one} AS one "
            f"LEFT JOIN {other} AS other ON {same_key} "
            f"WHERE one.application_id = ? AND ({condition})",
            (application_id,),
        ).fetchall()
        for key in keys:
            stored, expected = (
                connection.execute(t.select(t.where_key), key).fetchone() for t in (table, fresh)
            )
            yield from _columns(table, key[1:], stored, expected)


def _columns(
    table: Table, key: tuple[Any, ...], stored: Row | None, expected: Row | None
) -> Iterator[Difference]:
    if stored is None or expected is None:
        here, there = (None if row is None else "a row" for row in (stored, expected))
        yield Difference(table.name, key, "", here, there)
        return
    for column, one, other in zip(table.columns, stored, expected, strict=True):
        if one != other:
            yield Difference(table.name, key, column.name, one, other)


def _first_sessions(connection: Connection, fold: Fold) -> Iterator[Difference]:
    """The first session of a profile is the one that was attached to it first, and no other."""
    attachments = _fresh(ATTACHMENTS).name
    wrong = (
        "SELECT position, profile_id, first_session, expected FROM (SELECT *, session_id = "
        "first_value(session_id) OVER (PARTITION BY profile_id ORDER BY position) AS expected "
        f"FROM {attachments}) AS attached WHERE first_session <> expected ORDER BY position"
    )
    for position, profile, stored, expected in connection.execute(wrong):
        key = (position, profile)
        yield Difference(_EVENTS, key, "firstSession", bool(stored), bool(expected))
    for position in fold.anonymous_but_not_first:
        yield Difference(_EVENTS, (position, ""), "firstSession", stored=False, expected=True)
