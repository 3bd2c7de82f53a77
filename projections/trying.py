"""Tries a projection in every way in which it will be run; `projections.testing` is its API."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from projections.folding import BuildOf, Tracked
from projections.pages import Page
from projections.status import parked
from sessions.keys import UNTOLD
from sessions.sql.connection import query_on
from sessions.store import SessionStore
from sessions.views import kept
from sessions.views.views import Views

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.views.projection import Projection

V = TypeVar("V")

APPLICATION = 1
"""The application that the events belong to."""


def tried(projection: Projection[V], log: Sequence[Recorded]) -> dict[Key, V]:
    """The views that a log is folded into, which must be the same however it is delivered.

    Raises:
        AssertionError: They depend on how it is delivered; the message says how.
        Exception: Whatever the fold or `keys` raised.
    """
    touched = _touched(projection, log)
    alone = _alone(projection, log, touched)
    views: dict[Key, V] = {}
    for recorded, keys in zip(log, touched, strict=True):
        for key in keys:
            projection.told.check(key, recorded)
            views[key] = _after(projection, views.get(key), recorded)
    again = _alone(projection, log, touched)
    for recorded, first, then in zip(log, alone, again, strict=True):
        if not _is_same(first, then):
            what = f"the fold of {projection.name} makes {first} of {_shown(recorded)} alone"
            fail(f"{what}, but {then} after other events: it must remember nothing")
    for pages in _splits(log):
        stored = _stored(projection, pages)
        if stored != views:
            sizes = [len(page) for page in pages]
            fail(f"folded in pages of {sizes} events, the views are {stored}, not {views}")
    return views


def _touched(projection: Projection[Any], log: Sequence[Recorded]) -> list[Sequence[Key]]:
    """The keys of each event, which must depend on it alone, and not on the calls before."""
    before = deepcopy(log)
    alone = [projection.touched(recorded) for recorded in reversed(log)][::-1]
    if log != before:
        fail(f"`keys` of {projection.name} changes the event that it is given")
    for recorded, first in zip(log, alone, strict=True):
        then = projection.touched(recorded)
        if set(then) != set(first):
            what = f"`keys` of {projection.name} gives {_keys(first)} for {_shown(recorded)} alone"
            fail(f"{what}, but {_keys(then)} after other events: it must remember nothing")
    return alone


def _keys(keys: Sequence[Key]) -> str:
    return "nothing (it raises)" if UNTOLD in keys else str(list(keys))


def _alone(
    projection: Projection[Any], log: Sequence[Recorded], touched: Sequence[Sequence[Key]]
) -> list[object]:
    """What the fold makes of each event alone, the last one first; an exception is an answer."""

    def answer(recorded: Recorded) -> object:
        try:
            return projection.guarded.folded(None, recorded)
        except Exception as error:  # noqa: BLE001  it may need a view
            return repr(error)

    wanted = [recorded if keys else None for recorded, keys in zip(log, touched, strict=True)]
    return [each and answer(each) for each in reversed(wanted)][::-1]


def _shown(recorded: Recorded) -> str:
    return f"{recorded.type} at position {recorded.position}"


def _after(projection: Projection[V], view: V | None, recorded: Recorded) -> V:
    """The view after an event. The fold must not change the view before: its rows may be stored."""
    before = deepcopy(view)
    after = projection.guarded.folded(view, recorded)
    if not _is_same(view, before):
        fail(f"the fold of {projection.name} changes the view that it is given")
    with suppress(Exception):  # a view that cannot be kept is reported when it is stored
        after = projection.guarded.settled(after)
    _check_rows(projection, after)
    return after


def _check_rows(projection: Projection[V], view: V) -> None:
    """Check that the rows of a view depend on it alone, and that making them does not change it."""
    before = deepcopy(view)
    for rows in projection.rows:
        once, again = ([tuple(row) for row in rows.of(view)] for _ in range(2))
        if not _is_same(once, again):
            fail(f"the rows {rows.name} of one view are first {once}, then {again}")
        if not _is_same(view, before):
            fail(f"making the {rows.name} rows changes the view")


def _is_same(one: object, other: object) -> bool:
    """Whether two values are alike: a float that is not a number does not even equal itself."""
    return one == other or repr(one) == repr(other)


def _splits(log: Sequence[Recorded]) -> Iterator[list[Sequence[Recorded]]]:
    """All at once, in any two pages, and one by one."""
    yield [log]
    for middle in range(1, len(log)):
        yield [log[:middle], log[middle:]]
    yield [[recorded] for recorded in log]


def _stored(projection: Projection[V], pages: Sequence[Sequence[Recorded]]) -> dict[Key, V]:
    """The views that a store keeps after pages, each of them delivered twice."""
    kept_so = replace(projection, mode="followed")
    with SessionStore.open("memory:", projections=[kept_so]) as store:
        for page in pages:
            for _ in range(2):
                _deliver(store, kept_so, page)
        for each in parked(store):
            where = f"at position {each.position} ({each.type})"
            fail(f"{each.projection} of {each.key!r} is parked {where}: {each.error}")
        storage = kept_so.storage
        rows = store.rows(storage.table.select("application_id = ?"), (APPLICATION,))
        return {row[1]: storage.from_row(row[1:]) for row in rows}


def _deliver(store: SessionStore, projection: Projection[Any], page: Sequence[Recorded]) -> None:
    database = store.recorder.database
    build = kept.builds(store.rows, "current")[projection.name]
    views = Views(projection, APPLICATION, database.dialect, build=build.number)
    part = Tracked(BuildOf(projection, views), database, build, APPLICATION)
    with database.writing() as connection:
        until = page[-1].position if page else 0
        part.take(query_on(connection), Page(list(page), until, None))
        part.write(connection)


def fail(message: str) -> NoReturn:
    """Fail the test: tell its author what is wrong with the projection."""
    raise AssertionError(message)
