"""The events that one view is folded from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sessions.keys import Key
    from sessions.log.reader import StoreReader
    from sessions.recorded import Recorded
    from sessions.views.projection import Projection


def events_of(  # noqa: PLR0913  the bounds that may be asked for
    projection: Projection[Any],
    reader: StoreReader,
    key: Key,
    as_of: datetime | None,
    position: int | None,
    *,
    after: Recorded | None = None,
) -> Iterator[Recorded]:
    """The events that a view is folded from, or those after one of them.

    They are read from one stream if that has all of them, else from the log.
    """
    if projection.is_of_session:
        if not key:
            return  # no session has an empty id
        version = after.version if after else 0
        events = reader.events(str(key), after=version, as_of=as_of, position=position)
    else:
        begin = after.position if after else 0
        events = reader.log_without(tuple(projection.unwanted), begin, until=position)
    for recorded in events:
        if key in projection.touched(recorded) and (as_of is None or recorded.at <= as_of):
            yield recorded
