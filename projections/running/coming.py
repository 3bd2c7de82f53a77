"""Waits for views that are behind the log: read your own write."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from projections.known import come, is_kept, not_kept
from projections.pages import read_page
from projections.running import not_followed
from sessions.errors import ViewBehind
from sessions.views import kept

if TYPE_CHECKING:
    from sessions.sql.head import Build
    from sessions.store import SessionStore
    from sessions.views.projection import Projection

_LOOK_SECONDS = 1.0
"""How often a waiting caller checks whether a runner is at work: a standby takes over sooner.

So nobody is at work if two checks in a row have found nobody.
"""
_BEGIN_SECONDS = 2 * _LOOK_SECONDS
"""How long a runner may take to begin a projection that the store does not keep yet."""


def build_of(store: SessionStore, projection: Projection[Any], by: float = 0.0) -> Build:
    """The build that the store keeps, or that a runner begins before a (monotonic) time.

    Raises:
        ProjectionNotKept: It is of another version, or there is none.
        CopyUnfinished: There is none, because the store is being copied to.
    """
    database, may_begin = store.recorder.database, projection.mode == "followed"
    while True:
        seen = database.signal.count
        build = kept.builds(store.rows, "current").get(projection.name)
        if build is not None and is_kept(projection, build):
            return build
        if build is not None or not may_begin or time.monotonic() >= by:
            kept.check_whole(store.rows)
            raise not_kept(store, projection, build)
        database.signal.wait(seen, database.poll_seconds)


def wait(store: SessionStore, projection: Projection[Any], position: int, timeout: float) -> None:
    """Wait until a projection's views have reached a position.

    Raises:
        ViewBehind: They have not reached it in time, or no runner is at work.
        ProjectionNotKept: The store keeps another version, or none and no runner begins one.
    """
    now, database = time.monotonic, store.recorder.database
    deadline, look = now() + timeout, now() + min(_LOOK_SECONDS, timeout)
    begun = now() + min(_BEGIN_SECONDS, timeout)
    database.listen()
    nobody = False
    while True:
        seen, build = database.signal.count, build_of(store, projection, begun)
        reached = come(store, build, store.rows)
        if reached >= position:
            return
        if now() >= look:
            before = nobody
            nobody = build.mode == "followed" and not is_followed(store, build)
            if (before and nobody) or now() >= deadline:
                reason = _reason(store, build, timeout, nobody=nobody)
                reason = reason or _advice(store, projection, reached)
                name = projection.name
                raise ViewBehind(projection=name, position=reached, asked=position, reason=reason)
            look = min(now() + _LOOK_SECONDS, deadline)
        database.signal.wait(seen, min(look - now(), database.poll_seconds))


def is_followed(store: SessionStore, build: Build) -> bool:
    """Whether a runner of any process follows a build; true if that cannot be told."""
    database = store.recorder.database
    if not store.exists:  # and the lease would make a file
        return False
    if database.is_standby():
        return True
    return database.is_held(kept.right(build, store.application_id))


def _advice(store: SessionStore, projection: Projection[Any], reached: int) -> str:
    """What to do if no runner goes on from a position."""
    page = read_page(store, store.rows, reached, size=1, wanted=projection.wanted_names)
    if page.obstacle is not None:
        return f"nobody follows the log, and this process cannot: {page.obstacle}"
    return "nobody follows the log: run `sessions projections run`"


def _reason(store: SessionStore, build: Build, timeout: float, *, nobody: bool) -> str | None:
    """Why it has not come that far, as last seen; None if nobody is at work and no reason known."""
    if build.mode != "followed":
        return "the log itself ends before that"
    if store.recorder.database.is_standby():
        return f"it did not get there within {timeout} s, and a standby cannot tell why"
    if not nobody:
        return f"it is followed, but did not get there within {timeout} s"
    return not_followed.reason(store, build.name)
