"""How are the projections of a store doing?"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from projections.known import parked_keys
from sessions import rules
from sessions.sql import schema
from sessions.sql.head import Mode
from sessions.views import kept
from sessions.views.kept import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.sql.head import Build
    from sessions.store import SessionStore
    from sessions.views.parked import Parked

_NEXT = "SELECT recorded_at FROM events WHERE application_id = ? AND position = ?"


class ProjectionStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The state of one build of a projection, in one application.

    Attributes:
        name: The projection.
        version: Its version in the store; None if it is missing there.
        installed: The version that this process knows; None if it knows none.
        build: The number of the build; None if it is missing.
        mode: inline, followed or live.
        status: current, building, old, or missing if the store does not keep it yet.
        position: The log position that it has reached; None if it is old or missing.
        lag_events: How many positions it is behind the log's end; None if it has no position.
        lag_seconds: How long ago the first event that it has not reached was recorded; 0 if it is
            at the log's end, None if it has no position.
        rate: Events per second by which it advanced while it was observed; None if it was not.
        parked: How many keys are parked.
    """

    name: str
    version: int | None
    installed: int | None
    build: int | None
    mode: Mode
    status: Status | Literal["missing"]
    position: int | None
    lag_events: int | None
    lag_seconds: float | None
    rate: float | None
    parked: int


def status(store: SessionStore, *, seconds: float = 0.0) -> list[ProjectionStatus]:
    """The state of every build that the store keeps or the process knows, sorted by name.

    Args:
        store: The store; it may be opened read-only.
        seconds: Look twice, this many seconds apart, to measure each `rate`.

    Raises:
        StoreNotFound: The store does not exist yet.
        InvalidValue: `seconds` is not 0 to 2,147,483 seconds.
    """
    rules.seconds("seconds", seconds)
    store.check_made()
    before = {(name, build.number): _come(store, build) for name, build, _ in _builds(store)}
    time.sleep(seconds)
    found = [_status(store, build, of, before, seconds) for _, build, of in _builds(store)]
    known = {each.name for each in found if each.status == "current"}
    missing = [
        ProjectionStatus(
            each.name, None, each.version, None, each.mode, "missing", None, None, None, None, 0
        )
        for each in store.projections
        if each.name not in known
    ]
    return sorted([*found, *missing], key=lambda each: (each.name, each.build or 0))


def parked(store: SessionStore) -> list[Parked]:
    """The parked keys of all current projections, in the order of the positions they wait for."""
    current = kept.builds(store.rows, "current").values()
    found = [each for build in current for each in parked_keys(store, build).shown(store.rows)]
    return sorted(found, key=lambda each: each.position)


def _builds(store: SessionStore) -> Iterator[tuple[str, Build, Status]]:
    for of in kept.STATUSES:
        for name, build in kept.builds(store.rows, of).items():
            if name != schema.CLAIMS.name:  # rebuilt alike, but no projection
                yield name, build, of


def _come(store: SessionStore, build: Build) -> int:
    return kept.position(store.rows, build, store.application_id)


def _status(
    store: SessionStore,
    build: Build,
    of: Status,
    before: dict[tuple[str, int], int],
    seconds: float,
) -> ProjectionStatus:
    can_be_behind = {"building": {"inline", "followed"}, "current": {"followed"}}
    follows = build.mode in can_be_behind.get(of, ())
    come = _come(store, build) if follows else None
    end = store.position  # read after `come`, so that no follower seems to be ahead of it
    position = None if of == "old" else end if come is None else come
    known = {each.name: each.version for each in store.projections}
    rate = None
    if seconds and follows and position is not None:
        rate = (position - before.get((build.name, build.number), 0)) / seconds
    return ProjectionStatus(
        build.name,
        build.version,
        known.get(build.name),
        build.number,
        build.mode,
        of,
        position,
        None if position is None else end - position,
        None if position is None else _lag(store, position, end),
        rate,
        len(parked_keys(store, build).shown(store.rows)),
    )


def _lag(store: SessionStore, position: int, end: int) -> float:
    if position >= end:
        return 0.0
    rows = store.rows(_NEXT, (store.application_id, position + 1))
    since = store.now() - datetime.fromisoformat(rows[0][0])
    return max(0.0, since.total_seconds())
