"""What the commands of a call make, all or none, before the transaction takes it over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions import clock
from sessions.claims import released_by
from sessions.commands import name_of
from sessions.commits.answers import Executed
from sessions.commits.memory import Held
from sessions.decide import Decision, Known, asks, decide
from sessions.errors import VersionConflict
from sessions.events import SESSION
from sessions.log.claim_rows import Ledger
from sessions.recorded import Recorded
from sessions.session import evolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sessions.commits.answers import Request
    from sessions.commits.needs import Means


class Unit:
    """Decides commands on what the transaction has, and on what it decided itself before.

    Args:
        means: What the transaction works with.
        position: Where the log ends with what the transaction has decided.
        states: The sessions as the transaction has them.
        ledger: The claims as the transaction has them.

    Attributes:
        position: Where the log ends with its events.
        states: The sessions that it changes.
        events: Its events, in order.
        ledger: The claims that it asks for or changes; None for most commands.
    """

    def __init__(
        self, means: Means, position: int, states: Mapping[str, Held], ledger: Ledger
    ) -> None:
        self.position = position
        self.states: dict[str, Held] = {}
        self.events: list[Recorded] = []
        self.ledger: Ledger | None = None
        self._means = means
        self._states_before = states
        self._ledger_before = ledger

    def execute(self, request: Request, meta: dict[str, Any]) -> Executed:
        """Decide a command.

        Raises:
            Refused: A rule forbids it, or the session is not at the version that is expected.
        """
        session_id, command = request.session_id, request.command
        expected, held = request.expected_version, self.states.get(session_id)
        if held is None:
            held = self._states_before[session_id]
        if expected is not None and expected != held.version:
            raise VersionConflict(
                session=session_id,
                command=name_of(command),
                expected=expected,
                actual=held.version,
            )
        asked = asks(command, held.session)
        if asked:
            ledger = self._claims()
            used = {claim.limit: ledger.usage(claim.limit, session_id) for claim in asked}
            known = Known(session_id, self._means.now(), used)
        else:
            known = Known(session_id, self._means.now())
        decision = decide(command, held.session, known)
        if not decision.events:
            return Executed(session_id, held.version, held.position, [])
        held, events = self._take_in(held, decision, known, meta)
        return Executed(session_id, held.version, held.position, [each.apart() for each in events])

    def _take_in(
        self, held: Held, decision: Decision, known: Known, meta: dict[str, Any]
    ) -> tuple[Held, list[Recorded]]:
        """Put a decision's events into their envelopes, and apply them to the session."""
        application = self._means.recorder.application_id
        command_id = clock.new_command_id(known.now)
        session_id, at, now = known.session_id, decision.at, known.now
        session, version, position = held.session, held.version, self.position
        first = len(self.events)
        for event in decision.events:
            version, position = version + 1, position + 1
            place = (application, position, SESSION, session_id, version)
            self.events.append(Recorded(*place, at, now, command_id, meta, event))
            session = evolve(session, event, at)
            for claim in released_by(event):
                self._claims().release(claim, session_id)
        for claim in decision.claims:
            self._claims().take(claim, session_id)
        self.position = position
        self.states[session_id] = held = Held(session, version, position)
        return held, self.events[first:]

    def _claims(self) -> Ledger:
        if self.ledger is None:
            self.ledger = Ledger(self._ledger_before.usage)
        return self.ledger
