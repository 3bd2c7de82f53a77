"""Is the log explained exactly by the requests, and every answer by the log?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

from sessions import Refused
from tests.torture.history import History
from tests.torture.journal import DRY, noted, shown
from tests.torture.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sessions import Recorded
    from tests.torture.journal import Answer, Answered, Asked, Ended, Lines

_KEPT = "its key was used for another request"


@dataclass
class Key:
    """What became of an idempotency key: the request whose events it made, and its answers.

    `maybe` are the requests with it that were not told that nothing came of them.
    """

    events: list[Recorded] = field(default_factory=list)
    by: Asked | None = None
    answers: list[Answer] | None = None
    maybe: list[Asked] = field(default_factory=list)


class Checker:
    """Checks rounds, one after the other, and collects what is wrong."""

    def __init__(self) -> None:
        self.history = History()
        self.failures = self.history.failures
        self._keys: dict[str, Key] = defaultdict(Key)

    def take(self, lines: Lines, log: Iterable[Recorded]) -> None:
        """Check a round: what was asked and answered in it, and what was added to the log."""
        start, made = self.history.position, self._made(lines, log)
        known = [(seen.at, seen.position) for seen in lines.seen]
        for answered in lines.answered.values():
            if lines.asked[answered.ask].how != DRY:
                known += [(answered.at, answer.position) for answer in answered.answers]
        begun = [(lines.asked[ask].at, events[0].position) for ask, events in made.items()]
        windows = Windows(start, self.history.position, known, begun)
        for seen in lines.seen:
            if not windows.lowest(seen.since) <= seen.position <= windows.highest(seen.at):
                self.failures.append(f"the log's end was not there: {seen}")
        for asked in lines.maybe_done():
            if asked.key is not None:
                self._keys[asked.key].maybe.append(asked)
        for ask, asked in lines.asked.items():
            self._check(asked, lines, made.get(ask, []), windows)

    def _made(self, lines: Lines, log: Iterable[Recorded]) -> dict[str, list[Recorded]]:
        made: dict[str, list[Recorded]] = {}
        for ask, group in groupby(log, lambda recorded: str(recorded.metadata["ask"])):
            events = list(group)
            asked = lines.asked.get(ask)
            if asked is None or ask in made or asked.how == DRY:
                self.failures.append(f"{ask}: events that were not asked for (again): {events}")
            else:
                made[ask] = events
                self._replay(asked, events)
            for recorded in events:
                self.history.add(recorded)
        return made

    def _replay(self, asked: Asked, events: list[Recorded]) -> None:
        """Check that the rules make these events of the request, at that place and time."""
        try:
            all_made = self.history.decided(asked, self.history.position, events)
        except Refused as error:
            self.failures.append(f"{asked}: {error!r}, and not {events}")
            return
        expected = [(m.session_id, event) for m in all_made for event in m.events]
        commands = [n for n, m in enumerate(all_made) for _ in m.events]
        pairs = {(n, r.command_id) for n, r in zip(commands, events, strict=False)}
        if [(r.stream_id, r.event) for r in events] != expected:
            self.failures.append(f"{asked}: {expected}, and not {events}")
        elif not len(pairs) == len(set(commands)) == len({r.command_id for r in events}):
            self.failures.append(f"{asked}: a command has an id of its own: {events}")
        if asked.key is None:
            return
        key = self._keys[asked.key]
        if key.by is not None:
            self.failures.append(f"{asked.key}: made events twice: {key.events} and {events}")
        key.by, key.events = asked, events

    def _check(self, asked: Asked, lines: Lines, events: list[Recorded], windows: Windows) -> None:
        answered, ended = lines.answered.get(asked.ask), lines.ended.get(asked.ask)
        last = answered or ended
        lowest = windows.lowest(asked.at)
        highest = windows.highest(last.at if last else inf)
        wrong = ""
        if ended and not ended.expected:
            wrong = "something unexpected"
        elif ended and events and ended.did_nothing:
            wrong = "events of what was refused"
        elif answered and events and not lowest < events[0].position <= highest:
            wrong = f"its events are not in {lowest, highest}"
        elif answered and asked.how == DRY:
            wrong = self._wrong_without_trace(asked, answered, lowest, highest)
        elif answered:
            wrong = self._wrong_answer(asked, answered, events, lowest, highest)
        elif ended and ended.decided:
            wrong = self._wrong_refusal(asked, ended, lowest, highest)
        if wrong:
            last = answered or ended
            self.failures.append(f"{wrong}: {asked}, {last}, {events}, {lowest, highest}")

    def _wrong_answer(
        self, asked: Asked, answered: Answered, events: list[Recorded], lowest: int, highest: int
    ) -> str:
        if asked.key is not None:
            key = self._keys[asked.key]
            if key.answers is None:
                key.answers = answered.answers
            if key.answers != answered.answers:
                return f"another answer than {key.answers}"
            if key.by and key.by.requests != asked.requests:
                return _KEPT
            events = key.events
        told = [event for answer in answered.answers for event in answer.events]
        if told != [noted(recorded) for recorded in events]:
            return f"it is told other events than {events}"
        for answer in answered.answers:
            state = self.history.state(answer.session_id, answer.position)
            if (answer.position, answer.version) != state[:2]:
                return f"its session was not so: {state[:2]}"
        if events or asked.key is not None:
            return ""
        return self._wrong_without_trace(asked, answered, lowest, highest)

    def _wrong_without_trace(
        self, asked: Asked, answered: Answered, lowest: int, highest: int
    ) -> str:
        told = [
            (answer.session_id, answer.version, [e.event for e in answer.events])
            for answer in answered.answers
        ]
        return self._wrong_anywhere(asked, told, lowest, highest)

    def _wrong_refusal(self, asked: Asked, ended: Ended, lowest: int, highest: int) -> str:
        key = self._keys[asked.key] if asked.key else Key()
        if ended.error == "IdempotencyKeyReused":
            users = [key.by] if key.by else key.maybe
            others = any(user.requests != asked.requests for user in users)
            return "" if others else "nobody used its key for another request"
        if key.by and key.events[0].position <= lowest and key.by.requests == asked.requests:
            return f"it is answered already: {key.events}"
        return self._wrong_anywhere(asked, (ended.error, ended.text), lowest, highest)

    def _wrong_anywhere(self, asked: Asked, outcome: object, lowest: int, highest: int) -> str:
        """Was there a moment, between asking and answering, at which this was right?"""
        for position in self.history.moments(asked, lowest, highest):
            if self._outcome(asked, position) == outcome:
                return ""
        return f"there was no moment for it: {outcome}"

    def _outcome(self, asked: Asked, position: int) -> object:
        try:
            all_made = self.history.decided(asked, position)
        except Refused as error:
            return type(error).__name__, str(error)
        return [
            (made.session_id, made.state.version, [shown(event) for event in made.events])
            for made in all_made
        ]
