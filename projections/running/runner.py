"""Follow the log with projections: what comes is folded as soon as it is committed.

Views and position are committed together, so that no event is skipped or folded twice, wherever a
process dies. Of all processes that run a projection one works, and the others stand by.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Self

from projections.folding import Overtaken, Progress, silent
from projections.known import is_kept, named, not_kept
from projections.running.at_work import AtWork
from projections.running.posts import TAKE_OVER_SECONDS, Posts
from sessions import rules
from sessions.errors import (
    SessionsError,
    StoreClosed,
    StoreNotFound,
)
from sessions.sql.connection import query_on
from sessions.sql.signals import is_exiting
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from sessions.sql.head import Build
    from sessions.store import SessionStore

logger = logging.getLogger(__name__)

PAGE = 1000
"""So many positions are folded in one transaction at most."""


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
            page: So many positions are folded in one transaction; fewer, if that takes long.

        Raises:
            ProjectionNotFound: No projection that this process knows has the name.
            InvalidValue: The page is not a whole number from 1, or `names` is one text.
        """
        asked = named(store, rules.names("names", names))
        self._posts = Posts(store, asked, rules.count("page", page))
        self.paused = self._posts.paused
        self._store = store
        self._database = store.recorder.database
        self._until: int | None = None
        self._progress: Progress = silent
        self._is_stopped = False
        self._runs = AtWork()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def working(self) -> list[str]:
        """The projections that this process works at; it stands by for the others."""
        return self._posts.working

    @property
    def error(self) -> BaseException | None:
        """What has ended it within its `with` block, which raises it at its end; else None."""
        return self._error

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
            ViewsDiffer: The store keeps one without columns or relations that it has here, or
                another one with a relation of its.
            RunnerAtWork: It runs already.
            StoreClosed: The store was closed before, or before all have come to the position.
            SessionsError: The store cannot be read or written.
        """
        if until is not None:
            rules.count("until", until, least=0)
        self._store.check_no_batch("run")
        self._store.check_open()
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
            while not self._is_stopped and not self._done(self._has_come):
                self._done(self._turn)
            was_stopped = self._is_stopped
        except StoreClosed:
            if until is not None and not self._is_stopped:  # else who reads then reads too early
                raise
        finally:
            self._posts.leave()
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
        self._store.check_open()
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
            self._posts.note(f"ended: {error!r}")

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
        followed = [each for each in self._posts.projections if each.mode == "followed"]
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
        builds = [(each, current.get(each.name)) for each in self._posts.projections]
        followed = [(p, build) for p, build in builds if build and build.mode == "followed"]
        for projection, build in followed:
            if not is_kept(projection, build):
                raise not_kept(projection, build)
        query, application = self._database.query, self._store.application_id
        return all(kept.position(query, build, application) >= until for _, build in followed)

    # --- one turn

    def _done(self, step: Callable[[], bool]) -> bool:
        """Whether a step is done; what hinders it and passes by itself is waited for."""
        try:
            with self._database.asking_once():  # a stop would wait for all that is asked again
                return step()
        except Overtaken:
            self._posts.leave()
        except SessionsError as error:
            self._posts.leave()
            if not error.retry:
                raise
            self._sleep(TAKE_OVER_SECONDS)
        return False

    def _turn(self) -> bool:
        """Fold the next page, or wait for one; whether there was one."""
        seen = self._database.signal.count
        self._posts.take_over()
        if self._posts.advance(self._until, self._progress):
            return True
        self._wait(seen)
        return False

    def _wait(self, seen: int) -> None:
        self._database.listen()
        self._sleep(min(self._database.poll_seconds, TAKE_OVER_SECONDS), seen)
