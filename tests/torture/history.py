"""What the log says: a session after each of its events, and what a request would do to it then."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from sessions import ClaimRefused, ProfileChanged, Session, SessionOpened, VersionConflict, evolve
from sessions.claims import Usage, released_by, taken_by
from sessions.decide import Known, asks, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions import Event, Recorded
    from tests.torture.journal import Asked

_LATER = datetime(2200, 1, 1, tzinfo=UTC)
_FIRST = "first-session:"


class State(NamedTuple):
    """A session after an event, and the position of that event."""

    position: int = 0
    version: int = 0
    session: Session | None = None


class Made(NamedTuple):
    """What a command made of a session."""

    session_id: str
    state: State
    events: Sequence[Event]


class History:
    """The log, folded step by step; what is wrong with the log itself is collected."""

    def __init__(self) -> None:
        self.log: list[Recorded] = []
        self.failures: list[str] = []
        self.holders: set[tuple[str, str]] = set()
        self._states: dict[str, list[State]] = defaultdict(lambda: [State()])
        self._first: dict[str, tuple[int, str]] = {}

    @property
    def position(self) -> int:
        return len(self.log)

    def add(self, recorded: Recorded) -> None:
        """Take in the next event."""
        states = self._states[recorded.stream_id]
        if recorded.position != self.position + 1 or recorded.version != states[-1].version + 1:
            self.failures.append(f"a gap in the log before {recorded}")
        self.log.append(recorded)
        session = evolve(states[-1].session, recorded.event, recorded.at)
        states.append(State(recorded.position, recorded.version, session))
        self._claim(recorded)

    def _claim(self, recorded: Recorded) -> None:
        event, holder = recorded.event, recorded.stream_id
        if isinstance(event, SessionOpened | ProfileChanged):
            first = (recorded.position, holder)
            if event.profile_id:
                first = self._first.setdefault(event.profile_id, first)
            if event.first_session != (first[1] == holder):
                self.failures.append(f"{first} was the first session, and not: {recorded}")
        self.holders -= {(claim.limit, holder) for claim in released_by(event)}
        self.holders |= {(claim.limit, holder) for claim in taken_by(event)}

    def limits(self) -> Counter[str]:
        """How many holders each limit has."""
        return Counter(limit for limit, _ in self.holders)

    def state(self, session_id: str, position: int) -> State:
        """A session as it was at a position of the log."""
        states = self._states[session_id]
        return states[bisect_right(states, position, key=lambda state: state.position) - 1]

    def moments(self, asked: Asked, lowest: int, highest: int) -> list[int]:
        """The positions between two at which the outcome of a request may have changed."""
        found = {lowest}
        for session_id in {session_id for session_id, _ in asked.requests}:
            states = self._states[session_id]
            begin = bisect_left(states, lowest, key=lambda state: state.position)
            end = bisect_right(states, highest, key=lambda state: state.position)
            found |= {state.position for state in states[begin:end]}
        for limit in [claim.limit for _, command in asked.requests for claim in asks(command)]:
            since, _ = self._first.get(limit.removeprefix(_FIRST), (0, ""))
            found |= {since} if lowest < since <= highest else set()
        return sorted(found)

    def decided(
        self, asked: Asked, position: int, as_recorded: Sequence[Recorded] = ()
    ) -> list[Made]:
        """What the rules make of a request at a position, at the times of the events that it made.

        Raises:
            Refused: It is refused there.
            VersionConflict: The session has another version there.
        """
        states: dict[str, State] = {}
        claimed: dict[str, str] = {}
        all_made: list[Made] = []
        times = [recorded.recorded_at for recorded in as_recorded] or [_LATER]
        made = 0
        for number, (session_id, command) in enumerate(asked.requests):
            state = states.get(session_id) or self.state(session_id, position)
            if number == 0 and asked.expected not in {None, state.version}:
                raise VersionConflict(
                    session=session_id, expected=asked.expected, actual=state.version
                )
            used = {
                claim.limit: self._usage(claim.limit, session_id, position, claimed)
                for claim in asks(command)
            }
            now = times[min(made, len(times) - 1)]
            decision = decide(command, state.session, Known(session_id, now, used))
            for claim in decision.claims:
                if claim.at_most and claimed.setdefault(claim.limit, session_id) != session_id:
                    raise ClaimRefused(limit=claim.limit)
            session = state.session
            for event in decision.events:
                session = evolve(session, event, decision.at)
            made += len(decision.events)
            if decision.events:
                version = state.version + len(decision.events)
                states[session_id] = state = State(position + made, version, session)
            all_made.append(Made(session_id, state, decision.events))
        return all_made

    def _usage(self, limit: str, asking: str, position: int, claimed: dict[str, str]) -> Usage:
        since, holder = self._first.get(limit.removeprefix(_FIRST), (position + 1, ""))
        if since > position:
            holder = claimed.get(limit, "")
        return Usage(1 if holder else 0, held=bool(holder) and holder == asking)
