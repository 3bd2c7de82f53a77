"""What the store asks of a database; the packages `sqlite` and `postgres` answer it.

Statements are written once, with `?` for each parameter. Where the databases differ, a `Dialect`
says how.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

import msgspec

from sessions.news import News
from sessions.sql.connection import Connection
from sessions.sql.one_at_a_time import OneAtATime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from sessions.sql.connection import Query, Statement
    from sessions.sql.dialect import Dialect
    from sessions.sql.head import Head
    from sessions.sql.signals import Signal

    StillHeld = Callable[[], bool]

LOCK_TIMEOUT = 30.0
"""Seconds that a writer waits for the others."""


class StillRead(News):
    """Somebody reads what is to be renamed or dropped."""


class LogMoved(News):
    """Others have written since what was known; nothing was."""


class Failures(ABC):
    """Turns a database's errors into the store's, where it is entered.

    Attributes:
        kind: What the database's errors are.
    """

    kind: type[Exception]

    def __init__(self, path: str, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.kind):
            raise self.of(error) from error

    @abstractmethod
    def of(self, error: Any) -> Exception:  # noqa: ANN401  each database has its own
        """The store's error for one of the database's."""


class Begun(msgspec.Struct, frozen=True):
    """A transaction that has the lock.

    Attributes:
        connection: Its connection.
        head: The rows of `HEAD`; None where it is proved that they say what is known.
        news: What others wrote since, as rows of `Dialect.event`; `CATCH_UP` of them at most.
        answers: The rows of each SELECT that was to be asked; or none, where later is as well.
        is_late: Whether the lock is taken with the commit only.
    """

    connection: Connection
    head: list[Any] | None
    news: Sequence[Any] = ()
    answers: Sequence[list[Any]] = ()
    is_late: bool = False


class Database(OneAtATime, ABC):
    """The connections to one database. Threads may share it.

    Attributes:
        path: What errors call it; never with a password.
        dialect: Its SQL, where it is its own.
        in_memory: Whether it is gone when it is closed.
        works_beside: Whether a server does the work, beside this process.
        page: So many rows of a log are best read at once: those that the processor still has near
            when they are used, or enough to be worth a round trip.
        made_by_opening: Whether opening it for writing makes the store, or the first command.
        lock_timeout: Seconds that a writer waits for the others.
        signal: Is given after each commit in this process, and for each that is heard of.
        poll_seconds: How often a follower looks by itself.
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
        """The names of all relations that the store's name leads to."""

    @abstractmethod
    def columns(self, query: Query, names: Sequence[str]) -> set[tuple[str, str]]:
        """Those relations of some names that are there, each with each of its columns."""

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """Make room for a new store."""

    @abstractmethod
    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """All rows of one SELECT, as tuples.

        `passing` is for a page of a long pass over the log, which must not fill the memory.
        """

    def query_of_others(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """`query`, of people's own SQL: what it may set is not left to whoever asks next."""
        return self.query(sql, parameters, passing=passing)

    @abstractmethod
    def private(self) -> AbstractContextManager[Connection]:
        """A connection that nobody else uses, with temporary tables of its own."""

    @abstractmethod
    def snapshot(
        self, connection: Connection, relations: Sequence[str] = ()
    ) -> AbstractContextManager[None]:
        """A transaction all of whose statements see one and the same commit.

        None of the relations is renamed before it ends.
        """

    def any_text(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002  for those that need it
        """Within it, what the database keeps as text and is not is read as bytes."""
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
            known: Tells what the last `commit` said will be known; it is asked when no other thread
                of this process is in a transaction, for such a one knows more by its end.
            application_id: The application whose log is written.
            asking: The SELECTs that will be asked in it, if that is known; they are answered at
                once where that saves a round trip.
            lock: Take the lock at once. Where it costs a round trip it is else taken by `commit`,
                before anything is written: for who found the last time that nobody else wrote.

        Raises:
            StoreBusy: Others held the lock for too long.
        """

    @abstractmethod
    def ask(self, connection: Connection, statements: Sequence[Statement]) -> list[list[Any]]:
        """The rows of each of several SELECTs, in one round trip."""

    @abstractmethod
    def look(self, connection: Connection, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT in a transaction, which goes on as it was.

        What would write is refused.
        """

    @abstractmethod
    def goes_on(self, connection: Connection) -> bool:
        """Whether a transaction that has begun can still be committed."""

    @abstractmethod
    def commit(
        self, known: Head, connection: Connection, write: Callable[[Connection], bool]
    ) -> None:
        """Let a function write, which says whether it did, and make the transaction durable.

        Args:
            known: What is known of the log from then on, to be given to the next `begin`.
            connection: The transaction's.
            write: Is given a connection to write with.

        Raises:
            OutcomeUnknown: The connection was lost before the answer came.
            LogMoved: The lock was not taken at once, and others have written meanwhile.
        """

    @abstractmethod
    def end(self, connection: Connection) -> None:
        """Roll back what is not committed, and give the lock to the next."""

    @abstractmethod
    def writing(self, what: str | None = None) -> AbstractContextManager[Connection]:
        """A transaction that commits at its end, and has the lock of everything.

        Where something is named, it has that lock alone, and the log may be written beside it, if
        the database can.
        """

    def clearing(self) -> AbstractContextManager[Connection]:
        """`writing`, of what renames and drops relations.

        Raises:
            StillRead: Somebody reads one, perhaps for long, and writers must not wait for him.
        """
        return self.writing()

    @abstractmethod
    def held(self, what: str) -> AbstractContextManager[StillHeld | None]:
        """Hold something that one of all processes can hold; it does not wait.

        What holds it loses it when it ends, however it ends, and may lose it before. So it is given
        what tells, each time it is asked, whether it still has it; None: somebody else has.
        """

    def is_standby(self) -> bool:
        """Whether it follows another server: then it may lag, and holders are not known here."""
        return False

    @abstractmethod
    def rename(self, connection: Connection, table: str, to: str) -> None:
        """Rename a relation in a transaction."""

    def check_owned(self, tables: Collection[str]) -> None:
        """Refuse to replace relations, those of some names that are there, which cannot be renamed.

        Raises:
            StorageFailed: One is another role's.
        """

    @abstractmethod
    def handing_on(
        self, connection: Connection, tables: Sequence[str]
    ) -> AbstractContextManager[None]:
        """Rename relations inside: what people gave to them, and made of them, follows the names.

        It is then of those relations that have the names at the end.

        Raises:
            DependentView: A view that people made cannot be made again.
            DependentPolicy: A policy cannot.
        """

    def asking_once(self) -> AbstractContextManager[None]:
        """Within it, this thread is told at once where the database is away, and asks no more."""
        return nullcontext()

    @abstractmethod
    def listen(self) -> None:
        """Begin to give the signal for commits of other processes too, where one can hear them."""

    @abstractmethod
    def close(self) -> None:
        """Wait for the writer, and close; a reader that is at work closes when it is done."""

    @abstractmethod
    def begin_again_in_child(self) -> None:
        """After a fork: the parent's connections stay the parent's, its locks are not ours."""
