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
from sessions.events import EVENTS
from sessions.recorded import Happened, Recorded
from sessions.sql.topics import TOPIC, shape_of, topic_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sessions.events import Event

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="sorted")
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_UNFIT = (ValueError, TypeError, msgspec.MsgspecError)
"""What is raised if a row does not fit the shape that it names."""

VERSIONS: Mapping[str, int] = {}
"""The newest version of each event's shape; 1 if it is not listed."""


class Upcaster(msgspec.Struct, frozen=True):
    """How the shape of one version becomes that of the next.

    `shape` is the Struct that the old bytes are decoded as.
    """

    shape: type[msgspec.Struct]
    to_next: Callable[[Any], Any]


HAPPENED = f"{TOPIC}, at, command_id, data"
"""The columns of an event that `Mapper.happened` needs."""

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
        self._decoders: dict[str, Callable[[str], Any]] = {
            topic_of(name, self._newest[name]): msgspec.json.Decoder(kind).decode
            for name, kind in events.items()
        }
        for name, version in upcasters:
            steps = [upcasters.get((name, at)) for at in range(version, self._newest.get(name, 1))]
            if not steps or not all(steps):
                message = f"upcasters of {name} do not lead from version {version} to the newest"
                raise ValueError(message)
            self._decoders[topic_of(name, version)] = _of_old([step for step in steps if step])

    def encode(self, event: Event) -> tuple[str, int, str]:
        """The stored name, version and data of an event."""
        name = type(event).__name__
        return name, self._newest[name], encode_json(event)

    def decode(self, name: str, version: int, data: str, where: int) -> Event:
        """The event of stored data, brought up to the newest shape.

        Raises:
            UnknownEvent: A newer library wrote it.
            UndecodableEvent: The data does not fit the shape.
        """
        decode = self._decoders.get(topic_of(name, version))
        if decode is None:
            raise UnknownEvent(type=name, type_version=version, where=where)
        try:
            event: Event = decode(data)
        except _UNFIT as error:
            raise UndecodableEvent(
                type=name, type_version=version, where=where, reason=error
            ) from error
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

    def recorded(self, app: int, rows: Sequence[Sequence[Any]]) -> Iterable[Recorded]:
        """The envelopes of an application's rows of `Dialect.event`.

        Raises:
            UnknownEvent: A newer library wrote one; those before it come first.
            UndecodableEvent: The data of one does not fit its shape.
        """
        try:
            return self._envelopes(app, rows)
        except (*_UNFIT, KeyError):
            return self._one_by_one(app, rows)

    def happened(self, stream_id: str, rows: Sequence[Sequence[Any]]) -> list[Happened] | None:
        """The events of a stream's rows of `HAPPENED`; None if one cannot be read.

        `recorded` then says what is wrong with it.
        """
        decoders, time = self._decoders, datetime.fromisoformat
        try:
            return [
                (stream_id, time(at), command_id, decoders[topic](data))
                for topic, at, command_id, data in rows
            ]
        except (*_UNFIT, KeyError):
            return None

    def streams(self, rows: Sequence[Sequence[Any]]) -> list[Happened] | None:
        """`happened`, of rows that begin with the id of their stream, and their version."""
        decoders, time = self._decoders, datetime.fromisoformat
        try:
            return [
                (stream_id, time(at), command_id, decoders[topic](data))
                for stream_id, _, topic, at, command_id, data in rows
            ]
        except (*_UNFIT, KeyError):
            return None

    def _envelopes(self, app: int, rows: Sequence[Sequence[Any]]) -> list[Recorded]:
        """All of them in one go: reading a log is mostly this step."""
        decoders, time, read = self._decoders, datetime.fromisoformat, _OBJECT.decode
        return [
            Recorded(
                app,
                position,
                category,
                stream_id,
                version,
                when := time(at),
                when if recorded_at is None else time(recorded_at),
                command_id,
                {} if metadata is None else read(metadata),
                decoders[topic](data),
            )
            for (
                position,
                category,
                stream_id,
                version,
                topic,
                at,
                recorded_at,
                command_id,
                metadata,
                data,
            ) in rows
        ]

    def _one_by_one(self, app: int, rows: Sequence[Sequence[Any]]) -> Iterator[Recorded]:
        for row in rows:
            where, topic, data = row[0], row[4], row[-1]
            name, version = shape_of(str(topic))  # on SQLite it may be bytes
            self.decode(name, version, data, where)
            try:
                (envelope,) = self._envelopes(app, [row])
            except _UNFIT as error:
                raise UndecodableEvent(
                    type=name, type_version=version, where=where, reason=error
                ) from error
            yield envelope


def _of_old(steps: Sequence[Upcaster]) -> Callable[[str], Any]:
    """Decodes an old shape, and takes it step by step to the newest."""
    decode = msgspec.json.Decoder(steps[0].shape).decode

    def decoded(data: str) -> Any:  # noqa: ANN401  an event of any old shape
        event = decode(data)
        try:
            for step in steps:
                event = step.to_next(event)
        except Exception as error:
            message = f"an upcaster failed: {error!r}"
            raise ValueError(message) from error
        return event

    return decoded


def encode_json(value: object) -> str:
    """A value as canonical JSON text."""
    return _ENCODER.encode(value).decode()
