"""SessionStore: the door to the database."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from sessions import answers, clock, inline, migrations, rules
from sessions.answers import Executed, Request
from sessions.batch import Batch
from sessions.database import LOCK_TIMEOUT, Database, query_on
from sessions.errors import BatchOpen, InvalidValue, StoreNotFound, StoreReadOnly, StoreTooOld
from sessions.mapper import Mapper
from sessions.reader import StoreReader
from sessions.recorder import SessionRecorder
from sessions.shared_commits import Job, SharedCommits
from sessions.url import database_of
from sessions.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from sessions.commands import Command
    from sessions.events import Recorded


class SessionStore(StoreReader):
    """The customer sessions of one application: all that happened, in one log.

    Open it with `SessionStore.open`. Threads may share it; processes each open their own, also
    after a fork. It is a context manager that closes it.
    """

    def __init__(
        self,
        database: Database,
        application_id: int,
        *,
        read_only: bool = False,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self.application_id = rules.count("applicationId", application_id)
        self.mapper = Mapper()
        self.recorder = SessionRecorder(database, self.application_id)
        self._database = database
        self._read_only = read_only
        self._projections = inline.installed()
        self._writer = Writer(self.recorder, self.mapper, self._projections, now)
        self._commits = SharedCommits(
            self._writer.perform, path=database.path, timeout=database.lock_timeout
        )
        self._batches = threading.local()
        self._is_made = self._looks_made() if read_only else self._is_made_or_moved_forward()
        if self._is_made and not read_only:
            self._writer.check_views(self.recorder.head(database.query).views)

    @classmethod
    def open(
        cls,
        url: str,
        application_id: int = 1,
        *,
        read_only: bool = False,
        lock_timeout: float = LOCK_TIMEOUT,
        now: Callable[[], datetime] = clock.now,
    ) -> Self:
        """Open the store at a URL; the first command makes it, reading never does.

        Args:
            url: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `memory:` (SQLite in
                memory: the same code and all features, gone when it is closed).
            application_id: The application whose sessions these are, from 1.
            read_only: Refuse commands, and do not ask for the store's inline views.
            lock_timeout: Seconds to wait for other writers.
            now: The clock, for tests.

        Raises:
            InvalidURL: It names no place where a store can be.
            NotAStore: There is something else.
            StoreTooNew: A newer version of this library made it.
            ViewsDiffer: Its writers keep other inline views: run `sessions rebuild`.
        """
        if lock_timeout < 0:
            raise InvalidValue(field="lock_timeout", rule="seconds >= 0", value=lock_timeout)
        database = database_of(url, lock_timeout=lock_timeout)
        try:
            return cls(database, application_id, read_only=read_only, now=now)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Finish the commands that were accepted, refuse further ones, and close the connections.

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

    # --- writing

    def execute(  # noqa: PLR0913  all but the first two have defaults
        self,
        session_id: str,
        command: Command,
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Executed:
        """Decide a command for a session and record what it does, durably.

        Args:
            session_id: The session's integrationId, 1 to 1000 characters.
            command: What is asked.
            idempotency_key: Makes a retry safe, for ever: the same key with the same session and
                fields gives the first answer again and writes nothing. 1 to 255 characters.
            expected_version: The version that the session must be at; 0: it must not exist.
            metadata: Who and why, kept with the events: `actor`, `correlationId`,
                `causationId`, and any other JSON.
            dry_run: Answer what would happen, and write nothing.

        Raises:
            Refused: A rule forbids it; the class and its fields say which.
            VersionConflict: The session is at another version than expected.
            IdempotencyKeyReused: The key was used for something else.
            StoreBusy: Other writers held the lock for too long; a retry can help.
        """
        request = Request(session_id, command, expected_version)
        return self._run([request], idempotency_key, metadata, dry_run=dry_run)[0]

    def execute_many(  # noqa: PLR0913
        self,
        session_id: str,
        commands: Sequence[Command],
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """Execute commands for a session in one transaction, all of them or none.

        Arguments and errors are those of `execute`; the answer has an `Executed` a command.
        """
        expected = [expected_version, *[None] * (len(commands) - 1)]
        requests = [
            Request(session_id, command, version)
            for command, version in zip(commands, expected, strict=False)
        ]
        return self._run(requests, idempotency_key, metadata, dry_run=dry_run)

    def execute_all(
        self,
        commands: Sequence[tuple[str, Command]],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """Execute commands, each for a session of its own, in one transaction: all or none.

        Arguments and errors are those of `execute`; the answer has an `Executed` a command.
        """
        requests = [Request(session_id, command) for session_id, command in commands]
        return self._run(requests, idempotency_key, metadata, dry_run=dry_run)

    def answered(self, idempotency_key: str) -> list[Executed] | None:
        """What was answered under an idempotency key; None if it is not used yet."""
        kept = self.recorder.answer(self.query, idempotency_key)
        return kept and answers.from_json(kept[1], self._between)

    def check_no_batch(self, what: str) -> None:
        """Refuse what needs the store to itself while this thread has a batch open.

        Raises:
            BatchOpen: It has.
        """
        if getattr(self._batches, "current", None) is not None:
            raise BatchOpen(what=what)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Let the commands that this thread executes inside share transactions: a bulk load.

        The rules and the result are those of one by one: a refusal raises for its command alone,
        and reads in this thread see the batch's own writes. It commits every 1000 commands, after
        a second, and at the end; an exception that leaves it drops only what is not committed.
        Other writers wait while it holds the lock.
        """
        outer: Batch | None = getattr(self._batches, "current", None)
        if outer is not None:
            yield outer
            return
        self._batches.current = batch = Batch(self._writer)
        try:
            yield batch
            batch.commit()
        finally:
            self._batches.current = None
            batch.abandon()

    def _run(
        self,
        requests: Sequence[Request],
        key: str | None,
        metadata: Mapping[str, Any] | None,
        *,
        dry_run: bool,
    ) -> list[Executed]:
        for request in requests:
            rules.text("integrationId", request.session_id)
            if request.expected_version is not None:
                rules.count("expectedVersion", request.expected_version, least=0)
        if key is not None:
            rules.text("idempotencyKey", key, most=rules.MAX_KEY)
        meta = rules.metadata("metadata", metadata) if metadata else {}
        self._check_writable(dry_run=dry_run)
        batch: Batch | None = getattr(self._batches, "current", None)
        if batch is not None:
            return batch.run(requests, key, meta, dry_run=dry_run)
        return self._commits.do(Job(requests, key, meta, dry_run=dry_run))

    def _check_writable(self, *, dry_run: bool) -> None:
        if self._read_only:
            raise StoreReadOnly(path=self._database.path)
        if not self._is_made:
            if dry_run:
                raise StoreNotFound(path=self._database.path)
            self._make()

    def _looks_made(self) -> bool:
        return self._database.exists and migrations.is_store(self._database)

    def _is_made_or_moved_forward(self) -> bool:
        try:
            made = self._looks_made()
        except StoreTooOld:
            self._make()
            return True
        if not made and self._database.made_by_opening:
            self._make()
            return True
        return made

    def _make(self) -> None:
        database = self._database
        with database.writing() as connection:
            if migrations.make(database, connection, query_on(connection)):
                inline.create(connection, self._projections, database.dialect)
        self._is_made = True

    # --- reading

    @property
    def exists(self) -> bool:
        """Whether something was written: the first command makes a store."""
        return self._is_made

    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """All rows of one SELECT as tuples: for projections, and for a look of your own.

        Args:
            sql: The SELECT, with `?` for each parameter.
            parameters: Their values.
            passing: It is a page of a long pass: what it reads is not kept in memory.

        Raises:
            StoreNotFound: Nothing was written yet.
        """
        batch: Batch | None = getattr(self._batches, "current", None)
        if batch is not None and batch.is_open:
            return batch.query(sql, parameters)
        if not self._is_made:
            self._is_made = self._looks_made()
            if not self._is_made:
                raise StoreNotFound(path=self._database.path)
        return self._database.query(sql, parameters, passing=passing)

    def _between(self, after: int, until: int) -> list[Recorded]:
        return list(self.log(after, until=until))
