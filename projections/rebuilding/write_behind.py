"""Writes a page while the next one is read and folded, if a server does the work.

SQLite works in this process, a row at a time: a thread that writes would hold the store's lock
until the folding thread lets it have its turn. So there each page is written before the next.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from projections.folding import WRITING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from sessions.sql.connection import Connection
    from sessions.sql.database import Database
    from sessions.sql.inserting import Write


class WriteBehind:
    """Writes one page at a time, in order, each in a transaction of its own.

    The error of a page is raised by the next call, or at the end.

    Args:
        database: Where it writes.
        check: Called first in each transaction; it may raise to refuse.
    """

    def __init__(self, database: Database, check: Callable[[Connection], object]) -> None:
        self._database = database
        self._check = check
        self._thread = ThreadPoolExecutor(1, "customer-sessions-write")
        self._coming: Future[None] | None = None
        self._told: Callable[[], object] = bool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self._thread.shutdown()

    def write(self, writes: Sequence[Write], told: Callable[[], object]) -> None:
        """Write a page, after the one before is written; `told` is called once it is durable."""
        self.wait()
        if self._database.works_beside:
            self._coming, self._told = self._thread.submit(self._write, writes), told
        else:
            self._write(writes)
            told()

    def wait(self) -> None:
        """Wait until all is written."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.result()
            self._told()

    def query(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT, which sees all pages that were given to `write`."""
        if self._coming is not None:
            self._coming.result()
        return self._database.query(sql, parameters, passing=True)

    def _write(self, writes: Sequence[Write]) -> None:
        with self._database.writing(WRITING) as connection:
            self._check(connection)
            for write in writes:
                write(connection)
