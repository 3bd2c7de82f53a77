"""The envelope that an event is recorded in: where and when it happened, and who caused it."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec.structs import fields, replace

from sessions.documents import to_json
from sessions.events import Event
from sessions.mutability import can_change

if TYPE_CHECKING:
    from collections.abc import Sequence

Happened: TypeAlias = "tuple[str, datetime, str, Event]"
"""What a fold of a whole stream needs of an event: the stream's id, the event's time, its command's
id, and the event, each as in `Recorded`. It is a tuple because folding a log is mostly making
these.
"""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event in its envelope, as the log holds it.

    Attributes:
        application_id: The application whose log it is in.
        position: Its place in that log: from 1, without gaps, never reused.
        category: What kind of thing the stream is about; "session" for a customer session.
        stream_id: The stream's id in its category: the session's integrationId.
        version: Its place in the stream, from 1.
        at: When it happened (UTC).
        recorded_at: When it was recorded (UTC).
        command_id: The UUIDv7 of its command; all events of one command share it.
        metadata: Who and why: `actor`, `correlationId`, `causationId`, and free keys.
        event: What happened.
    """

    application_id: int
    position: int
    category: str
    stream_id: str
    version: int
    at: datetime
    recorded_at: datetime
    command_id: str
    metadata: dict[str, Any]
    event: Event

    @property
    def type(self) -> str:
        """The event's stored name, such as `ItemAdded`."""
        return type(self.event).__name__

    def apart(self) -> Recorded:
        """A copy for a caller, who may change it; the store still holds or writes the original."""
        return replace(self, metadata=_apart(self.metadata), event=_apart(self.event))

    def as_dict(self) -> dict[str, Any]:
        """The envelope as a dict, by its names in JSON; `type` and `data` are the event."""
        return {
            "position": self.position,
            "applicationId": self.application_id,
            "category": self.category,
            "streamId": self.stream_id,
            "version": self.version,
            "type": self.type,
            "at": self.at,
            "recordedAt": self.recorded_at,
            "commandId": self.command_id,
            "metadata": self.metadata,
            "data": self.event,
        }

    def to_json(self) -> str:
        """One JSON object: a line of `sessions log --json`."""
        return to_json(self.as_dict())


def _apart(value: Any) -> Any:  # noqa: ANN401  as they are
    """A copy that shares no list and no dict with the value."""
    kind = value.__class__
    if kind is dict:
        return {name: _apart(inner) for name, inner in value.items()} if value else {}
    if kind is list or kind is tuple:
        return kind(map(_apart, value))
    if names := _changeable(kind):
        return replace(value, **{name: _apart(getattr(value, name)) for name in names})
    return value


@cache
def _changeable(kind: Any) -> Sequence[str]:  # noqa: ANN401  a type of any form
    """The fields of a Struct that hold something mutable, at any depth."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [field.name for field in fields(kind) if can_change(field.type)]
    return ()
