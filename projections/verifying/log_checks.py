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
_ENDS = "SELECT count(*), max(position), min(position) FROM events WHERE application_id = ?"
_FIRST_GAP = """
SELECT place
FROM (
    SELECT position, row_number() OVER (ORDER BY position) AS place
    FROM events WHERE application_id = ?
) AS placed
WHERE position <> place
ORDER BY place
LIMIT 1
"""
_STREAM_WITH_GAP = """
SELECT category, stream_id FROM events WHERE application_id = ?
GROUP BY category, stream_id HAVING min(version) <> 1 OR count(*) <> max(version)
LIMIT 1
"""
_STREAMS_WITH_GAPS = """
SELECT category, stream_id, held, last, min(position)
FROM (
    SELECT category, stream_id, position, version,
    row_number() OVER (PARTITION BY category, stream_id ORDER BY version) AS place,
    count(*) OVER (PARTITION BY category, stream_id) AS held,
    max(version) OVER (PARTITION BY category, stream_id) AS last
    FROM events WHERE application_id = ?
) AS placed
WHERE version <> place
GROUP BY category, stream_id, held, last
ORDER BY min(position)
"""


def unread(obstacle: UnknownEvent | UndecodableEvent) -> Difference:
    """An event that cannot be read, as a difference."""
    where: int = obstacle.where
    return Difference(_EVENTS, (where,), "data", str(obstacle), "an event", where)


def gaps(query: Query, application_id: int) -> Iterator[Difference]:
    """Gaps in positions and versions: the first missing position, and the first event behind."""
    ((count, newest, oldest),) = query(_ENDS, (application_id,))
    if count and (count, 1) != (newest, oldest):
        ((missing,),) = query(_FIRST_GAP, (application_id,))
        expected = f"{newest} events"
        yield Difference(_EVENTS, (missing,), "position", f"{count} events", expected, missing)
    if not query(_STREAM_WITH_GAP, (application_id,)):  # it is cheaper to find none
        return
    for category, stream, held, last, behind in query(_STREAMS_WITH_GAPS, (application_id,)):
        key, expected = (category, stream), f"{last} events"
        yield Difference(_EVENTS, key, "version", f"{held} events", expected, behind)


def disorder(query: Query, application_id: int) -> Iterator[Difference]:
    """Positions and times that go back in a stream."""
    for category, stream, position, before, at, earlier in query(_DISORDER, (application_id,)):
        key = (category, stream)
        if position < before:
            yield Difference(_EVENTS, key, "position", position, f"after {before}", position)
        if category == SESSION and at < earlier:
            yield Difference(_EVENTS, key, "at", at, f"not before {earlier}", position)
