"""One transaction of a writer: what it decides, and what it writes."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sessions import answers, clock
from sessions.answers import Executed
from sessions.claims import released_by
from sessions.decide import Decision, Known, asks, decide
from sessions.errors import IdempotencyKeyReused, VersionConflict
from sessions.events import (
    SESSION,
    AttributesChanged,
    CartReplaced,
    ItemAdded,
    ItemRemoved,
    Recorded,
    SessionCancelled,
    SessionReopened,
)
from sessions.memory import Held
from sessions.session import evolve
from sessions.sqlite import query_on

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sessions.answers import Request
    from sessions.inline import InlineViews
    from sessions.mapper import Mapper
    from sessions.memory import Memory
    from sessions.recorder import SessionRecorder
    from sessions.sqlite import Mark

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Means:
    """What a transaction works with."""

    recorder: SessionRecorder
    mapper: Mapper
    views: InlineViews
    memory: Memory
    now: Callable[[], datetime]


_CHANGEABLE = (AttributesChanged, CartReplaced, SessionCancelled, SessionReopened)


def _for_caller(recorded: Recorded) -> Recorded:
    """A copy, where a caller could change what is held or is still to be written."""
    event = recorded.event
    if isinstance(event, (ItemAdded, ItemRemoved)):
        changeable = bool(event.item.attributes)
    else:
        changeable = isinstance(event, _CHANGEABLE)
    return deepcopy(recorded) if changeable or recorded.metadata else recorded


class Transaction:
    """Decides commands on what it has read under the lock, and on what it decided before."""

    def __init__(
        self, means: Means, connection: sqlite3.Connection, mark: Mark, position: int
    ) -> None:
        self.connection = connection
        self.mark = mark
        self.position = position
        self.states: dict[str, Held] = {}
        self._means = means
        self._recorder = means.recorder
        self._read = query_on(connection)
        self._pending: list[Recorded] = []

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of one SELECT, its own decisions included."""
        self.flush()
        return self._read(sql, parameters)

    def run(
        self, requests: Sequence[Request], key: str | None, meta: Metadata, *, dry_run: bool = False
    ) -> list[Executed]:
        """Decide commands, all or none of them; with a key, once for ever.

        Raises:
            Refused: A rule forbids one of them.
            VersionConflict: A session is not at the version that the caller expects.
            IdempotencyKeyReused: The key is another request's.
        """
        with self._recorder.datastore.failures:
            if len(requests) == 1 and not dry_run:
                return self._run(requests, key, meta)
            with self._unit(keep=not dry_run):
                return self._run(requests, key, meta)

    def _run(self, requests: Sequence[Request], key: str | None, meta: Metadata) -> list[Executed]:
        if key is None:
            return [self._execute(request, meta) for request in requests]
        fingerprint = answers.fingerprint(requests)
        kept = self._recorder.answer(self._read, key)
        if kept is None:
            executed = [self._execute(request, meta) for request in requests]
            answer, now = answers.to_json(executed), self._means.now()
            self._recorder.keep_answer(self.connection, key, fingerprint, answer, now)
            return executed
        if kept[0] != fingerprint:
            raise IdempotencyKeyReused(key=key)
        return answers.from_json(kept[1], self._log)

    @contextmanager
    def _unit(self, *, keep: bool) -> Iterator[None]:
        """Several commands of which all are kept, or none."""
        self.flush()
        states, position = dict(self.states), self.position
        self.connection.execute("SAVEPOINT unit")
        try:
            yield
        except BaseException:
            keep = False
            raise
        finally:
            if not keep:
                self.connection.execute("ROLLBACK TO unit")
                self.states, self.position, self._pending = states, position, []
                self._means.views.forget()
            self.connection.execute("RELEASE unit")

    def flush(self) -> None:
        """Write what is decided: the events, the views, and where the log ends."""
        if self._pending:
            pending, self._pending = self._pending, []
            to_row = self._means.mapper.to_row
            self._recorder.append(self.connection, [to_row(recorded) for recorded in pending])
            self._recorder.advance(self.connection, self.position)
            self._means.views.fold(self.connection, pending)
            self._means.views.write(self.connection)

    def _log(self, after: int, until: int) -> list[Recorded]:
        rows = self._recorder.log_rows(self.query, after, -1, until)
        return list(self._means.mapper.recorded(rows))

    def _execute(self, request: Request, meta: Metadata) -> Executed:
        session_id, command, expected = (
            request.session_id,
            request.command,
            request.expected_version,
        )
        held = self._held(session_id)
        if expected is not None and expected != held.version:
            raise VersionConflict(session=session_id, expected=expected, actual=held.version)
        usage = self._recorder.claims.usage
        used = {claim.limit: usage(self._read, claim.limit, session_id) for claim in asks(command)}
        known = Known(session_id, self._means.now(), used)
        decision = decide(command, held.session, known)
        events = self._enveloped(held, decision, known, meta) if decision.events else []
        if events:
            self._take_in(session_id, held, events, decision)
            held = self.states[session_id]
        return Executed(session_id, held.version, held.position, list(map(_for_caller, events)))

    def _enveloped(
        self, held: Held, decision: Decision, known: Known, meta: Metadata
    ) -> list[Recorded]:
        command_id = clock.new_command_id(known.now)
        return [
            Recorded(
                self._recorder.application_id,
                self.position + offset,
                SESSION,
                known.session_id,
                held.version + offset,
                decision.at,
                known.now,
                command_id,
                meta,
                event,
            )
            for offset, event in enumerate(decision.events, 1)
        ]

    def _take_in(
        self, session_id: str, held: Held, events: Sequence[Recorded], decision: Decision
    ) -> None:
        session = held.session
        for recorded in events:
            session = evolve(session, recorded.event, recorded.at)
            for claim in released_by(recorded.event):
                self._recorder.claims.release(self.connection, claim, session_id)
        for claim in decision.claims:
            self._recorder.claims.take(self.connection, claim, session_id)
        self.position = events[-1].position
        self.states[session_id] = Held(session, events[-1].version, self.position)
        self._pending += events

    def _held(self, session_id: str) -> Held:
        held = self.states.get(session_id)
        if held is None:
            held, proved = self._means.memory.last_seen(session_id)
            if not proved:
                held = self._caught_up(session_id, held)
            if held.session is not None:
                self.states[session_id] = held
        return held

    def _caught_up(self, session_id: str, held: Held) -> Held:
        rows = self._recorder.stream_rows(self._read, SESSION, session_id, after=held.version)
        for recorded in self._means.mapper.recorded(rows):
            session = evolve(held.session, recorded.event, recorded.at)
            held = Held(session, recorded.version, recorded.position)
        return held
