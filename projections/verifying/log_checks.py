"""What can be wrong with a log by itself: gaps, disorder, and events that cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections.verifying.difference import Difference
from sessions.events import SESSION
from sessions.sql import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.errors import UndecodableEvent, UnknownEvent
    from sessions.sql.connection import Query

_EVENTS = schema.EVENTS.name
_DISORDER = f"""
SELECT category, stream_id, position, before, at, earlier
FROM (
    SELECT category, stream_id, position, lag(position) OVER (PARTITION BY category, stream_id
    ORDER BY version) AS before, at, lag(at) OVER (PARTITION BY category, stream_id
    ORDER BY version) AS earlier
    FROM events WHERE application_id = ?
) AS placed
WHERE position < before OR (category = '{SESSION}' AND at < earlier)
ORDER BY position
"""


def unread(obstacle: UnknownEvent | UndecodableEvent) -> Difference:
    """An event that cannot be read, as a difference."""
    where: int = obstacle.where
    return Difference(_EVENTS, (where,), "data", str(obstacle), "an event", where)


def gaps(query: Query, application_id: int) -> Iterator[Difference]:
    """Gaps in positions and versions."""
    sizes = "SELECT count(*), max(position) FROM events WHERE application_id = ?"
    ((count, newest),) = query(sizes, (application_id,))
    if count != (newest or 0):
        yield Difference(_EVENTS, (), "position", f"{count} events", f"{newest} events")
    versions = (
        "SELECT category, stream_id, count(*), max(version) FROM events WHERE application_id = ? "
        "GROUP BY category, stream_id HAVING min(version) <> 1 OR count(*) <> max(version)"
    )
    for category, stream, held, last in query(versions, (application_id,)):
        expected = f"{last} events"
        yield Difference(_EVENTS, (category, stream), "version", f"{held} events", expected)


def disorder(query: Query, application_id: int) -> Iterator[Difference]:
    """Positions and times that go back in a stream."""
    for category, stream, position, before, at, earlier in query(_DISORDER, (application_id,)):
        key = (category, stream)
        if position < before:
            yield Difference(_EVENTS, key, "position", position, f"after {before}", position)
        if category == SESSION and at < earlier:
            yield Difference(_EVENTS, key, "at", at, f"not before {earlier}", position)
