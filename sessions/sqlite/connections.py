"""The connections to one SQLite database: one that writes, and any number that read.

The store's promises rest on a few settings: WAL (readers never wait for a writer),
`synchronous=FULL` (an answer is on disk) and `BEGIN IMMEDIATE` (a transaction that will write has
the lock before it reads, so that nothing it read can change).
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.parse import quote

from sessions.errors import StoreClosed, StoreNotFound
from sessions.sqlite.files import Files
from sessions.sqlite.inherited import LOCKS
from sessions.sqlite.inside import Inside
from sessions.sqlite.private import Private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.sqlite.failures import SqliteFailures

MEMORY = "memory"
"""What a store in memory has in place of a path, which is absolute."""

IN_MEMORY = ":memory:"
"""SQLite's own name for it."""

_CHECKPOINT_PAGES = 4000
"""How long SQLite's log grows before it is written back, so that hot pages are written once."""

_CACHE_KIB = 16_384
_PASSING_CACHE_KIB = 4_096
"""The cache of a connection that passes over a whole file: more would be memory for nothing. With
half of it a pass over the streams, which come by a page more than once, was slower by a
twentieth."""

_MAPPED_BYTES = 2**30
"""How much of a file is read through a memory map: reading a large store costs no system call."""

_IDLE = 8
"""How many readers of a kind are kept that nobody uses: each has a cache, and open files."""

_PAUSE = (0.0005, 0.002)
"""Seconds between two attempts at a lock of another process: each costs that process time."""

_LOOK_SECONDS = 0.5
"""How often it is checked whether the files still have their names; it costs microseconds."""

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: closing one in a child would harm the parent's."""


class Connections:
    """The connections of a store. In memory there is one, for its readers too.

    Files that were deleted, moved or replaced are refused, as soon as that is noticed.
    """

    def __init__(self, path: str, lock_timeout: float, failures: SqliteFailures) -> None:
        self._path = path
        self._lock_timeout = lock_timeout
        self._failures = failures
        failures.check_version(sqlite3.sqlite_version_info)
        self.closed = False
        self._files = Files(path)
        self._private: set[sqlite3.Connection] = set()
        self._look_at = math.inf if self.in_memory else 0.0
        self._writer: sqlite3.Connection | None = None
        self.inside = Inside()
        self._readers: dict[bool, deque[sqlite3.Connection]] = {False: deque(), True: deque()}

    @property
    def in_memory(self) -> bool:
        """Whether the database is gone when it is closed."""
        return self._path == MEMORY

    @property
    def exists(self) -> bool:
        """Whether there is something to read."""
        return self._writer is not None or (not self.in_memory and Path(self._path).exists())

    def writer(self) -> sqlite3.Connection:
        """The connection that writes; only the holder of the store's lock may use it."""
        if self._writer is None:
            self.check_files()
            self._writer = self._connect(must_exist=False)
        self.check_files()
        return self._writer

    def take_reader(self, *, passing: bool) -> sqlite3.Connection:
        """A connection that reads, perhaps on a pass over the log; `give_back` must follow."""
        self.check_files()
        self.inside.enter()
        try:
            try:
                idle = self._readers[passing].pop()
            except IndexError:
                idle = None
            return idle or self._reader(passing=passing)
        except BaseException:
            self.inside.leave()
            raise

    def _reader(self, *, passing: bool) -> sqlite3.Connection:
        connection = self._connect(must_exist=True)
        connection.execute("PRAGMA query_only = ON")
        if passing:
            connection.execute(f"PRAGMA cache_size = -{_PASSING_CACHE_KIB}")
        else:
            connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        return connection

    def give_back(self, connection: sqlite3.Connection, *, passing: bool) -> None:
        """Let others read with a connection; close it if enough are idle, or all were closed."""
        try:
            idle = self._readers[passing]
            if len(idle) < _IDLE:
                idle.append(connection)
            else:
                connection.close()
            if self.closed:
                self._close_idle()
        finally:
            self.inside.leave()

    @contextmanager
    def private(self) -> Iterator[Private]:
        """A connection that nobody else uses, for reading each page once."""
        with self.inside:
            connection = self._connect(must_exist=True)
            self._private.add(connection)
        try:
            private = Private(connection, self.inside)
            private.execute(f"PRAGMA cache_size = -{_PASSING_CACHE_KIB}")
            yield private
        finally:
            with self.inside:
                self._private.discard(connection)
                connection.close()

    def check_files(self) -> None:
        """Raise if the files were deleted, moved or replaced; they are checked now and then."""
        if monotonic() < self._look_at:
            return
        if self._files.check(is_open=self._is_open):
            self._look_at = monotonic() + _LOOK_SECONDS

    @property
    def _is_open(self) -> bool:
        """Whether a connection is open that stays open."""
        return self._writer is not None or any(self._readers.values())

    def _connect(self, *, must_exist: bool) -> sqlite3.Connection:
        if self.closed:
            raise StoreClosed
        LOCKS.check(self._path)
        if must_exist and not self.exists:
            raise StoreNotFound(path=self._path)
        name = (
            IN_MEMORY
            if self.in_memory
            else f"file:{quote(self._path)}?mode={'rw' if must_exist else 'rwc'}"
        )
        with self._failures:
            connection = sqlite3.connect(
                name,
                uri=not self.in_memory,
                timeout=self._lock_timeout,
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
        connection.execute("PRAGMA fullfsync = ON")  # else macOS leaves it in the drive's cache
        connection.execute("PRAGMA secure_delete = FAST")  # else Debian writes freed pages out
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if self.in_memory or not writes:
            return
        # SQLite does not wait by itself if several processes make the same file at once; and when
        # it does wait, it sleeps longer and longer, up to 100 ms beside a lock that is free.
        connection.execute("PRAGMA busy_timeout = 0")
        self.until_not_busy(connection, "PRAGMA journal_mode = WAL")

    def until_not_busy(self, connection: sqlite3.Connection, statement: str) -> None:
        """Execute a statement as soon as no other process has the lock that it needs."""
        deadline = None
        while True:
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                deadline = deadline or monotonic() + self._lock_timeout
                if monotonic() > deadline:
                    raise
                sleep(random.uniform(*_PAUSE))  # noqa: S311  no secret
            else:
                return

    def close(self) -> None:
        """Close them; one that is reading just now is closed when that is done."""
        self.closed = True
        writer, self._writer = self._writer, None
        with self.inside:
            if writer is not None:
                writer.close()
            self._close_idle()

    def _close_idle(self) -> None:
        for idle in self._readers.values():
            with suppress(IndexError):  # another thread may close some of them
                while True:
                    idle.pop().close()

    def begin_again_in_child(self) -> None:
        """In a forked child, leave the parent's connections to the parent."""
        self.inside.begin_again()
        if self.in_memory:
            if self._writer is not None and self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return
        if self._is_open or self._private:
            check = partial(self._files.check, is_open=self._is_open)
            LOCKS.lock(self._path, check, reads=bool(self._private))
        for idle in self._readers.values():
            _inherited.extend(idle)
        self._readers = {False: deque(), True: deque()}
        if self._writer is not None:
            _inherited.append(self._writer)
            self._writer = None
        _inherited.extend(self._private)
        self._private = set()
        self._files.begin_again()
