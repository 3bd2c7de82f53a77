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
    """A build of a projection, as it is in one application.

    Attributes:
        name: The projection.
        version: Its version in the store.
        installed: The version that this process knows; None if it knows none.
        build: The number of the build.
        mode: inline, followed or live.
        status: current, building, old, or missing where the store does not keep it yet.
        position: How far it has come in the log.
        lag_events: How many positions it is behind the log's end.
        lag_seconds: How long ago the first event was recorded that it has not come to.
        rate: Events a second that it came forward while it was looked at; None if it was not.
        parked: How many keys wait.
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
    """Every build of every projection that the store keeps or the process knows, by name.

    Args:
        store: A store; it may be opened read-only.
        seconds: Look twice, so long apart, to tell the rates.

    Raises:
        StoreNotFound: Nothing was written yet.
        InvalidValue: `seconds` is not 0 to 2,147,483 seconds.
    """
    rules.seconds("seconds", seconds)
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
    """The keys of all current projections that wait, by the position that they wait for."""
    current = kept.builds(store.rows, "current").values()
    found = [each for build in current for each in parked_keys(store, build).shown(store.rows)]
    return sorted(found, key=lambda each: each.position)


def _builds(store: SessionStore) -> Iterator[tuple[str, Build, Status]]:
    for of in kept.STATUSES:
        for name, build in kept.builds(store.rows, of).items():
            if name != schema.CLAIMS.name:  # a rebuild's, and no projection
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
    follows = of == "building" or (of == "current" and build.mode == "followed")
    come = _come(store, build) if follows else None
    end = store.position  # after that: it is never behind those that follow it
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
