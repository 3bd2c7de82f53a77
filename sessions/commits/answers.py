"""Answers to commands, and how they are stored for idempotency keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from sessions import documents, rules
from sessions.commands import COMMANDS, Command
from sessions.errors import InvalidValue, StorageFailed
from sessions.log.mapper import encode_json
from sessions.money import plain
from sessions.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Callable


_EMPTY = {
    kind: [field.encode_name for field in msgspec.structs.fields(kind) if field.default == ()]
    for kind in COMMANDS
}
"""By command, the lists that are empty by default: to give an empty one is the same request."""

_Count = Annotated[int, msgspec.Meta(ge=0)]
_ROWS = msgspec.json.Decoder(list[tuple[str, _Count, _Count, _Count]])


class Executed(msgspec.Struct, frozen=True, gc=False):
    """The answer to a command. An answer that is repeated equals the first one.

    Attributes:
        session_id: The session.
        version: The session's version after the command.
        position: The log position of the session's latest event after the command.
        events: What the command recorded; empty if it changed nothing.
        replayed: Whether this is the stored answer for an idempotency key, and nothing was done
            now. It is not compared, and not in the JSON.
    """

    session_id: str
    version: int
    position: int
    events: list[Recorded]
    replayed: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Executed):
            return NotImplemented
        return self._answer == other._answer

    def __hash__(self) -> int:
        return hash(self._answer[:3])

    @property
    def _answer(self) -> tuple[str, int, int, list[Recorded]]:
        return self.session_id, self.version, self.position, self.events

    def to_json(self) -> str:
        """One JSON object: `integrationId`, `version`, `position` and `events`."""
        return documents.to_json(
            {
                "integrationId": self.session_id,
                "version": self.version,
                "position": self.position,
                "events": [recorded.as_dict() for recorded in self.events],
            }
        )


class Request(msgspec.Struct, frozen=True, gc=False):
    """A command for a session, and the version at which the caller expects the session."""

    session_id: str
    command: Command
    expected_version: int | None = None


def fingerprint(requests: Sequence[Request]) -> str:
    """The SHA-256 of the requests of a call: the same whatever notation their fields are given in.

    Raises:
        InvalidValue: A field holds something that JSON cannot express.
    """
    try:
        asked = [(request.session_id, _fields(request.command)) for request in requests]
        return hashlib.sha256(encode_json(asked).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(field="command", rule="JSON values", value=error) from error


def to_json(answers: Sequence[Executed]) -> str:
    """Answers as they are stored: with the number of events only, since these are in the log."""
    return encode_json([(a.session_id, a.version, a.position, len(a.events)) for a in answers])


def from_json(
    kept: str, read: Callable[[int, int], list[Recorded]], *, key: str, path: str
) -> list[Executed]:
    """Stored answers as they were given; `read(after, until)` reads the log.

    Their events are one piece of the log, which is read at once, because writers wait meanwhile.

    Raises:
        StorageFailed: What the store at `path` holds for `key` is no answer, or none of this log.
    """
    try:
        rows = _ROWS.decode(kept)
    except msgspec.MsgspecError as error:
        raise damaged(key, path, error) from error
    of_log = [_places(position, count) for *_, position, count in rows if count]
    log = read(max(0, of_log[0].start - 1), of_log[-1].stop - 1) if of_log else ()
    events = {(each.stream_id, each.position): each for each in log}
    try:
        return [
            Executed(
                session_id,
                version,
                position,
                [events[session_id, place] for place in _places(position, count)],
                replayed=True,
            )
            for session_id, version, position, count in rows
        ]
    except KeyError as lacking:
        ((session_id, position),) = lacking.args
        why = f"the log has no event of session {session_id!r} at position {position}"
        raise damaged(key, path, why) from lacking


def _places(position: int, count: int) -> range:
    """The positions of `count` events, of which `position` is the last one's."""
    return range(position - count + 1, position + 1)


def damaged(key: str, path: str, why: object) -> StorageFailed:
    """The error for a stored answer that was changed by hand."""
    reason = f"the stored answer for the idempotency key {key!r} is damaged: {why}"
    return StorageFailed(path=path, reason=reason)


def _fields(command: Command) -> Any:  # noqa: ANN401  JSON of any shape
    fields = msgspec.to_builtins(
        command, builtin_types=(Decimal, datetime), str_keys=True, enc_hook=_plain
    )
    for name in _EMPTY.get(type(command), ()):
        if fields.get(name) == []:
            del fields[name]
    return _notation(fields)


def _plain(value: object) -> object:
    """A value of a subclass, or of another mapping type, as the plain type that is stored."""
    match value:
        case str():
            return str.__str__(value)
        case int() | float():
            return int(value) if isinstance(value, int) else float(value)
        case Decimal():
            return Decimal(value)
        case datetime():
            return datetime.combine(value.date(), value.timetz())
        case Mapping():
            return dict(value)
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return list(value)
        case _:
            message = f"a value of the type {type(value).__name__}"
            raise TypeError(message)


def _notation(value: Any) -> Any:  # noqa: ANN401  JSON of any shape
    """One notation for one value: 59.90 is 59.9, and a time is its instant."""
    match value:
        case Decimal() if rules.is_money(value):
            return plain(value)
        case datetime() if value.utcoffset() is not None:
            return rules.moment("at", value)
        case dict():
            return {name: _notation(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_notation(inner) for inner in value]
        case _:
            return value
