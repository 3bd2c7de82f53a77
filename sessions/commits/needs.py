"""What commands need from a store: streams, how much of limits is used, answers to keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sessions.decide import asks
from sessions.events import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sessions.claims import Usage
    from sessions.commits.job import Job
    from sessions.commits.memory import Held, Memory
    from sessions.log.claim_rows import Pair
    from sessions.log.mapper import Mapper
    from sessions.log.recorder import SessionRecorder
    from sessions.sql.connection import Statement
    from sessions.views.inline import InlineViews

Kept = tuple[str, str]
"""The request that an idempotency key was used for, and what was answered."""


@dataclass(frozen=True)
class Means:
    """What a writer works with."""

    recorder: SessionRecorder
    mapper: Mapper
    views: InlineViews
    memory: Memory
    now: Callable[[], datetime]


class Needs:
    """What commands need that is not in memory, to be read in one round trip.

    Attributes:
        statements: The SELECTs that read it.
    """

    def __init__(
        self,
        recorder: SessionRecorder,
        missing: Mapping[str, Held],
        pairs: Sequence[Pair],
        keys: Sequence[str],
    ) -> None:
        unseen = [session_id for session_id, held in missing.items() if not held.version]
        streams = [
            recorder.stream_since(SESSION, i, h.version) for i, h in missing.items() if h.version
        ]
        if unseen:
            streams.append(recorder.streams(SESSION, unseen))
        answers = [recorder.answers(keys)] if keys else []
        claims = recorder.claims.asks(pairs) if pairs else []
        self.statements: list[Statement] = [*streams, *answers, *claims]
        self._recorder = recorder
        self._missing = missing
        self._pairs = pairs
        self._keys = keys
        self._streams = len(streams)

    def states(self, mapper: Mapper, answers: Sequence[Sequence[Any]]) -> dict[str, Held]:
        """The sessions as they are now, from the rows of their streams.

        Raises:
            UnknownEvent: A newer library wrote an event of one.
            UndecodableEvent: The data of an event does not fit its shape.
        """
        states = dict(self._missing)
        for rows in answers[: self._streams]:
            for recorded in mapper.recorded(self._recorder.application_id, rows):
                states[recorded.stream_id] = states[recorded.stream_id].after(recorded)
        return states

    def answers(self, answers: Sequence[Sequence[Any]]) -> dict[str, Kept | None]:
        """What each key was used for, with its answer; None if it was not used yet."""
        if not self._keys:
            return {}
        found = {key: (request, answer) for key, request, answer in answers[self._streams]}
        return {key: found.get(key) for key in self._keys}

    def usages(self, answers: Sequence[Sequence[Any]]) -> dict[Pair, Usage]:
        """How much of each limit is used."""
        if not self._pairs:
            return {}
        first = self._streams + bool(self._keys)
        return self._recorder.claims.usages(self._pairs, answers[first:])


def needs_of(
    jobs: Iterable[Job],
    means: Means,
    states: dict[str, Held],
    knows: Callable[[Pair], bool],
    found: Collection[str] = (),
) -> Needs | None:
    """What jobs need that is not known yet; sessions that are current in memory become known."""
    missing: dict[str, Held] = {}
    pairs: dict[Pair, None] = {}
    keys: dict[str, None] = {}
    for job in jobs:
        if job.key is not None and job.key not in found:
            keys[job.key] = None
        for request in job.requests:
            session_id = request.session_id
            held = states.get(session_id)
            if held is None:
                held, proved = means.memory.last_seen(session_id)
                if proved:
                    states[session_id] = held
                else:
                    missing[session_id] = held
            for claim in asks(request.command, held.session):
                if not knows((claim.limit, session_id)):
                    pairs[claim.limit, session_id] = None
    if missing or pairs or keys:
        return Needs(means.recorder, missing, list(pairs), list(keys))
    return None
