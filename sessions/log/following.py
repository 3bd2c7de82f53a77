"""Following a log: every event once, in order, as soon as it is committed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from sessions.errors import PositionNotFound, SessionsError, StoreClosed
from sessions.sql.signals import is_exiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from sessions.log.rows import Log

T = TypeVar("T")

PAGE = 500
"""How many positions a follower reads at once."""


class Following(ABC, Generic[T]):
    """Iterates over what is after a position, then over each new commit, until it is stopped.

    It is for one thread; any thread may call `stop`. It also ends when the interpreter exits, and
    when the database is closed.

    Attributes:
        position: Everything up to it was yielded, or was not asked for.
    """

    def __init__(self, log: Log, after: int) -> None:
        self.position = after
        self._log = log
        self._database = log.database
        self._read_to = after
        self._page: Iterator[tuple[int, T]] = iter(())
        self._stopped = False

    @abstractmethod
    def _read(self, after: int) -> tuple[Iterator[tuple[int, T]], int]:
        """A page after a position: items with their positions, and the position that it reaches.

        Raises:
            PositionNotFound: It reaches none, and the log ends before that position.
        """

    def _end(self, after: int, newest: int) -> int:
        """The end of the log, which is at `newest`; that of a standby may be before `after`.

        Raises:
            PositionNotFound: The log ends before `after`: new events up to there would be missed.
        """
        if newest < after and not self._database.is_standby():
            application = self._log.application_id
            raise PositionNotFound(application=application, position=after, newest=newest)
        return max(after, newest)

    def stop(self) -> None:
        """End the iteration: at once if it is waiting, else before the next item."""
        self._stopped = True
        self._database.signal.give()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while not (self._stopped or is_exiting()):
            try:
                following = next(self._page, None)
            except BaseException:
                self._read_anew(self.position)
                raise
            if following is not None:
                self.position, item = following
                return item
            self.position = self._read_to
            self._fill()
        raise StopIteration

    def pages(self) -> Iterator[list[T]]:
        """Iterate in pages: a page, of at most 500, comes as soon as there is anything to read.

        `position` is then past the whole page, and past what was not asked for. So you can write it
        in one transaction with what you make of the page.
        """
        while page := self._next_page():
            yield page

    def _next_page(self) -> list[T]:
        """What is read and not yielded yet, up to an error, which the next call raises instead."""
        before = self.position
        try:
            page = list(islice(self, 1))  # it waits for one
            if page:
                self._take_the_rest(page)
        except BaseException:  # also on an interrupt: the caller did not get the page
            self._read_anew(before)
            raise
        return page

    def _take_the_rest(self, page: list[T]) -> None:
        position = self.position
        try:
            for position, item in self._page:  # noqa: B007  the last one's is the page's
                page.append(item)
        except SessionsError:  # an event that cannot be read: it is read and raised again
            self._read_anew(position)
        else:
            self.position = self._read_to

    def _read_anew(self, position: int) -> None:
        self.position = self._read_to = position
        self._page = iter(())

    def _fill(self) -> None:
        database = self._database
        database.listen()
        seen = database.signal.count
        try:
            self._page, self._read_to = self._read(self.position)
        except StoreClosed:
            self._stopped = True
            return
        if self._read_to == self.position and not self._stopped:  # `seen` may count that of `stop`
            database.signal.wait(seen, database.poll_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
