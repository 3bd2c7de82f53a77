"""`SessionStore`, the library's entry point: opens and makes a store, and queries it."""

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
from sessions.views.current import begin
from sessions.views.definitions import check_function
from sessions.views.installed import installed
from sessions.views.projection import distinct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from types import TracebackType

    from sessions.views.projection import Projection


class SessionStore(CommandExecutor):
    """The customer sessions of one application: every event, in one log.

    Open one with `SessionStore.open`. Threads may share a store; each process opens its own. After
    a fork, a store opens its connections anew. A store is a context manager that closes it.

    Besides the errors that it names, each method that asks the database may raise `StoreClosed`;
    `StoreNotFound`, if the store is opened with `read_only=True` and does not exist yet;
    `StoreUnavailable` and `StatementTimeout`, after which a retry can help; and `StorageFailed`. So
    may the views of `projections`, which read through the store.

    Attributes:
        application_id: The application whose sessions these are.
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
        self.projections: tuple[Projection[Any], ...] = distinct(
            installed() if projections is None else projections
        )
        self.application_id: int = rules.count("applicationId", application_id)
        self.mapper = Mapper()
        self.recorder = SessionRecorder(
            database,
            self.application_id,
            query=partial(self._committed, database.query),
            check_writable=self._check_writable,
        )
        self._database = database
        self._read_only = read_only
        check_function("now", now)
        self.now: Callable[[], datetime] = now if now is clock.now else partial(_in_utc, now)
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
        """Open the store at a URL, and migrate it if an older version of this library made it.

        Opening it for writing makes the store if there is none, except in a file, where the first
        command makes it. Reading never makes one.

        Args:
            url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `memory:` (SQLite in memory: the
                same code and features, lost when it is closed), or
                `postgresql://user@host:port/database?schema=name&pool=10` with any other option of
                libpq, such as `sslmode=require`.
            application_id: The application whose sessions these are, from 1.
            read_only: Refuse commands, and do not check that this process has the inline
                projections of the store. Open it like this to rebuild those, too: `rebuild`, `drop`
                and a `Runner` are not refused.
            lock_timeout: Seconds to wait for other writers.
            now: The clock, for tests. Its times need a timezone, or else commands are refused.
            projections: The projections that this process knows; by default those that are
                installed.

        Raises:
            InvalidURL: No store can be at this URL.
            NotAStore: The file or schema belongs to something else, or the database is not UTF8.
            StoreTooNew: A newer version of this library made it.
            StoreTooOld: An older version made it, and with `read_only=True` it is not migrated.
            StoreUnavailable: The server cannot be reached.
            StoreBusy: It had to be made or migrated, and others held the lock for too long.
            CopyUnfinished: It is the target of a copy that is not complete.
            ViewsDiffer: Its inline views are not those that this process has: run `sessions
                rebuild`. Or a view has columns or relations that it did not have when it was built:
                raise its version.
            ProjectionNotLoaded: The entry point of a package cannot be imported, or is no
                projection.
            InvalidValue: `application_id` is not a whole number from 1, `lock_timeout` is not 0 to
                2,147,483 seconds, `now` is no function, or `projections` are none, or share a name
                or a relation.
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

        When the interpreter exits, connections to PostgreSQL that are still open are closed too,
        and whatever needs one then is refused.

        Raises:
            BatchOpen: This thread has a batch open.
            CommitUnderway: A signal handler, a clock or a fold called it while this thread was at a
                commit.
            StoreBusy: Another thread had a transaction open for too long, such as in a batch. Call
                it again: the store refuses commands, but can still be read.
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
        """An empty stand-in in memory, while the store is not made yet but may be; else None."""
        if self._is_made or self._looks_made() or self._read_only:
            return None
        return self.open("memory:", self.application_id, now=self.now, projections=self.projections)

    def _looks_made(self) -> bool:
        """Look whether the store exists by now, and remember it; ask `_is_made` first."""
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
        """Make or migrate the store now, instead of when it is opened or at the first command.

        This works with `read_only=True` too, because you ask for it explicitly.

        Raises:
            NotAStore: The file or schema belongs to something else.
            StoreTooNew: A newer version of this library made it.
            StoreBusy: Other writers held the lock for too long.
            BatchOpen: This thread has a batch open.
        """
        database = self._database
        with database.writing() as connection:
            if migrations.make(database, connection, query_on(connection)):
                begin(database, connection, self.projections)
        self._is_made = True

    # --- reading

    @property
    def exists(self) -> bool:
        """Whether the store existed when it was last looked for; `open` says what makes it."""
        return self._is_made

    def check_made(self) -> None:
        """Raise if the store does not exist yet.

        Raises:
            StoreNotFound: It does not.
        """
        if not (self._is_made or self._looks_made()):
            raise StoreNotFound(path=self._database.path)

    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run one SELECT of your own, and return all its rows as tuples.

        Args:
            sql: The SELECT, with `?` for each parameter.
            parameters: Their values, in a list or tuple.
            passing: For a large read: its pages are kept out of the cache.

        Raises:
            InvalidValue: `sql` is not one SELECT, `parameters` is a text, a time among them has no
                timezone, or a text is not Unicode.
            LimitExceeded: A whole number among the parameters has more than 64 bits.
            StoreNotFound: The store was opened with `read_only=True`, and does not exist yet.
            StorageFailed: The database refuses the SELECT.
            BatchFailed: This thread has a batch open, and commands that it answered are lost.
            BatchOpen: The store is in memory, and another task of this thread has a batch open.
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
        if batch is None and self._database.in_memory:  # the batch has its only connection
            self.check_no_batch("a query from another task")
        return self._committed(query, sql, parameters, passing=passing)

    def _committed(
        self,
        query: Callable[..., list[Any]],
        sql: str,
        parameters: Sequence[object],
        *,
        passing: bool = False,
    ) -> list[tuple[Any, ...]]:
        """All rows of one SELECT of what is committed; a store not made yet reads as empty."""
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
    """The time of a clock that a caller gave, in UTC."""
    return rules.moment("now", now())
