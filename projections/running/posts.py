"""The projections of a runner, and how they follow the log, page after page.

Views and position are committed together, so that no event is skipped or counted twice, wherever a
process dies.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from projections.folding import WRITING, Overtaken, Progress, silent, wanted_by
from projections.pages import Pace, read_page
from projections.running.post import Post
from sessions import tracing
from sessions.errors import StorageFailed
from sessions.sql.connection import query_on
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sessions.errors import SessionsError, UndecodableEvent, UnknownEvent
    from sessions.store import SessionStore
    from sessions.views.projection import Projection

logger = logging.getLogger(__name__)

TAKE_OVER_SECONDS = 0.5
"""How often a standby checks whether the active runner is gone."""


class Posts:
    """The projections that a process may follow.

    Args:
        store: The store.
        projections: The projections.
        page: How many positions to fold in one transaction at most; fewer if folds are slow.

    Attributes:
        projections: The projections.
        paused: By projection, the error of the event that this process cannot read, and has left
            to a newer one.
    """

    def __init__(
        self, store: SessionStore, projections: Iterable[Projection[Any]], page: int
    ) -> None:
        self.projections = tuple(projections)
        self.paused: dict[str, SessionsError] = {}
        self._store = store
        self._database = store.recorder.database
        self._posts = [Post(store, each) for each in self.projections]
        self._page = page
        self._paces = Pace(page), Pace(page)
        self._looked = -TAKE_OVER_SECONDS

    @property
    def working(self) -> list[str]:
        """The names of the projections that this process works at; it stands by for the others."""
        return [post.projection.name for post in self._posts if post.is_taken]

    def note(self, what: str) -> None:
        """Note what the runner does instead, for callers that wait for a projection."""
        for post in self._posts:
            post.note(what)

    def leave(self) -> None:
        """Release all leases; what is not committed is dropped."""
        with ExitStack() as left:  # all of them, whatever interrupts it
            for post in self._posts:
                left.callback(post.leave)
        self._looked = -TAKE_OVER_SECONDS

    def take_over(self) -> None:
        """Begin with projections that nobody else works at, and leave builds that are not current.

        Raises:
            ViewsDiffer: A build in the store lacks columns or relations that it has here.
        """
        if time.monotonic() - self._looked < TAKE_OVER_SECONDS:
            return
        self._looked = time.monotonic()
        current = kept.builds(self._database.query, "current")
        for post in self._posts:
            if post.take(current.get(post.projection.name)):
                self.paused.pop(post.projection.name, None)

    def advance(self, until: int | None, progress: Progress) -> bool:
        """Fold and commit the next page, up to a position; the answer is whether there was one.

        Raises:
            Overtaken: Somebody else has advanced a projection, or its build is not current now.
            UnknownEvent: A newer library wrote an event before that position.
            UndecodableEvent: An event before that position cannot be read.
        """
        taken = [post for post in self._posts if post.is_taken]
        groups = self._groups(taken, until)
        try:
            advanced = [
                self._advance(posts, pace, until, progress)
                for posts, pace in zip(groups, self._paces, strict=False)
            ]
        except StorageFailed as error:  # others may have renamed or dropped what it reads
            current = kept.builds(self._database.query, "current")
            if any(current.get(post.projection.name) != post.build for post in taken):
                raise Overtaken from error
            raise
        return any(advanced)

    def _groups(self, posts: Sequence[Post], until: int | None) -> list[Sequence[Post]]:
        """The posts that share pages: one far from the log's end must not hold up one near it.

        In a run to a given position that does not matter, and all share them.
        """
        if until is not None:
            return [posts]
        near = self._store.position - self._page
        return [
            [post for post in posts if post.part.position >= near],
            [post for post in posts if post.part.position < near],
        ]

    def _advance(
        self, posts: Sequence[Post], pace: Pace, until: int | None, progress: Progress
    ) -> bool:
        """`advance` for posts that share pages."""
        if not posts:
            return False
        after = min(post.part.position for post in posts)
        wanted = wanted_by([post.part for post in posts])
        query = partial(self._store.rows, passing=True)
        page = read_page(self._store, query, after, until=until, size=pace.begin(), wanted=wanted)
        if page.until > after:
            with tracing.span("fold", projections=self.working, position=page.until):
                for post in posts:
                    post.part.take(self._database.query, page)
                pace.end(page.until - after)
                self._commit(posts)
            self._tell(until, progress)
        if page.obstacle is not None:
            if until is not None:
                raise page.obstacle
            self._pause(page.until, page.obstacle)
        return page.until > after

    def _commit(self, posts: Sequence[Post]) -> None:
        with self._database.writing(WRITING) as connection:
            current = kept.builds(query_on(connection), "current")
            for post in posts:
                if current.get(post.projection.name) != post.build:
                    raise Overtaken
                post.part.write(connection)

    def _tell(self, until: int | None, progress: Progress) -> None:
        if progress is not silent:
            done = min(post.part.position for post in self._posts if post.is_taken)
            progress(done, max(done, until or self._store.position))

    def _pause(self, position: int, obstacle: UnknownEvent | UndecodableEvent) -> None:
        """Leave to a newer process the projections whose next event this one cannot read."""
        there = [post for post in self._posts if post.is_taken and post.part.position == position]
        stuck = [post for post in there if post.wants(obstacle.type)] or there
        names = [post.projection.name for post in stuck]
        logger.warning("this process leaves %s to a newer one: %s", ", ".join(names), obstacle)
        for post in stuck:
            post.leave_to_newer(obstacle)
            self.paused[post.projection.name] = obstacle
