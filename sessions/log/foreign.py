"""eventsourcing's stored events as rows of the log, and back, whatever they hold.

A stream is named `category-id`. If a name is not of that form, or its category has over 255 bytes,
it has no category, and the whole name is the id. The state is the event's data. A state that is not
JSON, because another transcoder wrote it, is stored as a JSON text of its bytes, under version 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sessions import clock, rules
from sessions.sql import schema
from sessions.sql.topics import shape_of, topic_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from eventsourcing.persistence import StoredEvent

_BYTES = 0
_MOST_CATEGORY = 255
"""How many bytes a category may have: it stands in an index as it is."""


def stream_of(originator_id: object) -> tuple[str, str]:
    """The category and the id in a stream's name."""
    name = str(originator_id)
    category, dash, stream_id = name.partition("-")
    is_category = dash and 0 < len(category.encode()) <= _MOST_CATEGORY
    return (category, stream_id) if is_category else ("", name)


def _name_of(category: str, stream_id: str) -> str:
    return f"{category}-{stream_id}" if category else stream_id


def check_name(originator_id: object) -> None:
    """Raise for a stream's name that not every database takes."""
    rules.text("originator_id", str(originator_id), least=0, most=None)


def shapes_of(topic: str) -> list[tuple[str, int]]:
    """The stored names and versions that a topic may stand for."""
    shape = shape_of(topic)
    return [(topic, 1) if shape[1] == _BYTES else shape, (topic, _BYTES)]


def row_of(
    application_id: int, position: int, stored: StoredEvent, now: datetime
) -> Sequence[object]:
    """The row of `schema.EVENTS` for a stored event, as the database takes it.

    Raises:
        InvalidValue: Its stream's name or its topic is not a text that every database takes.
    """
    check_name(stored.originator_id)
    rules.text("topic", stored.topic, least=0, most=None)
    as_json, as_bytes = shapes_of(stored.topic)
    try:
        msgspec.json.decode(stored.state)
        (name, version), data = as_json, stored.state.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = stored.state.decode("latin-1")
        (name, version), data = as_bytes, msgspec.json.encode(text).decode()
    row = (
        application_id,
        position,
        *stream_of(stored.originator_id),
        stored.originator_version,
        name,
        version,
        now,
        now,
        clock.new_command_id(now),
        "{}",
        data,
    )
    return schema.EVENTS.values(row)


def fields_of(row: Sequence[Any]) -> dict[str, Any]:
    """The fields of a stored event, from a row of `schema.EVENTS`."""
    _, _, category, stream_id, number, name, version, *_, data = row
    if version == _BYTES:
        state = msgspec.json.decode(data, type=str).encode("latin-1")
    else:
        state = data.encode()
    return {
        "originator_id": _name_of(category, stream_id),
        "originator_version": number,
        "topic": name if version == _BYTES else topic_of(name, version),
        "state": state,
    }
