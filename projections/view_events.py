"""The events that one view is folded from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sessions.events import Recorded
    from sessions.projection import Key, Projection
    from sessions.reader import StoreReader


def events_of(  # noqa: PLR0913  the bounds that may be asked for
    projection: Projection[Any],
    reader: StoreReader,
    key: Key,
    as_of: datetime | None,
    position: int | None,
    *,
    after: int = 0,
) -> Iterator[Recorded]:
    """The events behind a position that a view is folded from: of one stream, if it has them."""
    if projection.is_of_session:
        events = reader.events(str(key), as_of=as_of, position=position)
    else:
        names = [kind.__name__ for kind in projection.wanted]
        events = reader.log(after, until=position, types=names)
    for recorded in events:
        touched = recorded.position > after and key in projection.touched(recorded)
        if touched and (as_of is None or recorded.at <= as_of):
            yield recorded
