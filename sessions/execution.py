"""The commands of a store: executed one by one, together, awaited, or in bulk."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from sessions import rules, tracing
from sessions.batching import StoreWithBatches
from sessions.commands import COMMANDS, name_of
from sessions.commits import answers
from sessions.commits.answers import Executed, Request
from sessions.commits.awaited_commits import AwaitedCommits
from sessions.commits.group_commit import GroupCommit
from sessions.commits.job import Job
from sessions.errors import InvalidValue, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from sessions.commands import Command
    from sessions.commits.writer import Writer
    from sessions.recorded import Recorded


class CommandExecutor(StoreWithBatches):
    """What changes a store. Threads may share it; their commands share durable commits."""

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
        """An empty store in memory, where there is none yet in which a dry run could be done."""

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
            StoreReadOnly: The store was opened to be read only.
            ViewsDiffer: The store's writers keep other inline views by now.
            CopyUnfinished: The store is being copied to.
            UnknownEvent: A newer library wrote an event of the session.
            UndecodableEvent: An event of the session cannot be read.
            StoreBusy: Other writers held the lock for too long; a retry can help.
            QueueFull: Too many callers wait already; a retry can help.
            OutcomeUnknown: The connection was lost during the commit: ask by the idempotency key.
            BatchFailed: This thread has a batch open that has lost what it answered.
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
        """`execute`, awaited: the loop is not blocked, and tasks share commits as threads do.

        Arguments, answer and errors are those of `execute`. A task that is cancelled while it
        waits for its turn writes nothing; one that is cancelled later may have.
        """
        import asyncio  # noqa: PLC0415  who awaits has imported it, and to others it costs a start

        request = Request(session_id, command, expected_version)
        job = self._job([request], idempotency_key, metadata, dry_run=dry_run)
        if self._batch is not None:
            return self._run(job)[0]
        if dry_run and not self.exists:
            return (await asyncio.to_thread(self._run, job))[0]
        if self.exists:
            self._check_writable()
        else:  # it may have to wait for the lock
            await asyncio.to_thread(self._check_writable)
        with tracing.span("execute", commands=1):
            return (await self._commits.do_async(job))[0]

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
        """Execute commands for a session in one transaction, all of them or none.

        Arguments and errors are those of `execute`; `expected_version` is the one before the first
        command. The answer has one `Executed` for each.
        """
        requests = [
            Request(session_id, command, None if number else expected_version)
            for number, command in enumerate(rules.several("commands", commands))
        ]
        return self._run(self._job(requests, idempotency_key, metadata, dry_run=dry_run))

    def execute_all(
        self,
        commands: Iterable[tuple[str, Command]],
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> list[Executed]:
        """Execute commands, each for the session that it is paired with, in one transaction.

        All of them are recorded, or none. The other arguments and the errors are those of
        `execute`. The answer has one `Executed` for each.
        """
        requests = [Request(*_pair(each)) for each in rules.several("commands", commands)]
        return self._run(self._job(requests, idempotency_key, metadata, dry_run=dry_run))

    def answered(self, idempotency_key: str) -> list[Executed] | None:
        """What was answered under an idempotency key; None if it is not used yet.

        Raises:
            InvalidValue, LimitExceeded: It is not a text of 1 to 255 characters.
            StorageFailed: What is kept for it is damaged.
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
        self.check_no_batch("a command of another task")  # whose thread cannot wait for itself
        return self._commits.do(job)

    def _job(
        self,
        requests: list[Request],
        key: str | None,
        metadata: Mapping[str, Any] | None,
        *,
        dry_run: bool,
    ) -> Job:
        for number, request in enumerate(requests):
            try:
                requests[number] = _checked(request)
            except Refused as refusal:
                if type(request.command) in COMMANDS:
                    refusal.about(session=request.session_id, command=name_of(request.command))
                if len(requests) > 1:
                    refusal.about(index=number)
                raise
        if key is not None:
            key = rules.text("idempotencyKey", key, most=rules.MAX_KEY)
        meta = {} if metadata is None else rules.metadata("metadata", metadata)
        return Job(requests, key, meta, dry_run=dry_run)

    def _between(self, after: int, until: int) -> list[Recorded]:
        return list(self.log(after, until=until))


def _pair(given: object) -> tuple[Any, Any]:
    if isinstance(given, tuple | list) and len(given) == len(("id", "command")):
        return given[0], given[1]
    rule = "pairs of a session's id and a command"
    raise InvalidValue(field="commands", rule=rule, value=rules.shown(given))


def _checked(request: Request) -> Request:
    """A request that can be decided: its session has an id, and its command is one."""
    session_id = rules.text("integrationId", request.session_id)
    if type(request.command) not in COMMANDS:
        shown = rules.shown(request.command)
        raise InvalidValue(field="command", rule="one of the commands", value=shown)
    if request.expected_version is not None:
        rules.count("expectedVersion", request.expected_version, least=0)
    return request if session_id is request.session_id else replace(request, session_id=session_id)
