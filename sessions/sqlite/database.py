"""SQLite: transactions on one connection that writes, and queries on others."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from sessions import forks
from sessions.sql import dialect
from sessions.sql.begun import Begun
from sessions.sql.connection import Connection, ending
from sessions.sql.database import LOCK_TIMEOUT
from sessions.sql.head import HEAD
from sessions.sql.selects import no_select
from sessions.sql.signals import Signal, signal_of
from sessions.sqlite.connections import Connections
from sessions.sqlite.failures import SqliteFailures
from sessions.sqlite.lock import held_file, held_name
from sessions.sqlite.relations import SqliteRelations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sessions.errors import InvalidValue
    from sessions.sql.connection import Statement
    from sessions.sql.database import StillHeld
    from sessions.sql.head import Head
    from sessions.sqlite.private import Private

_POLL_SECONDS = 0.02
"""How often a follower polls for what other processes wrote; a poll costs some microseconds."""


def _text_or_bytes(kept: bytes) -> str | bytes:
    try:
        return kept.decode()
    except UnicodeDecodeError:
        return kept


class SqliteDatabase(SqliteRelations):
    """The connections to one database file, or to one database in memory.

    One connection writes, any number read; in memory there is one for both, behind a lock.
    Threads may share it, and a forked child opens connections of its own.
    """

    def __init__(self, path: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self.path = path
        self.dialect = dialect.SQLITE
        self.lock_timeout = lock_timeout
        self.poll_seconds = _POLL_SECONDS
        self._failures = SqliteFailures(path, lock_timeout)
        self._connections = Connections(path, lock_timeout, self._failures)
        self.in_memory = self.made_by_opening = self._connections.in_memory
        self.signal = Signal() if self.in_memory else signal_of(path)
        self._names: set[str] = set()
        self._others = 0
        self._application = 0
        self._left: tuple[object, int, int] | None = None
        self._begin_alone()
        forks.watch_and_hold(self)
        forks.watch_gate(self._connections.inside)

    @property
    def failures(self) -> SqliteFailures:
        """Turns the database's errors into the store's."""
        return self._failures

    def listen(self) -> None:
        """Nothing to do: other processes cannot be heard, so a follower polls."""

    @property
    def exists(self) -> bool:
        """Whether there is something to read."""
        return self._connections.exists

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._connections.closed

    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """All rows of one SELECT, as tuples.

        `passing` is for a page of a long pass over the log, which must not fill the cache.
        """
        if self.in_memory:
            with self._taken(), self._failures:
                return self.look(self._connections.writer(), sql, parameters)
        connection = self._connections.take_reader(passing=passing)
        try:
            return list(connection.execute(sql, parameters))
        except sqlite3.Error as error:
            raise self._failures.of(error) from error
        finally:
            self._connections.give_back(connection, passing=passing)

    @contextmanager
    def private(self) -> Iterator[Connection]:
        """A connection that nobody else uses, with temporary tables of its own."""
        if self.in_memory:
            with self._taken(), self._failures:
                yield self._connections.writer()
            return
        with self._failures, self._connections.private() as connection:
            yield connection

    @contextmanager
    def snapshot(
        self,
        connection: Connection,
        relations: Sequence[str] = (),  # noqa: ARG002  its names are part of what it sees
    ) -> Iterator[None]:
        """A transaction whose statements all see one and the same commit."""
        connection.execute("SAVEPOINT snapshot")
        release = ["RELEASE snapshot"]
        with ending(connection, release, release):  # out of memory, SQLite has rolled it back
            yield

    @contextmanager
    def any_text(self, connection: Connection) -> Iterator[None]:
        """Within it, stored text that is not UTF-8 is read as bytes."""
        raw = cast("Private", connection)
        before, raw.text_factory = raw.text_factory, _text_or_bytes
        try:
            yield
        finally:
            raw.text_factory = before

    def begin(
        self,
        known: Callable[[], Head | None],
        application_id: int,
        asking: Callable[[], Sequence[Statement]] = tuple,  # noqa: ARG002  later is as well
        *,
        lock: bool = True,  # noqa: ARG002  it costs nothing here
    ) -> Begun:
        """Begin a transaction that has the lock: there is one for all applications."""
        try:
            connection = self._begin()
            try:
                self._application = application_id
                ((others,),) = connection.execute("PRAGMA data_version")
                self._others = others
                left = known()
                if left is not None and self._left == (left, application_id, others):
                    return Begun(connection, None)
                return self._arrived(connection, left, application_id)
            except BaseException:
                self.end(connection)
                raise
        except sqlite3.Error as error:
            raise self._failures.of(error) from error

    def _arrived(
        self, connection: sqlite3.Connection, known: Head | None, application_id: int
    ) -> Begun:
        """Others have written, or it is the first time."""
        head = connection.execute(HEAD, (application_id,)).fetchall()
        if known is None:
            return Begun(connection, head)
        news = connection.execute(self.dialect.news, (application_id, known.position))
        return Begun(connection, head, news.fetchall())

    def ask(self, connection: Connection, statements: Sequence[Statement]) -> list[list[Any]]:
        """The rows of each of several SELECTs."""
        return [connection.execute(*statement).fetchall() for statement in statements]

    def look(self, connection: Connection, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT in a transaction, which goes on as it was."""
        writer = cast("sqlite3.Connection", connection)
        is_begun = writer.in_transaction
        try:
            writer.execute("PRAGMA query_only = ON")
            rows = list(writer.execute(sql, parameters))
        finally:
            writer.execute("PRAGMA query_only = OFF")
        if writer.in_transaction is not is_begun:
            raise self._no_select(writer, sql)
        return rows

    def _no_select(self, connection: sqlite3.Connection, sql: str) -> InvalidValue:
        """The error for a query that has begun a transaction, or ended the one it was in."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return no_select(sql)

    def goes_on(self, connection: Connection) -> bool:
        """Whether a transaction that has begun can still be committed."""
        writer: Any = connection  # asked at the end of each transaction
        going: bool = writer.in_transaction
        return going

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """Use the only connection of a store in memory, also within this thread's transaction."""
        lock = self._lock  # a forked child that unwinds has another one by then
        self._take_lock()
        try:
            yield
        finally:
            lock.release()

    def _begin(self) -> sqlite3.Connection:
        self._enter()
        try:
            connection = self._connections.writer()
            try:
                self._connections.until_not_busy(connection, "BEGIN IMMEDIATE")
            except BaseException:
                if connection.in_transaction:  # an interrupt came when it had begun
                    connection.execute("ROLLBACK")
                raise
        except BaseException:
            self._leave()
            raise
        return connection

    def commit(
        self, known: Head, connection: Connection, write: Callable[[Connection], bool]
    ) -> None:
        """Call `write`, and make the transaction durable."""
        self._left = None
        try:
            written = write(connection)
            self._connections.check_files()  # a batch may have begun long ago
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failures.of(error) from error
        self._left = known, self._application, self._others
        if written:
            self.signal.give()

    def end(self, connection: Connection) -> None:
        """Roll back what is not committed, and release the lock."""
        if self._is_ended:
            return
        taken: Any = connection  # nothing of ours is called: an interrupt would come as it begins
        try:
            if taken.in_transaction:
                taken.execute("ROLLBACK")
        finally:
            self._owner = None
            self._lock.release()  # no call of `_leave`: an interrupt could come at it

    @contextmanager
    def writing(
        self,
        what: str | None = None,  # noqa: ARG002  there is one lock for everything
    ) -> Iterator[Connection]:
        """A transaction that has the lock, and commits at its end."""
        with self._failures:
            connection = self._begin()
            self._left = None
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                self.end(connection)
        self.signal.give()

    def held(self, what: str) -> AbstractContextManager[StillHeld | None]:
        """Hold a lease, which only one of all processes can hold."""
        if self.in_memory:
            return held_name(self._names, what)
        return held_file(self.path, what, self._connections.inside)

    def close(self) -> None:
        """Wait for the writer, and close; a reader that is at work closes when it is done."""
        with self._taken():
            self._connections.close()
        self.signal.give()

    def begin_again_in_child(self) -> None:
        """In a forked child, leave the parent's connections and locks to the parent."""
        self._begin_alone()
        self._left, self._names = None, set()
        self._connections.begin_again_in_child()
