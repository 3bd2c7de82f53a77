"""The batch that a thread may have open on a store, and what is refused meanwhile.

The batch has the only transaction of its thread. Yet not everything that the thread does belongs to
it, because the tasks of an event loop share a thread.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from sessions import rules
from sessions.commits.batch import RunningBatch
from sessions.errors import BatchOpen, StoreClosed
from sessions.log.follower import Follower
from sessions.log.reader import StoreReader, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sessions.commits.writer import Writer
    from sessions.events import Event


class Batch:
    """What a block may do with its batch; see `SessionStore.batch`."""

    def __init__(self, running: RunningBatch) -> None:
        self._running = running

    def begin(self) -> None:
        """Take the lock now: what the batch reads from here on cannot change before it commits.

        If a commit is due, it comes first. So a loop that calls this lets others write now and
        then.

        Raises:
            OutsideBatch: The batch has ended, or another thread, task or process opened it.
            BatchFailed: Commands that it answered before are lost.
            StoreReadOnly: The store was opened with `read_only=True`.
            StoreBusy: Others held the lock for too long.
        """
        self._running.begin()

    def commit(self) -> None:
        """Commit now, so that what was executed so far is durable.

        Raises:
            OutsideBatch: The batch has ended, or another thread, task or process opened it.
            BatchFailed: Commands that it answered are lost.
        """
        self._running.commit()


class _OfThread(threading.local):
    """What the current thread has open."""

    batch: RunningBatch | None = None


class StoreWithBatches(StoreReader):
    """A store on which a thread may open a batch, and may follow the log while it has none."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._of_thread = _OfThread()

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise if the store may not be written; make it if it does not exist yet."""

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Let the commands that this thread executes in the block share commits: a bulk load.

        Rules and results are those of single commands: a refusal affects its own command only, and
        reads in the block see the batch's writes. The batch commits every 1000 commands, at the
        first command after a second has passed, before a fork, and at the end; an answer is durable
        once it has committed. An exception that leaves the block drops only what is not committed.
        Other writers wait while the batch holds the lock. A batch within a batch is the same batch.
        Of the tasks of an event loop, those that are created in the block belong to it too. A
        forked child does not: its commands are committed one by one, or in a batch of its own.

        Raises:
            BatchOpen: Another task of this thread has a batch open.
            OutsideBatch: The block ends in another thread than it began in.
            BatchFailed: The transaction was lost, with commands that had been answered. Each later
                call in the batch raises it, and so does the end of the block.
            StoreClosed: The store is closed.
        """
        outer = self._batch
        if outer is not None:
            yield Batch(outer)
            return
        self.check_no_batch("another batch")
        self.check_open()
        self._of_thread.batch = batch = RunningBatch(self._writer, self._check_writable)
        try:
            batch.open()
            yield Batch(batch)
            batch.end()
        finally:
            try:
                batch.close()
            finally:
                if self._of_thread.batch is batch:
                    self._of_thread.batch = None
                batch.close()  # the first call may have been interrupted

    @property
    def _batch(self) -> RunningBatch | None:
        """The batch that the calling task is inside, if any."""
        if self._of_thread.batch is None:  # the usual case
            return None
        batch = self._batch_of_thread()
        return batch if batch is not None and batch.is_inside else None

    def _batch_of_thread(self) -> RunningBatch | None:
        """The batch that this thread has open; one that another thread has ended is dropped."""
        batch = self._of_thread.batch
        if batch is not None and batch.has_ended:
            batch.abandon()
            self._of_thread.batch = batch = None
        return batch

    def check_no_batch(self, what: str) -> None:
        """Raise if this thread has a batch open, beside which `what` is not possible.

        Raises:
            BatchOpen: It has; the message names `what`.
        """
        if self._batch_of_thread() is not None:
            raise BatchOpen(what=what)

    def check_open(self) -> None:
        """Raise if the store is closed.

        Raises:
            StoreClosed: It is.
        """
        if self.recorder.database.is_closed:
            raise StoreClosed

    def follow(self, after: int = 0, *, types: Iterable[str | type[Event]] = ()) -> Follower:
        """Follow the log from a position: past events, then each new one once it is committed.

        Every event comes exactly once and in order, whoever writes it. An event of this process is
        seen within milliseconds, one of another process within 250 ms.

            with store.follow(after=position) as follower:
                for recorded in follower:
                    ...

        Args:
            after: The position after which to begin.
            types: The only events to see, by class or by name, such as "SessionClosed"; all if
                empty. The follower's `position` moves past the others too.

        Returns:
            An iterator for one thread; `pages()` iterates in pages. It ends after `stop()`, which
            any thread may call, when the store is closed, and when the interpreter exits. If the
            log ends before `after`, or before what came already, for example because an older
            backup was restored, the iterator raises `PositionNotFound`; on a standby of PostgreSQL
            it waits.

        Raises:
            BatchOpen: This thread has a batch open. Reading from the follower raises it too, while
                a batch is open.
            StoreClosed: The store is closed.
            InvalidValue: `after` is not a whole number from 0, or no event has such a name.
        """
        check = partial(self.check_no_batch, "follow")  # it would yield events that may be dropped
        check()
        self.check_open()
        rules.count("after", after, least=0)
        return Follower(self, after, names_of(types), check)
