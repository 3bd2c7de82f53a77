"""Events to stored bytes and back, whatever version of an event wrote the bytes.

Data is canonical UTF-8 JSON: keys sorted, defaults left out, Decimals as plain numbers. A stored
event is named by its class's name and a version of its shape. To change a shape in a way that a
new field with a default cannot express: keep the old class under another name, raise `VERSIONS`,
and add an `Upcaster` from the old shape to the next one; golden bytes in the tests hold every
shape that ever was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sessions import clock
from sessions.errors import UndecodableEvent, UnknownEvent
from sessions.events import EVENTS, Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sessions.events import Event

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="sorted")

VERSIONS: Mapping[str, int] = {}
"""The newest version of each event's shape; 1 where it is not named."""


class Upcaster(msgspec.Struct, frozen=True):
    """How the shape of a version becomes the next version's.

    `shape` is the Struct that the old bytes are decoded as.
    """

    shape: type[msgspec.Struct]
    to_next: Callable[[Any], Any]


UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""By stored name and version: the one place where old shapes live on."""


class Mapper:
    """Encodes and decodes events by stored name and version."""

    def __init__(
        self,
        events: Mapping[str, type[Any]] = EVENTS,
        versions: Mapping[str, int] = VERSIONS,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        self._newest = {name: versions.get(name, 1) for name in events}
        self._upcasters = dict(upcasters)
        self._decoders: dict[tuple[str, int], Callable[[str], Any]] = {
            (name, self._newest[name]): msgspec.json.Decoder(kind).decode
            for name, kind in events.items()
        }
        self._of_newest = dict(self._decoders)
        for old, upcaster in upcasters.items():
            self._decoders[old] = msgspec.json.Decoder(upcaster.shape).decode

    def encode(self, event: Event) -> tuple[str, int, str]:
        """The stored name, version and data of an event."""
        name = type(event).__name__
        return name, self._newest[name], encode_json(event)

    def decode(self, name: str, version: int, data: str, where: object) -> Event:
        """The event of stored data, brought up to the newest shape.

        Raises:
            UnknownEvent: A newer library wrote it.
            UndecodableEvent: The data does not fit the shape.
        """
        decode = self._decoders.get((name, version))
        if decode is None:
            raise UnknownEvent(type=name, type_version=version, where=where)
        try:
            event: Event = decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UndecodableEvent(
                type=name, type_version=version, where=where, reason=error
            ) from error
        if version != self._newest[name]:
            for passed in range(version, self._newest[name]):
                event = self._upcasters[name, passed].to_next(event)
        return event

    def to_row(self, recorded: Recorded) -> Sequence[object]:
        """The row of `schema.EVENTS` for an envelope, as the database takes it."""
        name, version, data = self.encode(recorded.event)
        at = clock.text(recorded.at)
        same = recorded.at is recorded.recorded_at
        return (
            recorded.application_id,
            recorded.position,
            recorded.category,
            recorded.stream_id,
            recorded.version,
            name,
            version,
            at,
            at if same else clock.text(recorded.recorded_at),
            recorded.command_id,
            encode_json(recorded.metadata) if recorded.metadata else "{}",
            data,
        )

    def recorded(self, app: int, rows: Iterable[Sequence[Any]]) -> Iterator[Recorded]:
        """The envelopes of an application's rows of `Dialect.event`.

        Raises:
            UnknownEvent: A newer library wrote one.
            UndecodableEvent: The data of one does not fit its shape.
        """
        newest, a_time = self._of_newest, datetime.fromisoformat
        for position, cat, stream, version, name, shape, at, now, command, meta, data in rows:
            decode = newest.get((name, shape))
            try:
                event = decode(data) if decode else self.decode(name, shape, data, position)
                when = a_time(at)
                recorded = when if now is None else a_time(now)
                who = {} if meta is None else msgspec.json.decode(meta, type=dict[str, Any])
            except (ValueError, msgspec.MsgspecError) as error:
                raise UndecodableEvent(
                    type=name, type_version=shape, where=position, reason=error
                ) from error
            yield Recorded(app, position, cat, stream, version, when, recorded, command, who, event)


def encode_json(value: object) -> str:
    """A value as canonical JSON text."""
    return _ENCODER.encode(value).decode()
