"""One projection of a runner: at any time one process works at it, and the others stand by."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from projections.folding import HELD, BuildOf, Tracked
from projections.known import is_kept
from projections.running import not_followed
from sessions.events import EVENTS
from sessions.views import kept
from sessions.views.views import Views

if TYPE_CHECKING:
    from sessions.sql.database import StillHeld
    from sessions.sql.head import Build
    from sessions.store import SessionStore
    from sessions.views.projection import Projection

logger = logging.getLogger(__name__)


class Post:
    """A projection that this process follows, or stands by for.

    Attributes:
        projection: The projection.
        build: The build that this process works at; None if it stands by.
        part: What folds and writes that build, while this process works at it.
    """

    part: Tracked

    def __init__(self, store: SessionStore, projection: Projection[Any]) -> None:
        self.projection = projection
        self.build: Build | None = None
        self._store = store
        self._paused_at: int | None = None
        self._right = ExitStack()
        self._is_held: StillHeld = bool
        self._hindered: str | None = None

    @property
    def is_taken(self) -> bool:
        """Whether this process works at it."""
        return self.build is not None

    def take(self, build: Build | None) -> bool:
        """Work at the current build and no other; the answer is whether this begins just now.

        It begins if the build is to be followed and nobody else has the lease. A process that has
        lost the lease leaves it to whichever acquires it first.

        Raises:
            ViewsDiffer: The store's build lacks columns or relations that it has here.
        """
        if self.is_taken and not (self.build == build and self._is_held()):
            self.leave()
        self._tell(build)
        if self.is_taken or build is None or not self._is_due(build):
            return False
        database, application = self._store.recorder.database, self._store.application_id
        kept.check_columns(database, [(build, self.projection)])
        held = self._right.enter_context(database.held(kept.right(build, application)))
        if held is None:
            self._right.close()
            return False
        self._is_held = held
        not_followed.forget(self._store, self.projection.name)
        dialect, number = database.dialect, build.number
        views = Views(self.projection, application, dialect, build=number, held=HELD)
        self.part = Tracked(BuildOf(self.projection, views), database, build, application)
        self.build = build
        return True

    def wants(self, kind: str) -> bool:
        """Whether it wants events of a type; it is taken to want a type that is unknown here."""
        return kind not in EVENTS or kind in self.part.wanted

    def _tell(self, build: Build | None) -> None:
        """Log, once, why the store's build cannot be followed here, and when that changes."""
        name = self.projection.name
        hindered = None if build is None else _hindrance(self.projection, build)
        if hindered == self._hindered:
            return
        self._hindered = hindered
        if hindered is not None:
            logger.warning("%s is not followed by this process: %s", name, hindered)
        elif build is not None and build.mode == "followed":
            logger.warning("%s can be followed by this process again", name)
        else:
            logger.warning("%s is not to be followed any more", name)

    def _is_due(self, build: Build) -> bool:
        """Whether this process should follow a build, which it may have left to a newer process."""
        if build.mode != "followed" or not is_kept(self.projection, build):
            return False
        if self._paused_at is not None:
            query, application = self._store.recorder.database.query, self._store.application_id
            if kept.position(query, build, application) < self._paused_at:
                return False
            self._paused_at = None
        return True

    def leave(self) -> None:
        """Release the lease; what is not committed is dropped."""
        self.build = None
        self._right.close()

    def leave_to_newer(self, obstacle: Exception) -> None:
        """Release the lease until others have passed an event that this process cannot read."""
        position = self.part.position
        self.leave()
        self._paused_at = position + 1
        self.note(f"leaves it to a newer process: {obstacle}")

    def note(self, what: str) -> None:
        """Note what the runner does instead, for callers that wait for the projection."""
        reason = f"this process's runner {what}"
        not_followed.note(self._store, self.projection.name, reason)


def _hindrance(projection: Projection[Any], build: Build) -> str | None:
    """Why a process with a projection cannot follow a build; None if it can, or need not."""
    if build.mode == "followed":
        if is_kept(projection, build):
            return None
        return f"the store keeps {build.label}, but this process has {projection.label}"
    return f"its mode in the store is {build.mode}" if projection.mode == "followed" else None
