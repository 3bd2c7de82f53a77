"""The batch that a thread may have open of a store, and what is refused beside it.

It has the thread's only transaction, and yet not all that the thread does belongs to it: the tasks
of a loop share a thread.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from sessions import rules
from sessions.commits.batch import Batch
from sessions.errors import BatchOpen, StoreClosed
from sessions.log.follower import Follower
from sessions.log.reader import StoreReader, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sessions.commits.writer import Writer
    from sessions.events import Event


class _OfThread(threading.local):
    """What a thread has open."""

    batch: Batch | None = None


class StoreWithBatches(StoreReader):
    """A store in which each thread may have a batch open, and follow the log while it has none."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._of_thread = _OfThread()

    @abstractmethod
    def _check_writable(self) -> None:
        """Refuse what may not be written, and see to it that there is a store."""

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Let the commands that this thread executes inside share transactions: a bulk load.

        The rules and the result are those of one by one: a refusal raises for its command alone,
        and reads inside see the batch's own writes. It commits every 1000 commands, with the first
        command after a second, before a fork, and at the end; an exception that leaves it drops
        only what is not committed. Other writers wait while it holds the lock. A batch in a batch
        is the same one. Of a loop's tasks, those that are made inside are inside too.

        Raises:
            BatchOpen: Another task of this thread has one open.
            OutsideBatch: Its block ends in another thread than it began in.
            BatchFailed: The transaction was lost with commands that had been answered: each later
                call in the batch raises it, and its end too.
            StoreClosed: It was closed before.
        """
        outer = self._batch
        if outer is not None:
            yield outer
            return
        self.check_no_batch("another one")
        self.check_open()
        self._of_thread.batch = batch = Batch(self._writer, self._check_writable)
        try:
            batch.open()
            yield batch
            batch.end()
        finally:
            try:
                batch.close()
            finally:
                if self._of_thread.batch is batch:
                    self._of_thread.batch = None
                batch.close()  # an interrupt may have come as it was done

    @property
    def _batch(self) -> Batch | None:
        """The batch that the caller is inside of."""
        if self._of_thread.batch is None:  # as for nearly everybody who asks
            return None
        batch = self._batch_of_thread()
        return batch if batch is not None and batch.is_inside else None

    def _batch_of_thread(self) -> Batch | None:
        """The batch that this thread has open; one that another thread has ended is let go."""
        batch = self._of_thread.batch
        if batch is not None and batch.has_ended:
            batch.abandon()
            self._of_thread.batch = batch = None
        return batch

    def check_no_batch(self, what: str) -> None:
        """Refuse what needs the store to itself while this thread has a batch open.

        Raises:
            BatchOpen: It has.
        """
        if self._batch_of_thread() is not None:
            raise BatchOpen(what=what)

    def check_open(self) -> None:
        """Refuse what a store that was closed cannot do.

        Raises:
            StoreClosed: It was.
        """
        if self.recorder.database.is_closed:
            raise StoreClosed

    def follow(self, after: int = 0, *, types: Iterable[str | type[Event]] = ()) -> Follower:
        """The log from a position on, and then each new event as soon as it is committed.

        Every event comes once and in order, whoever writes it. An event of this process is seen
        within milliseconds, one of another process within 250.

            with store.follow(after=position) as follower:
                for recorded in follower:
                    ...

        Args:
            after: The position after which to begin.
            types: Events, by their classes or names such as "SessionClosed", to see only these. The
                follower's `position` moves past the others too.

        Returns:
            An iterator for one thread, and one of `pages()`. It ends after `stop()`, which any
            thread may call, when the store is closed, and when the interpreter exits. Where the
            log has not come to `after`, as when an older backup took its place, it raises
            `PositionNotFound`; on a standby of PostgreSQL it waits.

        Raises:
            BatchOpen: This thread has a batch open; so does each further read, while it has.
            StoreClosed: It was closed before.
            InvalidValue: `after` is not a whole number from 0, or no event has such a name.
        """
        check = partial(self.check_no_batch, "follow")  # it would give what may be dropped
        check()
        self.check_open()
        rules.count("after", after, least=0)
        return Follower(self, after, names_of(types), check)
