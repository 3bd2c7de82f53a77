"""SQLite: connections and transactions.

The store's promises rest on a few settings: WAL (readers never wait for a writer),
`synchronous=FULL` (an answer is on disk) and `BEGIN IMMEDIATE` (a transaction that will write has
the lock before it reads, so that nothing it read can change).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eventsourcing.persistence import IntegrityError
from eventsourcing.sqlite import SQLiteCursor, SQLiteDatastore

from sessions import forks
from sessions.errors import NotAStore, StorageFailed, StoreBusy, StoreClosed, StoreNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Query = Callable[[str, Sequence[object]], list[Any]]

MEMORY = ":memory:"
LOCK_TIMEOUT = 30.0
"""Seconds that a writer waits for the others."""

_CHECKPOINT_PAGES = 4000
"""How long the log of SQLite grows before it is written back: hot pages are then written once."""

_CACHE_KIB = 16_384
_MAPPED_BYTES = 2**30
"""How much of a file is read through a memory map: a read of a large store costs no system call."""

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: closing one in a child would harm the parent's."""


Mark = tuple[sqlite3.Connection, int, int]


def query_on(connection: sqlite3.Connection) -> Query:
    """All rows of a SELECT, asked on one connection."""
    return lambda sql, parameters: connection.execute(sql, parameters).fetchall()


class _Failures:
    """Turns the database's errors into the store's."""

    def __init__(self, path: str, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreBusy(path=self._path, seconds=self._lock_timeout)
        if code == sqlite3.SQLITE_NOTADB:
            return NotAStore(path=self._path, reason="the file is not a database")
        return StorageFailed(path=self._path, reason=error)


class Datastore(SQLiteDatastore):
    """The connections to one database file, or to one database in memory.

    One connection writes, any number read; in memory there is one for both, behind a lock.
    Threads may share it, and a forked child opens connections of its own.
    """

    def __init__(self, path: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        super().__init__(path, originator_id_type="text")
        self.path = path
        self.in_memory = path == MEMORY
        self.lock_timeout = lock_timeout
        self.failures = _Failures(path, lock_timeout)
        self._closed = False
        self._written = 0
        self._writer: sqlite3.Connection | None = None
        self._readers: dict[bool, deque[sqlite3.Connection]] = {False: deque(), True: deque()}
        self._lock = threading.RLock()
        forks.watch(self)

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
            with self.reading() as connection:
                return list(connection.execute(sql, parameters))
        connection = self._take_reader(passing=passing)
        try:
            with self.failures:
                return list(connection.execute(sql, parameters))
        finally:
            self._give_back(connection, passing=passing)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with; each statement sees the newest commit."""
        if self.in_memory:
            with self._lock, self.failures:
                yield self._writing_connection()
            return
        connection = self._take_reader(passing=False)
        try:
            with self.failures:
                yield connection
        finally:
            self._give_back(connection, passing=False)

    def _take_reader(self, *, passing: bool) -> sqlite3.Connection:
        try:
            return self._readers[passing].pop()
        except IndexError:
            connection = self._connect(must_exist=True)
            connection.execute("PRAGMA query_only = ON")
            if not passing:
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
            with self.reading() as connection:
                yield connection
            return
        connection = self._connect(must_exist=True)
        try:
            with self.failures:
                yield connection
        finally:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection all of whose statements see one and the same commit."""
        with self.reading() as connection:
            connection.execute("SAVEPOINT snapshot")
            try:
                yield connection
            finally:
                connection.execute("RELEASE snapshot")

    def begin(self) -> sqlite3.Connection:
        """Begin a transaction that has the lock; `end` must follow, in the same thread."""
        if not self._lock.acquire(timeout=self.lock_timeout):
            raise StoreBusy(path=self.path, seconds=self.lock_timeout)
        try:
            with self.failures:
                connection = self._writing_connection()
                connection.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise
        return connection

    def mark(self, connection: sqlite3.Connection) -> Mark:
        """What is the same as long as nobody else has written: no process, and no other part."""
        ((others,),) = connection.execute("PRAGMA data_version")
        return connection, others, self._written

    def end(self, connection: sqlite3.Connection) -> None:
        """Roll back what is not committed, and give the lock to the next."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            self._lock.release()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of another part than the writer, which is told by the mark."""
        connection = self.begin()
        try:
            with self.failures:
                yield connection
                connection.execute("COMMIT")
        finally:
            self._written += 1
            self.end(connection)

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        """Eventsourcing's door to the same transactions."""
        with self.writing() if commit else self.snapshot() as connection:
            try:
                yield SQLiteCursor(connection.cursor())
            except sqlite3.IntegrityError as error:
                raise IntegrityError(error) from error

    def get_connection(self, *, commit: bool) -> Any:  # noqa: ANN401  its type is a private one
        """Eventsourcing's bare connections are not given out: `transaction` is the door."""
        raise NotImplementedError

    def close(self) -> None:
        """Wait for the writer, and close; a reader that is at work closes when it is done."""
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
        with self.failures:
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
        # Several processes may make the same file at once, and SQLite does not wait here by itself.
        deadline = time.monotonic() + self.lock_timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def begin_again_in_child(self) -> None:
        """After a fork: the parent's connections stay the parent's, its locks are not ours."""
        self._lock = threading.RLock()
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
