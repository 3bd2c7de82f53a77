"""The commands of a store: executed one by one, together, awaited, or in bulk."""

from __future__ import annotations

import threading
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from sessions import answers, rules, tracing
from sessions.answers import Executed, Request
from sessions.awaited_commits import AwaitedCommits
from sessions.batch import Batch
from sessions.commands import COMMANDS, name_of
from sessions.errors import BatchOpen, InvalidValue, Refused, StoreClosed
from sessions.follower import Follower
from sessions.group_commit import GroupCommit
from sessions.job import Job
from sessions.reader import StoreReader, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sessions.commands import Command
    from sessions.recorded import Recorded
    from sessions.writer import Writer


class _OfThread(threading.local):
    """What a thread has open."""

    batch: Batch | None = None


class CommandExecutor(StoreReader):
    """What changes a store. Threads may share it; their commands share durable commits."""

    def __init__(self, writer: Writer) -> None:
        database = self.recorder.database
        self._writer = writer
        self._of_thread = _OfThread()
        group = GroupCommit(writer, database.path, database.lock_timeout)
        self._commits = AwaitedCommits(
            group.perform, path=database.path, timeout=database.lock_timeout
        )

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a store to write to."""

    @abstractmethod
    def _check_writable(self) -> None:
        """Refuse what may not be written, and see to it that there is a store."""

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
            for number, command in enumerate(commands)
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
        requests = [Request(session_id, command) for session_id, command in commands]
        return self._run(self._job(requests, idempotency_key, metadata, dry_run=dry_run))

    def answered(self, idempotency_key: str) -> list[Executed] | None:
        """What was answered under an idempotency key; None if it is not used yet.

        Raises:
            InvalidValue, LimitExceeded: It is not a text of 1 to 255 characters.
            StorageFailed: What is kept for it is damaged.
        """
        key = rules.text("idempotencyKey", idempotency_key, most=rules.MAX_KEY)
        kept = self.query(*self.recorder.answers([key]))
        if not kept:
            return None
        return answers.from_json(
            kept[0][2], self._between, key=key, path=self.recorder.database.path
        )

    def check_no_batch(self, what: str) -> None:
        """Refuse what needs the store to itself while this thread has a batch open.

        Raises:
            BatchOpen: It has.
        """
        if self._batch is not None:
            raise BatchOpen(what=what)

    def _check_open(self) -> None:
        if self.recorder.database.is_closed:
            raise StoreClosed

    def follow(self, after: int = 0, *, types: Iterable[str] = ()) -> Follower:
        """The log from a position on, and then each new event as soon as it is committed.

        Every event comes once and in order, whoever writes it. An event of this process is seen
        within milliseconds, one of another process within 250.

            with store.follow(after=position) as follower:
                for recorded in follower:
                    ...

        Args:
            after: The position after which to begin.
            types: Names of events, such as `SessionClosed`, to see only these. The follower's
                `position` moves past the others too.

        Returns:
            An iterator for one thread. It ends after `stop()`, which any thread may call, when
            the store is closed, and when the interpreter exits.

        Raises:
            BatchOpen: This thread has a batch open.
            StoreClosed: It was closed before.
            InvalidValue: `after` is not a whole number from 0, or no event has such a name.
        """
        self.check_no_batch("follow")
        self._check_open()
        rules.count("after", after, least=0)
        return Follower(self, after, names_of(types))

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Let the commands that this thread executes inside share transactions: a bulk load.

        The rules and the result are those of one by one: a refusal raises for its command alone,
        and reads in this thread see the batch's own writes. It commits every 1000 commands, after
        a second, before a fork, and at the end; an exception that leaves it drops only what is not
        committed. Other writers wait while it holds the lock. A batch in a batch is the same one.

        Raises:
            BatchFailed: The transaction was lost with commands that had been answered: each later
                call in the batch raises it, and its end too.
            StoreClosed: It was closed before.
        """
        outer = self._batch
        if outer is not None:
            yield outer
            return
        self._check_open()
        self._of_thread.batch = batch = Batch(self._writer, self._check_writable)
        try:
            yield batch
            batch.commit()
            batch.check()
        finally:
            try:
                batch.abandon()
            finally:
                self._of_thread.batch = None
                batch.abandon()  # an interrupt may have come as it was done

    @tracing.spanned("execute", commands=lambda _, job: len(job.requests))
    def _run(self, job: Job) -> list[Executed]:
        if job.dry_run and (rehearsal := self._rehearsal()):
            with rehearsal as empty:
                return empty._commits.do(job)  # noqa: SLF001  a store of the same kind
        self._check_writable()
        batch = self._batch
        return self._commits.do(job) if batch is None else batch.run(job)

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

    @property
    def _batch(self) -> Batch | None:
        """The batch that this thread has open."""
        return self._of_thread.batch

    def _between(self, after: int, until: int) -> list[Recorded]:
        return list(self.log(after, until=until))


def _checked(request: Request) -> Request:
    """A request that can be decided: its session has an id, and its command is one."""
    session_id = rules.text("integrationId", request.session_id)
    if type(request.command) not in COMMANDS:
        shown = rules.shown(request.command)
        raise InvalidValue(field="command", rule="one of the commands", value=shown)
    if request.expected_version is not None:
        rules.count("expectedVersion", request.expected_version, least=0)
    return request if session_id is request.session_id else replace(request, session_id=session_id)
