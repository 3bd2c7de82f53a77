"""What the store asks of a database; the packages `sqlite` and `postgres` implement it.

Statements are written once, with `?` for each parameter. If the databases differ, a `Dialect` says
how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sessions.news import News
from sessions.sql.one_at_a_time import OneAtATime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from sessions.sql.begun import Begun
    from sessions.sql.connection import Connection, Query, Statement
    from sessions.sql.dialect import Dialect
    from sessions.sql.failures import Failures
    from sessions.sql.head import Head
    from sessions.sql.signals import Signal

    StillHeld = Callable[[], bool]

LOCK_TIMEOUT = 30.0
"""Seconds that a writer waits for other writers."""


class StillRead(News):
    """Another transaction reads what is to be renamed or dropped."""


class LogMoved(News):
    """Others have written since what was known; this transaction wrote nothing."""


class Database(OneAtATime, ABC):
    """The connections to one database. Threads may share it.

    Attributes:
        path: What errors call it; never with a password.
        dialect: Its own SQL, where the databases differ.
        in_memory: Whether it is gone when it is closed.
        works_beside: Whether a server does the work, in parallel with this process.
        page: How many rows of a log are best read at once: so few that the processor still has them
            in its cache when they are used, or enough to be worth a round trip.
        made_by_opening: Whether opening it for writing makes the store; else the first command
            does.
        lock_timeout: Seconds that a writer waits for other writers.
        signal: Given after each commit in this process, and for each other one that is heard of.
        poll_seconds: Seconds between two polls of a follower.
    """

    dialect: Dialect
    in_memory: bool = False
    works_beside: bool = False
    page: int = 200
    made_by_opening: bool = True
    signal: Signal
    poll_seconds: float

    @property
    @abstractmethod
    def failures(self) -> Failures:
        """Turns the database's errors into the store's."""

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is something to read."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether nothing can be asked any more."""

    @abstractmethod
    def relations(self, query: Query) -> set[str]:
        """The names of all relations in the store's file or schema."""

    @abstractmethod
    def columns(self, query: Query, names: Sequence[str]) -> set[tuple[str, str]]:
        """The columns of those relations that exist: pairs of relation and column."""

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """Make room for a new store."""

    @abstractmethod
    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """All rows of one SELECT, as tuples.

        `passing` is for a page of a long pass over the log, which must not fill the cache.
        """

    def query_of_others(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """`query` for people's own SQL: nothing that it sets is left to the next query."""
        return self.query(sql, parameters, passing=passing)

    @abstractmethod
    def private(self) -> AbstractContextManager[Connection]:
        """A connection that nobody else uses, with temporary tables of its own."""

    @abstractmethod
    def snapshot(
        self, connection: Connection, relations: Sequence[str] = ()
    ) -> AbstractContextManager[None]:
        """A transaction whose statements all see one and the same commit.

        None of the relations is renamed before it ends.
        """

    def any_text(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002  for those that need it
        """Within it, stored text that is no valid text is read as bytes."""
        return nullcontext()

    @abstractmethod
    def begin(
        self,
        known: Callable[[], Head | None],
        application_id: int,
        asking: Callable[[], Sequence[Statement]] = tuple,
        *,
        lock: bool = True,
    ) -> Begun:
        """Begin a transaction that has an application's lock; `end` must follow, in its thread.

        Args:
            known: Tells the head that the last `commit` was given. It is called when no other
                thread of this process is in a transaction, since that one may move the head.
            application_id: The application whose log is written.
            asking: The SELECTs that the transaction will need, if that is known; they are asked at
                once if that saves a round trip.
            lock: Take the lock at once. Otherwise, if it costs a round trip, `commit` takes it
                before anything is written: for a writer that found last time that nobody else
                wrote.

        Raises:
            StoreBusy: Others held the lock for too long.
        """

    @abstractmethod
    def ask(self, connection: Connection, statements: Sequence[Statement]) -> list[list[Any]]:
        """The rows of each of several SELECTs, in one round trip."""

    @abstractmethod
    def look(self, connection: Connection, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT in a transaction, which goes on as it was.

        A statement that would write is refused.
        """

    @abstractmethod
    def goes_on(self, connection: Connection) -> bool:
        """Whether a transaction that has begun can still be committed."""

    @abstractmethod
    def commit(
        self, known: Head, connection: Connection, write: Callable[[Connection], bool]
    ) -> None:
        """Call `write`, which tells whether it wrote, and make the transaction durable.

        Args:
            known: The head after the commit, to be given to the next `begin`.
            connection: The transaction's.
            write: Called with a connection to write with.

        Raises:
            OutcomeUnknown: The connection was lost before the answer came.
            LogMoved: The lock was not taken at once, and others have written meanwhile.
        """

    @abstractmethod
    def end(self, connection: Connection) -> None:
        """Roll back what is not committed, and release the lock."""

    @abstractmethod
    def writing(self, what: str | None = None) -> AbstractContextManager[Connection]:
        """A transaction that commits at its end, and has the lock of the whole store.

        With `what`, it has only the lock of that, and the log may be written meanwhile, if the
        database can do that.
        """

    def clearing(self) -> AbstractContextManager[Connection]:
        """`writing`, to rename and drop relations.

        Raises:
            StillRead: Another transaction reads one, perhaps for long, and writers must not wait.
        """
        return self.writing()

    @abstractmethod
    def held(self, what: str) -> AbstractContextManager[StillHeld | None]:
        """Hold a lease, which only one of all processes can hold, without waiting for it.

        The holder loses it when it ends, however it ends, and may lose it before. So it is given a
        function that tells whether it still has the lease; None if somebody else has it.
        """

    def is_held(self, what: str) -> bool:
        """Whether somebody holds a lease; a database that can only try takes it for a moment."""
        with self.held(what) as held:
            return held is None

    def is_standby(self) -> bool:
        """Whether it follows another server: it may lag then, and leases are not known here."""
        return False

    @abstractmethod
    def rename(self, connection: Connection, table: str, to: str) -> None:
        """Rename a relation in a transaction."""

    def check_owned(self, tables: Collection[str]) -> None:
        """Raise if one of these relations exists and cannot be renamed.

        Raises:
            StorageFailed: One belongs to another role.
        """

    @abstractmethod
    def handing_on(
        self, connection: Connection, tables: Sequence[str]
    ) -> AbstractContextManager[None]:
        """Within it, rename relations: what people granted and built on them follows the names.

        It then belongs to the relations that have the names at the end.

        Raises:
            DependentView: A view that people made cannot be made again.
            DependentPolicy: A policy cannot be made again.
        """

    def asking_once(self) -> AbstractContextManager[None]:
        """Within it, this thread gets an error at once if the database is away, without waiting."""
        return nullcontext()

    @abstractmethod
    def listen(self) -> None:
        """Begin to give the signal for commits of other processes too, if these can be heard."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the writer, and close; a reader that is at work closes when it is done."""

    @abstractmethod
    def begin_again_in_child(self) -> None:
        """In a forked child, leave the parent's connections and locks to the parent."""
