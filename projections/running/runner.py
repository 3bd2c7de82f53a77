"""Follows the log with projections: events are folded as soon as they are committed.

Views and position are committed together, so that no event is skipped or counted twice, wherever a
process dies. Of all processes that run a projection, one is active, and the others stand by.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Self

from projections.folding import Overtaken, Progress, silent
from projections.known import is_kept, named, not_kept
from projections.running.at_work import AtWork
from projections.running.posts import TAKE_OVER_SECONDS, Posts
from sessions import rules
from sessions.errors import (
    SessionsError,
    StorageFailed,
    StoreClosed,
    StoreNotFound,
)
from sessions.sql.connection import query_on
from sessions.sql.signals import is_exiting
from sessions.views import kept
from sessions.views.current import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from sessions.sql.head import Build
    from sessions.store import SessionStore

logger = logging.getLogger(__name__)

PAGE = 1000
"""How many positions are folded in one transaction at most."""

AGAIN_SECONDS = 5
"""How long a runner with a thread of its own waits after the database failed."""


class Runner:
    """Keeps the followed projections of a store's application up to date with the log.

    `run` runs it in the calling thread. As a context manager it runs in a thread of its own:

        with Runner(store):
            ...

    Views and position are committed together, so each event counts once, wherever a process dies.
    Any number of processes may run one: for each projection one is active, the others stand by.

    Attributes:
        paused: By projection, the error of the event that this process cannot read, and has left
            to a newer process.
    """

    def __init__(self, store: SessionStore, names: Iterable[str] = (), *, page: int = PAGE) -> None:
        """Follow the log with some of the projections, or with all that the process knows.

        Args:
            store: The store; it may be opened read-only.
            names: The projections; all that this process knows if none are named.
            page: How many positions to fold in one transaction at most; fewer if folds are slow.

        Raises:
            ProjectionNotFound: This process knows no projection of a name.
            InvalidValue: `page` is not a whole number from 1, or `names` is a single text.
        """
        asked = named(store, rules.names("names", names))
        self._posts = Posts(store, asked, rules.count("page", page))
        self.paused: dict[str, SessionsError] = self._posts.paused
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
        """The names of the projections that this process works at; it stands by for the others."""
        return self._posts.working

    @property
    def error(self) -> BaseException | None:
        """The error that ended it within its `with` block, which raises it at its end; or None."""
        return self._error

    def run(self, *, until: int | None = None, progress: Progress = silent) -> None:
        """Follow the log until `stop` is called, or until all have reached a position.

        It waits out errors that pass by themselves, such as a server that restarts. If this process
        cannot read an event, it waits for a newer process to pass it, unless `until` is given.

        Args:
            until: The log position at which to end; one that the log has not reached is waited for.
                None follows until it is stopped.
            progress: Called after each commit with the position that all have reached, and with
                `until` or else the position of the log's end.

        Raises:
            InvalidValue: `until` is not a position.
            BatchOpen: This thread has a batch open.
            CopyUnfinished: The store is being copied to.
            ProjectionNotKept: The store keeps another version, which never reaches `until`.
            UnknownEvent: A newer library wrote an event before `until`.
            UndecodableEvent: An event before `until` cannot be read.
            ViewsDiffer: A build in the store lacks columns or relations that it has here, or
                another projection has a relation of the same name.
            RunnerAtWork: It is running already.
            StoreClosed: The store was closed before, or before all have reached `until`.
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
            if until is not None and not self._is_stopped:  # else its caller would read too early
                raise
        finally:
            self._posts.leave()
        if was_stopped:  # a stop that comes later, or with an error, is for the next run
            self._is_stopped = False

    def stop(self) -> None:
        """End `run`, in whatever thread it runs, once its current page is committed.

        Any thread may call it, and so may a signal handler. If that run ends by itself or by an
        error, or if none is running, the next run ends at once.
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
            while not self._has_followed():
                pass
        except BaseException as error:  # the end of the `with` block raises it
            self._error = error
            logger.exception("the runner failed: this process no longer follows its projections")
            self._posts.note(f"ended: {error!r}")

    def _has_followed(self) -> bool:
        """Whether it followed until it was stopped; what failed in the database is tried again.

        Nobody else would begin it again: a disk that was full may have room, a right be granted.
        """
        try:
            self._follow(None, silent)
        except StorageFailed as error:
            if self._is_stopped:
                raise
            self._error = error  # until a page is folded again
            logger.warning("the runner failed, and tries again in %d s: %s", AGAIN_SECONDS, error)
            self._posts.note(f"failed, and tries again: {error!r}")
            return self._was_stopped_within(AGAIN_SECONDS)
        return True

    def _was_stopped_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._is_stopped and (left := deadline - time.monotonic()) > 0:
            self._sleep(left)  # a commit ends it
        return self._is_stopped

    def _sleep(self, seconds: float, seen: int | None = None) -> None:
        """Wait for a signal that comes after those seen; a stop is one."""
        signal = self._database.signal
        seen = signal.count if seen is None else seen
        if not self._is_stopped:
            signal.wait(seen, seconds)
        if is_exiting():  # never `|=`: it would lose a stop that comes meanwhile
            self._is_stopped = True

    def _wait_for_store(self) -> None:
        """Wait until the first command makes the store."""
        while not self._is_stopped:
            try:
                self._store.check_made()
            except StoreNotFound:
                self._sleep(self._database.poll_seconds)
            else:
                return

    def _has_begun(self) -> bool:
        """Make the store keep the followed projections that it does not keep yet."""
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
            begin(self._database, connection, new)
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
                raise not_kept(self._store, projection, build)
        query, application = self._database.query, self._store.application_id
        return all(kept.position(query, build, application) >= until for _, build in followed)

    # --- one turn

    def _done(self, step: Callable[[], bool]) -> bool:
        """Whether a step is done; it waits out errors that pass by themselves."""
        try:
            with self._database.asking_once():  # else a stop would wait for all the retries
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
        """Fold the next page, or wait for one; the answer is whether there was one."""
        seen = self._database.signal.count
        self._posts.take_over()
        has_advanced = self._posts.advance(self._until, self._progress)
        self._error = None
        if has_advanced:
            return True
        self._wait(seen)
        return False

    def _wait(self, seen: int) -> None:
        self._database.listen()
        self._sleep(min(self._database.poll_seconds, TAKE_OVER_SECONDS), seen)
