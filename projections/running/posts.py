"""The projections of a runner, each at its place, and their way along the log: page after page.

Views and position are committed together, so that no event is skipped or folded twice, wherever a
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
"""How often one that stands by looks whether the other is gone."""


class Posts:
    """Those of the projections that a process may work at.

    Args:
        store: The store.
        projections: The projections.
        page: So many positions are folded in one transaction, fewer where folds are slow.

    Attributes:
        projections: The projections.
        paused: What this process cannot read and left to a newer one, by projection.
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
        """The projections that this process works at; it stands by for the others."""
        return [post.projection.name for post in self._posts if post.is_taken]

    def note(self, what: str) -> None:
        """Take note, for those who wait for a projection, of what the runner does instead."""
        for post in self._posts:
            post.note(what)

    def leave(self) -> None:
        """Let others work at all of them; what is not committed is dropped."""
        with ExitStack() as left:  # all of them, whatever interrupts it
            for post in self._posts:
                left.callback(post.leave)
        self._looked = -TAKE_OVER_SECONDS

    def take_over(self) -> None:
        """Work at what nobody else works at, and no longer at what is not current.

        Raises:
            ViewsDiffer: The store keeps one without columns or relations that it has here.
        """
        if time.monotonic() - self._looked < TAKE_OVER_SECONDS:
            return
        self._looked = time.monotonic()
        current = kept.builds(self._database.query, "current")
        for post in self._posts:
            if post.take(current.get(post.projection.name)):
                self.paused.pop(post.projection.name, None)

    def advance(self, until: int | None, progress: Progress) -> bool:
        """Fold and commit the next page, up to a position; whether there was one.

        Raises:
            Overtaken: Somebody else has taken a projection further, or it is another's now.
            UnknownEvent: A newer library wrote an event before that position.
            UndecodableEvent: One cannot be read.
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
        """Those who go on together: who is far from the log's end holds up nobody who is near it.

        In a run to a position nobody waits for anybody.
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
        """`advance`, of those who go on together."""
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
        """Leave to a newer process what this one cannot read."""
        there = [post for post in self._posts if post.is_taken and post.part.position == position]
        stuck = [post for post in there if post.wants(obstacle.type)] or there
        names = [post.projection.name for post in stuck]
        logger.warning("%s wait for a newer process: %s", ", ".join(names), obstacle)
        for post in stuck:
            post.leave_to_newer(obstacle)
            self.paused[post.projection.name] = obstacle
