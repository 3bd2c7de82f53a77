"""PostgreSQL: connections and transactions.

One transaction at a time writes an application's log: its advisory lock is the first thing that a
writer takes. Each statement that follows sees all that was committed before (READ COMMITTED), so
that what a writer reads under the lock cannot change until it commits. The beginning and the end of
a writer's transaction take one round trip each.
"""

from __future__ import annotations

import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg

from sessions import forks
from sessions.errors import OutcomeUnknown
from sessions.postgres.connection import BEGIN, Collected, PostgresConnection
from sessions.postgres.failures import PostgresFailures, is_gone, reason_of
from sessions.postgres.listening import Listener
from sessions.postgres.lock import IS_HELD, Locks, digest, held_by
from sessions.postgres.place import place_of
from sessions.postgres.pool import Connections
from sessions.postgres.reaching import Reaching
from sessions.postgres.relations import PostgresRelations
from sessions.sql import dialect
from sessions.sql.begun import Begun
from sessions.sql.connection import Connection, ending
from sessions.sql.database import LOCK_TIMEOUT, LogMoved
from sessions.sql.shown_url import without_password
from sessions.sql.signals import signal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sessions.sql.connection import Statement
    from sessions.sql.database import StillHeld
    from sessions.sql.head import Head

T = TypeVar("T")

_POLL_SECONDS = 0.2
"""How often a follower polls, in case a notification is lost."""

_ONLY_READS = ("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", ())
_ROLLBACK = ("ROLLBACK", ())
_NOTIFY = "SELECT pg_notify(?, '')"
_BEGIN_WRITING = "SELECT * FROM begin_writing(?, ?, ?)"
_CONFIRM = "SELECT confirm_writing(?, ?, ?, ?, ?)"


class PostgresDatabase(PostgresRelations):
    """The connections to one schema of a PostgreSQL database.

    They come from one pool, for readers and for the writer; threads may share it, and a forked
    child opens a pool of its own.
    """

    works_beside = True
    page = 1000

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._place = place_of(url)
        self.path = without_password(url)
        self.dialect = dialect.POSTGRES
        self.lock_timeout = lock_timeout
        self.poll_seconds = _POLL_SECONDS
        self.signal = signal_of(self.path)
        self._failures = PostgresFailures(self.path, lock_timeout)
        self._locks = Locks(self._place.schema)
        self._channel = f"sessions_{digest(self._place.schema).hex()[:16]}"
        self._connections = Connections(self._place, lock_timeout, self._failures)
        self._reaching = Reaching(self._place.server, self._connections, lock_timeout)
        self._start()
        forks.watch_and_hold(self)
        with self._failures:
            self._reaching.first()

    def _start(self) -> None:
        self._mutex = threading.Lock()
        self._begin_alone()
        self._listener: Listener | None = None

    @property
    def failures(self) -> PostgresFailures:
        """Turns the database's errors into the store's."""
        return self._failures

    @property
    def exists(self) -> bool:
        """Whether there is something to read: the schema may be empty, or not be there yet."""
        return True

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._connections.closed

    # --- reading

    def query(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        passing: bool = False,  # noqa: ARG002  SQLite's readers differ
    ) -> list[Any]:
        """All rows of one SELECT, as tuples; asked again if the server went away meanwhile."""
        return self._asked([(sql, parameters)], 0)

    def query_of_others(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        passing: bool = False,  # noqa: ARG002  SQLite's readers differ
    ) -> list[Any]:
        """`query`, in a transaction that only reads and is rolled back: nothing stays set."""
        return self._asked([_ONLY_READS, (sql, parameters), _ROLLBACK], 1)

    def _asked(self, statements: Sequence[Statement], which: int) -> list[Any]:
        """The rows of one of several statements that are sent at once."""

        def asked() -> list[Any]:
            connection = self._connections.take()
            try:
                return connection.read(statements)[which].fetchall()
            finally:
                connection.end()

        with self._failures:
            return self._reaching.until_reached(asked)

    @contextmanager
    def private(self) -> Iterator[PostgresConnection]:
        """A connection that nobody else uses, with temporary tables of its own."""
        with self._failures, closing(self._connections.connect()) as raw:
            raw.execute("SET default_transaction_read_only = off")
            yield PostgresConnection(raw)

    @contextmanager
    def snapshot(self, connection: Connection, relations: Sequence[str] = ()) -> Iterator[None]:
        """A transaction whose statements all see one and the same commit."""
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        with ending(connection, ["COMMIT"], ["ROLLBACK"]):
            if relations:  # before the first look: a name is not part of what it sees
                connection.execute(f"LOCK TABLE {', '.join(relations)} IN ACCESS SHARE MODE")
            yield

    # --- writing

    def begin(
        self,
        known: Callable[[], Head | None],
        application_id: int,
        asking: Callable[[], Sequence[Statement]] = tuple,
        *,
        lock: bool = True,
    ) -> Begun:
        """Begin a transaction that has the application's lock, in one round trip.

        Without `lock` the commit takes it, in its own round trip, and finds out whether the log has
        moved: if not, what was read meanwhile is right.
        """
        locks = (self._locks.store, self._locks.of(application_id), application_id)

        def begun(taken: PostgresConnection, rows: list[list[Any]]) -> Begun:
            head, news, *answers = rows
            return Begun(taken, head, news, answers, session=taken.raw.number)

        def begun_late(taken: PostgresConnection, _: object) -> Begun:
            return Begun(taken, None, is_late=True, session=taken.raw.number)

        def begin() -> Begun:
            left = known()
            if not lock and left is not None:
                confirmed = (*locks, left.position, left.signature)
                return self._connections.begun((), begun_late, confirmed)
            since = sys.maxsize if left is None else left.position
            first = [(_BEGIN_WRITING, locks), (self.dialect.news, (application_id, since))]
            return self._connections.begun([*first, *asking()], begun)

        return self._locked(begin)

    def _locked(self, begin: Callable[[], T]) -> T:
        """Begin a transaction once no other thread has one, which might change what is known."""
        self._enter()
        try:
            return self._reached(begin)
        except BaseException:
            self._leave()
            raise

    def _reached(self, begin: Callable[[], T]) -> T:
        try:
            return self._reaching.until_reached(begin)
        except psycopg.Error as error:
            raise self._failures.of(error) from error

    def ask(self, connection: Connection, statements: Sequence[Statement]) -> list[list[Any]]:
        """The rows of each of several SELECTs, in one round trip."""
        return [answer.fetchall() for answer in _own(connection).ask(statements)]

    def look(self, connection: Connection, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT in a transaction, which goes on as it was."""
        return _own(connection).look(sql, parameters)

    def goes_on(self, connection: Connection) -> bool:
        """Whether a transaction that has begun can still be committed."""
        return _own(connection).goes_on

    def commit(
        self,
        known: Head,  # noqa: ARG002  SQLite has to know
        connection: Connection,
        write: Callable[[Connection], bool],
    ) -> None:
        """Call `write`, and make the transaction durable, in one round trip."""
        taken, collected = _own(connection), Collected()
        if taken.confirms is not None:
            collected.execute(BEGIN)
            collected.execute(_CONFIRM, taken.confirms)
        written = write(collected)
        if written:
            collected.execute(_NOTIFY, (self._channel,))
        collected.execute("COMMIT")
        try:
            taken.ask(collected.statements)
        except psycopg.Error as error:
            late = taken.confirms is not None and isinstance(error, psycopg.IntegrityError)
            if late or error.sqlstate == dialect.LOG_MOVED:  # or a key was answered meanwhile
                raise LogMoved from error
            if is_gone(error):
                raise OutcomeUnknown(path=self.path, reason=reason_of(error)) from error
            raise self._failures.of(error) from error
        if written:
            self.signal.give()

    def end(self, connection: Connection) -> None:
        """Roll back what is not committed, and release the lock."""
        taken: Any = connection  # nothing is called for it: an interrupt would keep it taken
        if self._is_ended:
            return
        try:
            taken.end()
        except BaseException:
            taken.end()  # an interrupt may have come as it began
            raise
        finally:
            self._owner = None
            self._lock.release()  # no call of `_leave`: an interrupt could come at it

    @contextmanager
    def writing(self, what: str | None = None) -> Iterator[Connection]:
        """A transaction that commits at its end, with the lock of the whole store or of `what`."""
        locks = self._locks.taken_for(what)

        def begun() -> PostgresConnection:
            return self._connections.begun(locks, lambda taken, _: taken)

        connection = self._locked(begun) if what is None else self._reached(begun)
        try:
            with self._failures:
                yield connection
                connection.ask([(_NOTIFY, (self._channel,)), ("COMMIT", ())])
        finally:
            if what is None:
                self.end(connection)
            else:
                connection.end()
        self.signal.give()

    @contextmanager
    def held(self, what: str) -> Iterator[StillHeld | None]:
        """Hold a lease, which only one of all processes can hold, by a connection of its own."""
        if self.is_held(what):
            yield None
            return
        lock = self._locks.of_lease(what)
        with self.private() as connection, held_by(connection, lock) as held:
            yield held

    def is_held(self, what: str) -> bool:
        """Whether somebody holds a lease; it takes none, and no connection of its own."""
        return bool(self.query(IS_HELD, (self._locks.of_lease(what),)))

    def is_standby(self) -> bool:
        """Whether it follows another server: it may lag then, and leases are not known here."""
        ((is_standby,),) = self.query("SELECT pg_is_in_recovery()")
        return bool(is_standby)

    def close(self) -> None:
        """Close the connections; what is at work is finished first."""
        self._connections.close()
        self.signal.give()
        with self._mutex:  # from now on nobody begins to listen
            listener = self._listener
        if listener is not None:
            listener.stop()

    def begin_again_in_child(self) -> None:
        """In a forked child, leave the parent's connections to the parent."""
        self._connections.begin_again_in_child()
        self._start()

    def asking_once(self) -> AbstractContextManager[None]:
        """Within it, this thread gets an error at once if the server is away."""
        return self._reaching.once()

    def listen(self) -> None:
        """Hear of other processes' commits from now on; without this, a follower polls."""
        with self._mutex:
            if self._connections.closed:
                return
            if self._listener is None:
                self._listener = Listener(self._connections.connect, self._channel, self.signal)
            self._listener.begin()
        self._listener.wait()


def _own(connection: Connection) -> PostgresConnection:
    """A connection that the store got from here, as what it is."""
    return cast("PostgresConnection", connection)
