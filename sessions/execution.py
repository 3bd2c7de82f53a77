"""Executing commands on a store: one by one, several at once, awaited, or in bulk."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

from sessions import rules, tracing
from sessions.batching import StoreWithBatches
from sessions.commits import answers
from sessions.commits.answers import Executed, Request
from sessions.commits.awaited_commits import AwaitedCommits
from sessions.commits.group_commit import GroupCommit
from sessions.commits.job import Job
from sessions.commits.requests import check, of_session, of_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from sessions.commands import Command
    from sessions.commits.writer import Writer
    from sessions.recorded import Recorded


class CommandExecutor(StoreWithBatches):
    """The part of a store that executes commands. Threads may share it, and share commits."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer)
        database = self.recorder.database
        group = GroupCommit(writer, database.path, database.lock_timeout)
        self._commits = AwaitedCommits(
            group.perform, path=database.path, timeout=database.lock_timeout
        )

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a store to write to."""

    @abstractmethod
    def _rehearsal(self) -> AbstractContextManager[Self] | None:
        """An empty store in memory for dry runs while this one is not made yet; else None."""

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
        """Decide a command for a session, and record its events durably.

        Args:
            session_id: The session's integrationId, 1 to 1000 characters.
            command: What is to happen.
            idempotency_key: Makes a retry safe: the same key with the same session, command and
                fields returns the first answer again and writes nothing. It never expires. 1 to 255
                characters.
            expected_version: The version that the session must be at; 0 if it must not exist.
            metadata: Who and why, stored with the events: `actor`, `correlationId`, `causationId`,
                and any other JSON.
            dry_run: Return what would happen, and write nothing.

        Raises:
            Refused: A rule forbids it; the class and its fields say which.
            VersionConflict: The session is not at the expected version.
            IdempotencyKeyReused: The key was used before, for another request.
            StoreReadOnly: The store was opened with `read_only=True`.
            ViewsDiffer: The store's inline views are no longer those that this process has.
            CopyUnfinished: The store is the target of a copy that is not complete.
            UnknownEvent: A newer library wrote an event of the session.
            UndecodableEvent: An event of the session cannot be read.
            StoreBusy: Other writers held the lock for too long; a retry can help.
            QueueFull: Too many callers are waiting already; a retry can help.
            OutcomeUnknown: The connection was lost during the commit, and the store could not find
                out whether it took place: retry with the idempotency key.
            CommitUnderway: A signal handler, a clock or a fold called it while this thread was at a
                commit.
            BatchFailed: This thread has a batch open, and commands that it answered are lost.
            BatchOpen: Another task of this thread has a batch open: await `execute_async`.
        """
        request = Request(session_id, command, expected_version)
        return self._run(self._job([request], idempotency_key, metadata, dry_run=dry_run))[0]

    async def execute_async(  # noqa: PLR0913  as execute
        self,
        session_id: str,
        command: Command,
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Executed:
        """`execute`, awaited: the event loop is not blocked, and tasks share commits like threads.

        Arguments, result and errors are those of `execute`. A task that is cancelled while it waits
        for its turn writes nothing; if it is cancelled later, it may have written.
        """
        request = Request(session_id, command, expected_version)
        job = self._job([request], idempotency_key, metadata, dry_run=dry_run)
        return (await self._run_async(job))[0]

    def execute_many(  # noqa: PLR0913  as execute
        self,
        session_id: str,
        commands: Iterable[Command],
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """Execute commands for one session in one transaction: all of them or none.

        Arguments and errors are those of `execute`; `expected_version` applies before the first
        command. The result has one `Executed` per command.
        """
        requests = of_session(session_id, commands, expected_version)
        return self._run(self._job(requests, idempotency_key, metadata, dry_run=dry_run))

    async def execute_many_async(  # noqa: PLR0913  as execute
        self,
        session_id: str,
        commands: Iterable[Command],
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """`execute_many`, awaited, as `execute_async` is."""
        requests = of_session(session_id, commands, expected_version)
        job = self._job(requests, idempotency_key, metadata, dry_run=dry_run)
        return await self._run_async(job)

    def execute_all(
        self,
        commands: Iterable[tuple[str, Command]],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """Execute commands for several sessions in one transaction: all of them or none.

        `commands` are pairs of a session's id and a command. The other arguments and the errors are
        those of `execute`. The result has one `Executed` per command.
        """
        requests = of_sessions(commands)
        return self._run(self._job(requests, idempotency_key, metadata, dry_run=dry_run))

    async def execute_all_async(
        self,
        commands: Iterable[tuple[str, Command]],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """`execute_all`, awaited, as `execute_async` is."""
        job = self._job(of_sessions(commands), idempotency_key, metadata, dry_run=dry_run)
        return await self._run_async(job)

    def answered(self, idempotency_key: str) -> list[Executed] | None:
        """Return the answer that is stored for an idempotency key; None if it was never used.

        Raises:
            InvalidValue, LimitExceeded: The key is not a text of 1 to 255 characters.
            StorageFailed: The stored answer is damaged.
        """
        key = rules.text("idempotencyKey", idempotency_key, most=rules.MAX_KEY)
        kept = self.rows(*self.recorder.answers([key]))
        if not kept:
            return None
        return answers.from_json(
            kept[0][2], self._between, key=key, path=self.recorder.database.path
        )

    @tracing.spanned("execute", commands=lambda _, job: len(job.requests))
    def _run(self, job: Job) -> list[Executed]:
        if job.dry_run and (rehearsal := self._rehearsal()):
            with rehearsal as empty:
                return empty._commits.do(job)  # noqa: SLF001  a store of the same kind
        self._check_writable()
        batch = self._batch
        if batch is not None:
            return batch.run(job)
        self.check_no_batch("a command from another task")  # it would block its own thread
        return self._commits.do(job)

    async def _run_async(self, job: Job) -> list[Executed]:
        import asyncio  # noqa: PLC0415  callers that await have it; others start faster

        if self._batch is not None:
            return self._run(job)
        if job.dry_run and not self.exists:
            return await asyncio.to_thread(self._run, job)
        if self.exists:
            self._check_writable()
        else:  # making it may wait for the lock
            await asyncio.to_thread(self._check_writable)
        with tracing.span("execute", commands=len(job.requests)):
            return await self._commits.do_async(job)

    def _job(
        self,
        requests: list[Request],
        key: str | None,
        metadata: Mapping[str, Any] | None,
        *,
        dry_run: bool,
    ) -> Job:
        check(requests)
        if key is not None:
            key = rules.text("idempotencyKey", key, most=rules.MAX_KEY)
        meta = {} if metadata is None else rules.metadata("metadata", metadata)
        return Job(requests, key, meta, dry_run=dry_run)

    def _between(self, after: int, until: int) -> list[Recorded]:
        return list(self.log(after, until=until))
