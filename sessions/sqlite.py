"""SQLite: connections and transactions.

The store's promises rest on a few settings: WAL (readers never wait for a writer),
`synchronous=FULL` (an answer is on disk) and `BEGIN IMMEDIATE` (a transaction that will write has
the lock before it reads, so that nothing it read can change).
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from sessions import dialect, forks
from sessions.database import HEAD, LOCK_TIMEOUT, Begun, Connection, Database, Failures
from sessions.errors import (
    Duplicate,
    NotAStore,
    StorageFailed,
    StoreBusy,
    StoreClosed,
    StoreNotFound,
)
from sessions.signals import Signal, signal_of
from sessions.sqlite_lock import held_file, held_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sessions.database import Head, Query, Statement

MEMORY = ":memory:"

_CHECKPOINT_PAGES = 4000
"""How long the log of SQLite grows before it is written back: hot pages are then written once."""

_CACHE_KIB = 16_384
_PASSING_CACHE_KIB = 2_048
"""What is kept of a file by who comes by each page once: more would be memory for nothing."""

_MAPPED_BYTES = 2**30
"""How much of a file is read through a memory map: a read of a large store costs no system call."""

_POLL_SECONDS = 0.02
"""How often a follower looks for what other processes wrote: a look costs some microseconds."""

_PAUSE = (0.0005, 0.002)
"""Seconds between two looks at a lock that another process has: looking costs that process time."""

_DUPLICATE = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: closing one in a child would harm the parent's."""


class _Failures(Failures):
    kind = sqlite3.Error

    def of(self, error: sqlite3.Error) -> Exception:
        """The store's error for one of SQLite's."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreBusy(path=self._path, seconds=self._lock_timeout)
        if code == sqlite3.SQLITE_NOTADB:
            return NotAStore(path=self._path, reason="the file is not a database")
        if getattr(error, "sqlite_errorcode", 0) in _DUPLICATE:
            return Duplicate(path=self._path, reason=error)
        return StorageFailed(path=self._path, reason=error)


class SqliteDatabase(Database):
    """The connections to one database file, or to one database in memory.

    One connection writes, any number read; in memory there is one for both, behind a lock.
    Threads may share it, and a forked child opens connections of its own.
    """

    def __init__(self, path: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self.path = path
        self.dialect = dialect.SQLITE
        self.in_memory = self.made_by_opening = path == MEMORY
        self.lock_timeout = lock_timeout
        self.poll_seconds = _POLL_SECONDS
        self.signal = Signal() if self.in_memory else signal_of(path)
        self._failures = _Failures(path, lock_timeout)
        self._names: set[str] = set()
        self._closed = False
        self._others = 0
        self._left: tuple[object, int] | None = None
        self._writer: sqlite3.Connection | None = None
        self._readers: dict[bool, deque[sqlite3.Connection]] = {False: deque(), True: deque()}
        self._lock = threading.RLock()
        forks.watch_and_hold(self)

    @property
    def failures(self) -> _Failures:
        """Turns the database's errors into the store's."""
        return self._failures

    def relations(self, query: Query) -> set[str]:
        """The names of all relations in the database."""
        return {name for (name,) in query("SELECT name FROM sqlite_master", ())}

    def prepare(self, connection: Connection) -> None:
        """A file is ready."""

    def listen(self) -> None:
        """There is nothing to hear of other processes: a follower looks by itself."""

    @property
    def exists(self) -> bool:
        """Whether there is something to read."""
        return self._writer is not None or (not self.in_memory and Path(self.path).exists())

    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """All rows of one SELECT, as tuples.

        `passing` is for a page of a long pass over the log, which must not fill the memory.
        """
        if self.in_memory:
            with self._lock, self._failures:
                return list(self._writing_connection().execute(sql, parameters))
        connection = self._take_reader(passing=passing)
        try:
            with self._failures:
                return list(connection.execute(sql, parameters))
        finally:
            self._give_back(connection, passing=passing)

    def _take_reader(self, *, passing: bool) -> sqlite3.Connection:
        try:
            return self._readers[passing].pop()
        except IndexError:
            connection = self._connect(must_exist=True)
            connection.execute("PRAGMA query_only = ON")
            if passing:
                connection.execute(f"PRAGMA cache_size = -{_PASSING_CACHE_KIB}")
            else:
                connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
            return connection

    def _give_back(self, connection: sqlite3.Connection, *, passing: bool) -> None:
        if self._closed:
            connection.close()
        else:
            self._readers[passing].append(connection)

    @contextmanager
    def private(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses, with temporary tables of its own."""
        if self.in_memory:
            with self._lock, self._failures:
                yield self._writing_connection()
            return
        connection = self._connect(must_exist=True)
        try:
            with self._failures:
                connection.execute(f"PRAGMA cache_size = -{_PASSING_CACHE_KIB}")
                yield connection
        finally:
            connection.close()

    @contextmanager
    def snapshot(
        self,
        connection: Connection,
        relations: Sequence[str] = (),  # noqa: ARG002  its names are part of what it sees
    ) -> Iterator[None]:
        """A transaction all of whose statements see one and the same commit."""
        connection.execute("SAVEPOINT snapshot")
        try:
            yield
        finally:
            connection.execute("RELEASE snapshot")

    def begin(
        self,
        known: Head | None,
        application_id: int,
        *,
        lock: bool = True,  # noqa: ARG002  it costs nothing here
    ) -> Begun:
        """Begin a transaction that has the lock: there is one for all applications."""
        connection = self._begin()
        try:
            with self._failures:
                ((others,),) = connection.execute("PRAGMA data_version")
                self._others = others
                if known is not None and self._left == (known, others):
                    return Begun(connection, None)
                head = connection.execute(HEAD, (application_id,)).fetchall()
                if known is None:
                    return Begun(connection, head)
                news = connection.execute(self.dialect.news, (application_id, known.position))
                return Begun(connection, head, news.fetchall())
        except BaseException:
            self.end(connection)
            raise

    def ask(self, connection: Connection, statements: Sequence[Statement]) -> list[list[Any]]:
        """The rows of each of several SELECTs."""
        return [connection.execute(*statement).fetchall() for statement in statements]

    def _begin(self) -> sqlite3.Connection:
        if not self._lock.acquire(timeout=self.lock_timeout):
            raise StoreBusy(path=self.path, seconds=self.lock_timeout)
        try:
            with self._failures:
                connection = self._writing_connection()
                try:
                    self._until_not_busy(connection, "BEGIN IMMEDIATE")
                except BaseException:
                    if connection.in_transaction:  # an interrupt came when it had begun
                        connection.execute("ROLLBACK")
                    raise
        except BaseException:
            self._lock.release()
            raise
        return connection

    def commit(
        self, known: Head, connection: Connection, write: Callable[[Connection], bool]
    ) -> None:
        """Let a function write, and make the transaction durable."""
        self._left = None
        with self._failures:
            written = write(connection)
            connection.execute("COMMIT")
        self._left = known, self._others
        if written:
            self.signal.give()

    def end(self, connection: Connection) -> None:
        """Roll back what is not committed, and give the lock to the next."""
        try:
            if cast("sqlite3.Connection", connection).in_transaction:
                connection.execute("ROLLBACK")
        finally:
            self._lock.release()

    @contextmanager
    def writing(
        self,
        what: str | None = None,  # noqa: ARG002  there is one lock for everything
    ) -> Iterator[Connection]:
        """A transaction that has the lock, and commits at its end."""
        connection = self._begin()
        self._left = None
        try:
            with self._failures:
                yield connection
                connection.execute("COMMIT")
        finally:
            self.end(connection)
        self.signal.give()

    def held(self, what: str) -> AbstractContextManager[bool]:
        """Whether this is the only one, of all processes, that holds something."""
        if self.in_memory:
            return held_name(self._names, what)
        return held_file(self.path, what)

    def rename(self, connection: Connection, table: str, to: str) -> None:
        """Rename a relation; what people made of its name goes with the name."""
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute(f"ALTER TABLE {table} RENAME TO {to}")
        connection.execute("PRAGMA legacy_alter_table = OFF")

    def handing_on(
        self,
        connection: Connection,  # noqa: ARG002
        tables: Sequence[str],  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """There are no roles, and a view goes by the name."""
        return nullcontext()

    def close(self) -> None:
        """Wait for the writer, and close; a reader that is at work closes when it is done."""
        self.signal.give()
        with self._lock:
            self._closed = True
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
        for idle in self._readers.values():
            while idle:
                idle.pop().close()

    def _writing_connection(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = self._connect(must_exist=False)
        return self._writer

    def _connect(self, *, must_exist: bool) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosed
        if must_exist and not self.exists:
            raise StoreNotFound(path=self.path)
        name = (
            MEMORY
            if self.in_memory
            else f"file:{quote(self.path)}?mode={'rw' if must_exist else 'rwc'}"
        )
        with self._failures:
            connection = sqlite3.connect(
                name,
                uri=not self.in_memory,
                timeout=self.lock_timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                self._configure(connection, writes=not must_exist)
            except BaseException:
                connection.close()
                raise
        return connection

    def _configure(self, connection: sqlite3.Connection, *, writes: bool) -> None:
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if self.in_memory or not writes:
            return
        # SQLite does not wait by itself where several processes make the same file at once; and
        # where it does, it sleeps longer and longer, up to 100 ms beside a lock that is free.
        connection.execute("PRAGMA busy_timeout = 0")
        self._until_not_busy(connection, "PRAGMA journal_mode = WAL")

    def _until_not_busy(self, connection: sqlite3.Connection, statement: str) -> None:
        deadline = None
        while True:
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                deadline = deadline or time.monotonic() + self.lock_timeout
                if time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(*_PAUSE))  # noqa: S311
            else:
                return

    def begin_again_in_child(self) -> None:
        """After a fork: the parent's connections stay the parent's, its locks are not ours."""
        self._lock = threading.RLock()
        self._left = None
        if self.in_memory:
            if self._writer is not None and self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return
        for idle in self._readers.values():
            _inherited.extend(idle)
        self._readers = {False: deque(), True: deque()}
        if self._writer is not None:
            _inherited.append(self._writer)
            self._writer = None
