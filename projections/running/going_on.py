"""Lets a parked key go on: the event that it waits for is folded again, or left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

from projections.folding import WRITING
from projections.known import come, parked_keys
from projections.pages import PAGE, LogReader
from projections.view_events import events_of
from sessions.errors import KeyNotParked, KeyNotTouched, RebuildRunning
from sessions.sql.connection import query_on
from sessions.views import kept
from sessions.views.parked import ParkedKeys
from sessions.views.views import Views

if TYPE_CHECKING:
    from sessions.keys import Key
    from sessions.sql.connection import Connection, Query
    from sessions.sql.head import Build
    from sessions.store import SessionStore
    from sessions.views.projection import Projection

How: TypeAlias = Callable[[ParkedKeys, "Connection", str], None]
"""What to do with the event that a key waits for: `ParkedKeys.release` or `ParkedKeys.skip`."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
"""An integer key, as text."""


def go_on(
    store: SessionStore, projection: Projection[Any], build: Build, key: Key, how: How
) -> bool:
    """Let a parked key of a build go on; the answer is whether it is parked no longer.

    It queries no other connection: the pool may have none left, if all wait for this one.

    Raises:
        KeyNotParked: The key is not parked.
        KeyNotTouched: The event that it waits for does not touch the key any more.
        RebuildRunning: The build is not current any more, or a rebuild would not know of a skip.
    """
    key, database = _as_parked(projection, key), store.recorder.database
    with database.writing(None if build.mode == "inline" else WRITING) as connection:
        query, keys = query_on(connection), parked_keys(store, build)
        if not _is_alone(query, build, is_skip=how is ParkedKeys.skip):
            raise RebuildRunning(path=database.path)
        found = keys.shown(query, key)
        if not found:
            raise KeyNotParked(projection=projection.name, key=key)
        how(keys, connection, str(key))
        kept.revise(connection, build)
        _fold_from(store, projection, connection, build, key, found[0].position)
        return not keys.shown(query, key)


def _as_parked(projection: Projection[Any], key: Key) -> Key:
    """A key as events have it, given in that form or as the text that `parked` shows."""
    if not isinstance(key, str):
        return projection.told.key_of(key)
    is_number = projection.key.kind == "integer" and _NUMBER.fullmatch(key)
    return int(key) if is_number else key


def _is_alone(query: Query, build: Build, *, is_skip: bool) -> bool:
    """Whether the build is still current, and no rebuild runs that would not know of a skip."""
    current = kept.builds(query, "current").get(build.name)
    begun = kept.builds(query, "building").get(build.name) if is_skip else None
    is_current = current is not None and current.number == build.number
    return is_current and (begun is None or begun.version != build.version)


def _fold_from(  # noqa: PLR0913, PLR0917  what is retried, and where
    store: SessionStore,
    projection: Projection[Any],
    connection: Connection,
    build: Build,
    key: Key,
    position: int,
) -> None:
    """Fold the events that wait, up to the position that the other views have reached.

    Raises:
        KeyNotTouched: The event that the key waits for does not touch it any more.
    """
    application, database = store.application_id, store.recorder.database
    views = Views(projection, application, database.dialect, build=build.number)
    query = query_on(connection)
    reader, until = LogReader(database, application, query), come(store, build, query)
    first = next(reader.log(position - 1, until=position), None)
    if first is None or key not in projection.touched(first):
        raise KeyNotTouched(projection=projection.name, key=key, position=position)
    waiting = chain([first], events_of(projection, reader, key, None, until, after=first))
    while page := list(islice(waiting, PAGE)):
        views.fold(query, page, only={str(key)})
        views.write(connection)
