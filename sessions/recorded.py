"""The envelope that an event is recorded in: where and when it happened, and who caused it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from sessions.documents import to_json
from sessions.events import Event

Happened: TypeAlias = "tuple[str, datetime, str, Event]"
"""What a fold of a whole stream needs of an event: the stream's id, the event's time, its command's
id, and itself; `Recorded` says what each is. Folding a log is mostly making these.
"""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event in its envelope, as the log holds it.

    Attributes:
        application_id: The application whose log it is in.
        position: Its place in that log: from 1, without gaps, never reused.
        category: What the stream is of; "session" for a customer session.
        stream_id: The stream's id in its category: the session's integrationId.
        version: Its place in the stream, from 1.
        at: When it happened (UTC).
        recorded_at: When it was recorded (UTC).
        command_id: The UUIDv7 of the command that caused it; its events share it.
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

    def as_dict(self) -> dict[str, Any]:
        """The envelope by its names in JSON, with the `type` and, as `data`, the event."""
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
