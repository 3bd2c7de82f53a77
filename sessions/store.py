"""SessionStore: the door to the database."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from sessions import clock, rules
from sessions.commits.writer import Writer
from sessions.errors import StorageFailed, StoreNotFound, StoreReadOnly, StoreTooOld
from sessions.execution import CommandExecutor
from sessions.log.mapper import Mapper
from sessions.log.recorder import SessionRecorder
from sessions.sql import migrations
from sessions.sql.connection import query_on
from sessions.sql.database import LOCK_TIMEOUT, Database
from sessions.sql.selects import bound, is_select, no_select
from sessions.url import database_of
from sessions.views import kept
from sessions.views.installed import installed
from sessions.views.projection import check_distinct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from types import TracebackType

    from sessions.views.projection import Projection


class SessionStore(CommandExecutor):
    """The customer sessions of one application: all that happened, in one log.

    Open it with `SessionStore.open`. Threads may share it; processes each open their own, also
    after a fork. It is a context manager that closes it.

    Whatever asks the database may raise, besides what it names: `StoreClosed`; `StoreNotFound`,
    where it was opened to be read only and nothing was written yet; `StoreUnavailable` and
    `StatementTimeout`, where a retry can help; and `StorageFailed`. So may the views of
    `projections`, which read through it.

    Attributes:
        projections: The projections that this process knows.
        now: The clock.
    """

    def __init__(
        self,
        database: Database,
        application_id: int,
        *,
        read_only: bool = False,
        now: Callable[[], datetime] = clock.now,
        projections: Iterable[Projection[Any]] | None = None,
    ) -> None:
        self.projections = installed() if projections is None else tuple(projections)
        check_distinct(self.projections)
        self.application_id = rules.count("applicationId", application_id)
        self.mapper = Mapper()
        self.recorder = SessionRecorder(database, self.application_id)
        self._database = database
        self._read_only = read_only
        self.now = now if now is clock.now else partial(_in_utc, now)
        super().__init__(Writer(self.recorder, self.mapper, self.projections, self.now))
        self._is_made = False
        if read_only:
            self._looks_made()
        elif self._is_made_or_moved_forward():
            self._writer.check_views()

    @classmethod
    def open(  # noqa: PLR0913  all but the first have defaults
        cls,
        url: str,
        application_id: int = 1,
        *,
        read_only: bool = False,
        lock_timeout: float = LOCK_TIMEOUT,
        now: Callable[[], datetime] = clock.now,
        projections: Iterable[Projection[Any]] | None = None,
    ) -> Self:
        """Open the store at a URL, and move it forward where an older version made it.

        A new store is made by opening it, in a file by the first command; reading never makes one.

        Args:
            url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `memory:` (SQLite in memory:
                the same code and all features, gone when it is closed), or
                `postgresql://user@host:port/database?schema=name&pool=10` with any further
                option of libpq, such as `sslmode=require`.
            application_id: The application whose sessions these are, from 1.
            read_only: Refuse commands, and do not ask for the store's inline views. It is opened so
                too where these are to be rebuilt: `rebuild`, `drop` and a `Runner` are not refused.
            lock_timeout: Seconds to wait for other writers.
            now: The clock, for tests: times with a timezone, or else commands are refused.
            projections: The projections that this process knows, if not those that are installed.

        Raises:
            InvalidURL: It names no place where a store can be.
            NotAStore: Something else is there, or a database that does not take all text.
            StoreTooNew: A newer version of this library made it.
            StoreTooOld: An older version made it, and it is opened to be read only.
            StoreUnavailable: The server cannot be reached.
            StoreBusy: It is to be made or moved forward, and others held the lock for too long.
            CopyUnfinished: It is being copied to.
            ViewsDiffer: Its writers keep other inline views: run `sessions rebuild`. Or one has
                columns or relations that it had not when it was built: raise its version.
            ProjectionNotLoaded: A package's entry point brings no projection.
            InvalidValue: `application_id` is not a whole number from 1, `lock_timeout` is not 0 to
                2,147,483 seconds, or two projections share a name or a relation.
        """
        rules.seconds("lock_timeout", lock_timeout)
        database = database_of(url, lock_timeout=lock_timeout)
        try:
            return cls(
                database, application_id, read_only=read_only, now=now, projections=projections
            )
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Finish the commands that were accepted, refuse further ones, and close the connections.

        When the interpreter exits, the connections to PostgreSQL that are open still are closed:
        whatever asks then is refused.

        Raises:
            BatchOpen: This thread has a batch open.
        """
        self.check_no_batch("close")
        self._commits.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- opening

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreReadOnly(path=self._database.path)
        if not (self._is_made or self._looks_made()):
            self.make()

    def _rehearsal(self) -> Self | None:
        """What this store will be when it is made, empty, if it is not made yet but may be."""
        if self._is_made or self._looks_made() or self._read_only:
            return None
        return self.open("memory:", self.application_id, now=self.now, projections=self.projections)

    def _looks_made(self) -> bool:
        """Whether there is a store by now, which is kept in mind: ask `_is_made` first."""
        self._is_made = self._database.exists and migrations.is_store(self._database)
        return self._is_made

    def _is_made_or_moved_forward(self) -> bool:
        try:
            made = self._looks_made()
        except StoreTooOld:
            self.make()
            return True
        if not made and self._database.made_by_opening:
            self.make()
            return True
        return made

    def make(self) -> None:
        """Make the store now, or move it forward, as opening or the first command would.

        A store that was opened to be read only is made too: it is asked for by name.

        Raises:
            NotAStore: A file or a schema of something else is there.
            StoreTooNew: A newer version of this library made it.
            StoreBusy: Other writers held the lock for too long.
            BatchOpen: This thread has a batch open.
        """
        database = self._database
        with database.writing() as connection:
            if migrations.make(database, connection, query_on(connection)):
                kept.begin(database, connection, self.projections)
        self._is_made = True

    # --- reading

    @property
    def exists(self) -> bool:
        """Whether there was a store when it was last looked for; `open` says what makes one."""
        return self._is_made

    def check_made(self) -> None:
        """Refuse to work on what is not there.

        Raises:
            StoreNotFound: Nothing was written yet.
        """
        if not (self._is_made or self._looks_made()):
            raise StoreNotFound(path=self._database.path)

    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[tuple[Any, ...]]:
        """All rows of one SELECT as tuples: a look of your own.

        Args:
            sql: The SELECT, with `?` for each parameter.
            parameters: Their values, in a list or tuple.
            passing: For a scan of much: its pages are kept out of the cache.

        Raises:
            InvalidValue: It is not one SELECT, or the parameters are a text, or a time of them has
                no timezone, or a text is no Unicode.
            LimitExceeded: A whole number of them has over 64 bits.
            StoreNotFound: Nothing was written yet, and the store was opened to be read only.
            StorageFailed: The database refuses it.
            BatchFailed: This thread has a batch open that has lost what it answered.
            BatchOpen: Another task of this thread has one open of a store in memory.
        """
        if not is_select(rules.text("sql", sql, least=0, most=None)):
            raise no_select(sql)
        given = bound(parameters, self._database.dialect.adapt)
        return self._asked(self._database.query_of_others, sql, given, passing=passing)

    def _asked(
        self,
        query: Callable[..., list[Any]],
        sql: str,
        parameters: Sequence[object],
        *,
        passing: bool,
    ) -> list[tuple[Any, ...]]:
        batch = self._batch
        if batch is not None and batch.is_open:
            return batch.query(sql, parameters)
        if batch is None and self._database.in_memory:  # whose one connection is at the batch
            self.check_no_batch("a query of another task")
        if not self._is_made:
            empty = self._rehearsal()
            if empty is not None:
                try:
                    with empty:
                        return empty.rows(sql, parameters)
                except StorageFailed as error:
                    raise StorageFailed(path=self._database.path, reason=error.reason) from error
            self.check_made()
        return query(sql, parameters, passing=passing)


def _in_utc(now: Callable[[], datetime]) -> datetime:
    """What a clock of somebody else's says."""
    return rules.moment("now", now())
