"""What callers write down: each request before they make it, and what came of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from sessions.commands import Command
from sessions.errors import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sessions import Event, Executed, Recorded

DRY, BATCH = "dry", "batch"
"""Kinds of requests that are checked in a way of their own."""


class Noted(msgspec.Struct, frozen=True, array_like=True):
    """An event as it was seen; `event` is its name and JSON."""

    position: int
    version: int
    command_id: str
    event: str


class Answer(msgspec.Struct, frozen=True, array_like=True):
    session_id: str
    version: int
    position: int
    events: list[Noted]


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """A request before it is made; `ask` identifies it, and is kept in the events that it makes."""

    ask: str
    at: float
    how: str
    requests: list[tuple[str, Command]]
    key: str | None = None
    expected: int | None = None


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    ask: str
    at: float
    answers: list[Answer]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A request ended with an error: decided, worth a retry, unknown, or something unexpected."""

    ask: str
    at: float
    error: str
    text: str
    decided: bool
    retry: bool
    expected: bool = True

    @property
    def did_nothing(self) -> bool:
        """Whether it left no trace; with a key, also what may have been done is worth a retry."""
        return self.decided or (self.retry and self.error != OutcomeUnknown.__name__)


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """The log was seen to end at a position, between two moments."""

    since: float
    at: float
    position: int


Line: TypeAlias = Asked | Answered | Ended | Seen


@dataclass
class Lines:
    """The lines of a round's journals."""

    asked: dict[str, Asked] = field(default_factory=dict)
    answered: dict[str, Answered] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Lines:
        sorted_ = cls()
        for line in lines:
            match line:
                case Asked():
                    sorted_.asked[line.ask] = line
                case Answered():
                    sorted_.answered[line.ask] = line
                case Ended():
                    sorted_.ended[line.ask] = line
                case Seen():
                    sorted_.seen.append(line)
        return sorted_

    def maybe_done(self) -> list[Asked]:
        """The requests that were done, and those that may have been: their callers do not know."""
        not_done = {ask for ask, end in self.ended.items() if end.did_nothing}
        return [
            asked for ask, asked in self.asked.items() if ask not in not_done and asked.how != DRY
        ]

    def without_answer(self) -> list[Asked]:
        """The requests whose callers were not told what came of them."""
        return [asked for asked in self.maybe_done() if asked.ask not in self.answered]


class Journal:
    """A file of lines; when `note` returns, the operating system has the line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def note(self, line: Line) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")

    def see(self, position: int, since: float) -> None:
        self.note(Seen(since, monotonic(), position))

    def close(self) -> None:
        self._file.close()


def read(paths: Sequence[Path]) -> Iterator[Line]:
    """The lines of journals, except those that a kill cut off."""
    decoder = msgspec.json.Decoder(Line)
    for path in paths:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        yield from map(decoder.decode, whole.splitlines())


def shown(event: Event) -> str:
    """An event in the form in which it is compared."""
    fields = msgspec.json.encode(event, order="deterministic").decode()
    return f"{type(event).__name__} {fields}"


def noted(recorded: Recorded) -> Noted:
    event = shown(recorded.event)
    return Noted(recorded.position, recorded.version, recorded.command_id, event)


def answers(executed: Sequence[Executed]) -> list[Answer]:
    return [
        Answer(done.session_id, done.version, done.position, [noted(r) for r in done.events])
        for done in executed
    ]
