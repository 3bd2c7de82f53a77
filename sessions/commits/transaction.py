"""One transaction of a writer: what it decides, and what it writes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sessions import tracing
from sessions.commits import answers
from sessions.commits.needs import needs_of
from sessions.commits.unit import Unit
from sessions.errors import IdempotencyKeyReused, InvalidValue, Refused
from sessions.log.claim_rows import Ledger
from sessions.sql.connection import query_on
from sessions.sql.head import Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sessions.claims import Usage
    from sessions.commits.answers import Executed, Request
    from sessions.commits.job import Job
    from sessions.commits.memory import Held
    from sessions.commits.needs import Kept, Means, Needs
    from sessions.log.recorder import SessionRecorder
    from sessions.recorded import Recorded
    from sessions.sql.connection import Connection

Metadata = dict[str, Any]

_WRITTEN = "SELECT 1 FROM events WHERE application_id = ? AND position = ? AND command_id = ?"
Read = tuple["Needs", "Sequence[Sequence[Any]]"]
"""What commands need, and what the database answered."""


def _usage(recorder: SessionRecorder, connection: Connection, limit: str, holder: str) -> Usage:
    with recorder.database.failures:
        return recorder.claims.usage(query_on(connection), limit, holder)


class Transaction:
    """Decides commands on what it has read under the lock, and on what it decided before.

    Nothing is written before `write`: a command that is refused leaves no trace, and does not
    affect the others that share the transaction.

    Attributes:
        is_late: Whether its commit takes the lock: what it reads before may be of different
            moments.
        may_come: Whether it was sent and lost, and may still get into the log.
        is_torn: Whether an interrupt left it with only a part of what was decided.
    """

    def __init__(
        self,
        means: Means,
        connection: Connection,
        head: Head,
        early: Read | None = None,
        *,
        is_late: bool = False,
    ) -> None:
        self.connection = connection
        self.position = head.position
        self.states: dict[str, Held] = {}
        self.first: Recorded | None = None
        self._means = means
        self._early = early
        self._recorder = means.recorder
        self._ledger = Ledger(partial(_usage, means.recorder, connection))
        self._found: dict[str, Kept | None] = {}
        self._answers: dict[str, tuple[str, str, datetime]] = {}
        self._pending: list[Recorded] = []
        self._rows: list[Sequence[object]] = []
        self._has_written = False
        self.is_torn = False
        self.is_late = is_late
        self.may_come = False
        self.has_ended = False

    @property
    def head(self) -> Head:
        """Where the log ends with its decisions."""
        return Head(self.position, self._means.views.current)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of one SELECT, which does not see what is decided and not flushed."""
        database = self._recorder.database
        with database.failures:
            return database.look(self.connection, sql, parameters)

    def sees(self, recorded: Recorded) -> bool:
        """Whether the log has an event of a transaction, at the position it would have there."""
        asked = (recorded.application_id, recorded.position, recorded.command_id)
        return bool(self.query(_WRITTEN, asked))

    @property
    def goes_on(self) -> bool:
        """Whether it can still be committed: a SELECT that fails need not end it."""
        return self._recorder.database.goes_on(self.connection)

    def _read(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        with self._recorder.database.failures:
            return list(self.connection.execute(sql, parameters).fetchall())

    def run(
        self, requests: Sequence[Request], key: str | None, meta: Metadata, *, dry_run: bool = False
    ) -> list[Executed]:
        """Decide commands, all or none of them; with a key, only the first time.

        Raises:
            Refused: A rule forbids one of them.
            VersionConflict: A session is not at the version that the caller expects.
            IdempotencyKeyReused: The key belongs to another request.
        """
        if key is None:
            executed = self._decided(requests, meta, keep=not dry_run)
            self.is_torn = False
            return executed
        kept = self._found[key]
        try:
            fingerprint = answers.fingerprint(requests)
        except InvalidValue as error:
            if kept is not None:
                raise IdempotencyKeyReused(key=key) from error
            self._decided(requests, meta, keep=False)  # a broken rule is the better error
            raise
        if kept is not None:
            if kept[0] != fingerprint:
                raise IdempotencyKeyReused(key=key)
            return self._answered(requests, key, kept[1])
        executed = self._decided(requests, meta, keep=not dry_run)
        if not dry_run:
            answer = answers.to_json(executed)
            events = [recorded for each in executed for recorded in each.events]
            at = events[-1].recorded_at if events else self._means.now()
            self._found[key] = fingerprint, answer
            self._answers[key] = fingerprint, answer, at
        self.is_torn = False
        return executed

    def _answered(self, requests: Sequence[Request], key: str, kept: str) -> list[Executed]:
        """The answer that is stored for a key, if it is one to these requests."""
        path = self._recorder.database.path
        executed = answers.from_json(kept, self._log, key=key, path=path)
        answered = [each.session_id for each in executed]
        if answered != [each.session_id for each in requests]:
            raise answers.damaged(key, path, f"it is for the sessions {', '.join(answered)}")
        return executed

    def prepare(self, jobs: Iterable[Job]) -> None:
        """Read, in one round trip, what jobs will need that is not in memory.

        Call it before `run` decides them.
        """
        early, self._early = self._early, None
        if early is not None:
            self._take_note(*early)
        needs = needs_of(jobs, self._means, self.states, self._ledger.knows, self._found)
        if needs is not None:
            database = self._recorder.database
            with database.failures:
                self._take_note(needs, database.ask(self.connection, needs.statements))

    def _take_note(self, needs: Needs, answers: Sequence[Sequence[Any]]) -> None:
        self.states |= needs.states(self._means.mapper, answers)
        self._found |= needs.answers(answers)
        self._ledger.know(needs.usages(answers))

    def _decided(
        self, requests: Sequence[Request], meta: Metadata, *, keep: bool
    ) -> list[Executed]:
        unit, executed = Unit(self._means, self.position, self.states, self._ledger), []
        try:
            for request in requests:
                executed.append(unit.execute(request, meta))  # noqa: PERF401  counted below
        except Refused as refusal:
            if len(requests) > 1:
                refusal.about(index=len(executed))
            raise
        if keep and unit.events:
            self.is_torn = True
            self.first = self.first or unit.events[0]
            self.position = unit.position
            self.states |= unit.states
            if unit.ledger is not None:
                self._ledger.absorb(unit.ledger)
            self._pending += unit.events
        return executed

    @property
    def writes(self) -> bool:
        """Whether it has written something, or has something to write."""
        return bool(self._has_written or self._pending or self._answers)

    def flush(self) -> None:
        """Write what is decided so far, so that queries see it."""
        with self._recorder.database.failures:
            self.fold()
            self.write(self.connection)

    @tracing.spanned(
        "fold",
        when=lambda transaction: transaction.writes,
        position=lambda transaction: transaction.position,
    )
    def fold(self) -> None:
        """Fold what is decided into the views, which may have to be read first.

        The rows of the events are made before: folds are other people's code, and see the events.
        """
        self._rows = [self._means.mapper.to_row(recorded) for recorded in self._pending]
        self._means.views.fold(self._read, self._pending)

    def write(self, connection: Connection) -> bool:
        """Write what is decided and folded; tell whether the transaction has written anything."""
        if self._pending:
            self._has_written = True
            self._recorder.append(connection, self._rows)
            if self._ledger.held:
                self._recorder.claims.write(connection, self._ledger)
                self._ledger.forget()
            self._means.views.write(connection)
            self._pending = []
        if self._answers:
            self._has_written = True
            rows = [(key, *answer) for key, answer in self._answers.items()]
            self._recorder.keep_answers(connection, rows)
            self._answers = {}
        return self._has_written

    def end(self) -> None:
        """Roll back what is not committed, and release the lock if it still has it.

        If it is interrupted, call it again.
        """
        if not self.has_ended:
            self._recorder.database.end(self.connection)
            self.has_ended = True

    def _log(self, after: int, until: int) -> list[Recorded]:
        pending = [r.apart() for r in self._pending if after < r.position <= until]
        if pending:
            return pending
        rows = self._recorder.log_rows(self._read, after, until - after, until)
        return list(self._recorded(rows))

    def _recorded(self, rows: Sequence[Sequence[Any]]) -> Iterable[Recorded]:
        return self._means.mapper.recorded(self._recorder.application_id, rows)
