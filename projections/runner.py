"""Follow the log with projections: what comes is folded as soon as it is committed.

Views and position are committed together, so that no event is skipped or folded twice, wherever a
process dies. Of all processes that run a projection one works, and the others stand by.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from projections.at_work import AtWork
from projections.folding import (
    WRITING,
    Overtaken,
    Progress,
    silent,
    wanted_by,
)
from projections.known import is_kept, named, not_kept
from projections.pages import read_page
from projections.post import Post
from sessions import kept, rules, tracing
from sessions.database import query_on
from sessions.errors import (
    SessionsError,
    StoreClosed,
    StoreNotFound,
)
from sessions.signals import is_exiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from sessions.errors import UndecodableEvent, UnknownEvent
    from sessions.head import Build
    from sessions.store import SessionStore

logger = logging.getLogger(__name__)

PAGE = 1000
"""So many positions are folded in one transaction."""

_TAKE_OVER_SECONDS = 0.5
"""How often one that stands by looks whether the other is gone."""


class Runner:
    """Keeps the followed projections of an application up to date.

    It is run by `run`, or in a thread of its own as a context manager:

        with Runner(store):
            ...

    Attributes:
        paused: What this process cannot read and left to a newer one, by projection.
    """

    def __init__(self, store: SessionStore, names: Iterable[str] = (), *, page: int = PAGE) -> None:
        """Run some followed projections, or all that the process knows.

        Args:
            store: The store, which may be opened read-only.
            names: The projections.
            page: So many positions are folded in one transaction.

        Raises:
            ProjectionNotFound: No projection that this process knows has the name.
            InvalidValue: The page is not a whole number from 1.
        """
        self.paused: dict[str, SessionsError] = {}
        self._store = store
        self._database = store.recorder.database
        self._posts = [Post(store, each) for each in named(store, tuple(names))]
        self._page = rules.count("page", page)
        self._until: int | None = None
        self._progress: Progress = silent
        self._looked = -_TAKE_OVER_SECONDS
        self._is_stopped = False
        self._runs = AtWork()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def working(self) -> list[str]:
        """The projections that this process works at; it stands by for the others."""
        return [post.projection.name for post in self._posts if post.is_taken]

    def run(self, *, until: int | None = None, progress: Progress = silent) -> None:
        """Follow the log until it is stopped, or until all have come to a position.

        Errors that pass by themselves, such as a server that restarts, are waited for. So is a
        newer process, where this one cannot read an event; unless there is a position to come to.

        Args:
            until: The position.
            progress: Is told, after each commit, how far all have come and where the log ends.

        Raises:
            InvalidValue: `until` is not a position.
            BatchOpen: This thread has a batch open.
            CopyUnfinished: The store is being copied to.
            ProjectionNotKept: The store keeps another version, which never comes to the position.
            UnknownEvent: A newer library wrote an event before that position.
            UndecodableEvent: One cannot be read.
            RunnerAtWork: It runs already.
            SessionsError: The store cannot be read or written.
        """
        if until is not None:
            rules.count("until", until, least=0)
        self._store.check_no_batch("run")
        self._runs.begin()
        try:
            self._follow(until, progress)
        finally:
            self._runs.end()

    def _follow(self, until: int | None, progress: Progress) -> None:
        self._until, self._progress = until, progress
        was_stopped = False
        try:
            while not self._is_stopped and not self._done(self._has_begun):
                pass
            while not self._is_stopped and not self._has_come():
                self._done(self._turn)
            was_stopped = self._is_stopped
        except StoreClosed:
            pass
        finally:
            self._leave()
        if was_stopped:  # a stop that comes later, or meets an error, is for the next run
            self._is_stopped = False

    def stop(self) -> None:
        """End `run`, in whatever thread it is, when what is at work is committed.

        A handler of a signal of the system may call it too. Where that run ends by itself, or by an
        error, or none is at work, the next one ends at once.
        """
        self._is_stopped = True
        self._database.signal.give()

    def __enter__(self) -> Self:
        self._store.check_no_batch("run")
        self._runs.begin()
        try:
            self._thread = threading.Thread(target=self._run, name="projections", daemon=True)
            self._thread.start()
        except BaseException:
            self._runs.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self._is_stopped = False
        self._runs.end()
        died, self._error = self._error, None
        if died is not None and error is None:
            raise died

    def _run(self) -> None:
        try:
            self._follow(None, silent)
        except BaseException as error:  # who leaves the context gets it
            self._error = error
            logger.exception("the runner ends, and its projections are followed no longer")
            for post in self._posts:
                post.note(f"ended: {error!r}")

    def _sleep(self, seconds: float, seen: int | None = None) -> None:
        """Wait for a signal, after those that were seen; a stop is one."""
        signal = self._database.signal
        seen = signal.count if seen is None else seen
        if not self._is_stopped:
            signal.wait(seen, seconds)
        if is_exiting():  # never `|=`: it would lose a stop that comes while that is asked
            self._is_stopped = True

    def _wait_for_store(self) -> None:
        """The first command makes it."""
        while not self._is_stopped:
            try:
                self._store.check_made()
            except StoreNotFound:
                self._sleep(self._database.poll_seconds)
            else:
                return

    def _has_begun(self) -> bool:
        """Keep, from now on, the followed projections that the store does not know yet."""
        self._wait_for_store()
        if self._is_stopped:
            return True
        kept.check_whole(self._database.query)
        followed = [p.projection for p in self._posts if p.projection.mode == "followed"]
        if all(each.name in self._current() for each in followed):
            return True
        with self._database.writing() as connection:
            kept.check_whole(query_on(connection))
            known = kept.builds(query_on(connection), "current")
            new = [each for each in followed if each.name not in known]
            kept.begin(self._database, connection, new)
        return True

    def _current(self) -> dict[str, Build]:
        return kept.builds(self._database.query, "current")

    def _has_come(self) -> bool:
        until = self._until
        if until is None:
            return is_exiting()
        current = self._current()
        builds = [(post.projection, current.get(post.projection.name)) for post in self._posts]
        followed = [(p, build) for p, build in builds if build and build.mode == "followed"]
        for projection, build in followed:
            if not is_kept(projection, build):
                raise not_kept(projection, build)
        query, application = self._database.query, self._store.application_id
        return all(kept.position(query, build, application) >= until for _, build in followed)

    def _leave(self) -> None:
        with ExitStack() as left:  # all of them, whatever interrupts it
            for post in self._posts:
                left.callback(post.leave)
        self._looked = -_TAKE_OVER_SECONDS

    # --- one turn

    def _done(self, step: Callable[[], bool]) -> bool:
        """Whether a step is done; what hinders it and passes by itself is waited for."""
        try:
            return step()
        except Overtaken:
            self._leave()
        except SessionsError as error:
            self._leave()
            if not error.retry:
                raise
            self._sleep(_TAKE_OVER_SECONDS)
        return False

    def _turn(self) -> bool:
        """Fold the next page, or wait for one; whether there was one."""
        seen = self._database.signal.count
        self._take_over()
        taken = [post for post in self._posts if post.is_taken]
        advanced = [self._advance(posts) for posts in self._groups(taken)]
        if not any(advanced):
            self._wait(seen)
        return any(advanced)

    def _groups(self, posts: Sequence[Post]) -> list[Sequence[Post]]:
        """Those who go on together: who is far from the log's end holds up nobody who is near it.

        In a run to a position nobody waits for anybody.
        """
        if self._until is not None:
            return [posts]
        near = self._store.position - self._page
        return [
            [post for post in posts if post.part.position >= near],
            [post for post in posts if post.part.position < near],
        ]

    def _wait(self, seen: int) -> None:
        self._database.listen()
        self._sleep(min(self._database.poll_seconds, _TAKE_OVER_SECONDS), seen)

    def _take_over(self) -> None:
        """Work at what nobody else works at, and no longer at what is not current."""
        if time.monotonic() - self._looked < _TAKE_OVER_SECONDS:
            return
        self._looked = time.monotonic()
        current = self._current()
        for post in self._posts:
            if post.take(current.get(post.projection.name)):
                self.paused.pop(post.projection.name, None)

    def _advance(self, posts: Sequence[Post]) -> bool:
        """Fold and commit the next page; whether there was one."""
        if not posts:
            return False
        after = min(post.part.position for post in posts)
        wanted = wanted_by([post.part for post in posts])
        query, until = partial(self._store.query, passing=True), self._until
        page = read_page(self._store, query, after, until=until, size=self._page, wanted=wanted)
        if page.until > after:
            with tracing.span("fold", projections=self.working, position=page.until):
                for post in posts:
                    post.part.take(self._database.query, page)
                self._commit(posts)
        if page.obstacle is not None:
            self._pause(page.until, page.obstacle)
        return page.until > after

    def _commit(self, posts: Sequence[Post]) -> None:
        with self._database.writing(WRITING) as connection:
            current = kept.builds(query_on(connection), "current")
            for post in posts:
                if current.get(post.projection.name) != post.build:
                    raise Overtaken
                post.part.write(connection)
        if self._progress is not silent:
            done = min(post.part.position for post in self._posts if post.is_taken)
            self._progress(done, max(done, self._until or self._store.position))

    def _pause(self, position: int, obstacle: UnknownEvent | UndecodableEvent) -> None:
        """Leave to a newer process what this one cannot read."""
        if self._until is not None:
            raise obstacle
        there = [post for post in self._posts if post.is_taken and post.part.position == position]
        stuck = [post for post in there if post.wants(obstacle.type)] or there
        names = [post.projection.name for post in stuck]
        logger.warning("%s wait for a newer process: %s", ", ".join(names), obstacle)
        for post in stuck:
            post.leave_to_newer(obstacle)
            self.paused[post.projection.name] = obstacle
