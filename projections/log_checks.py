"""What is wrong with a log by itself: gaps, events that cannot be read, wrong first sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections.difference import Difference
from projections.folding import Part
from sessions import schema
from sessions.events import ProfileChanged, SessionOpened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.database import Connection, Query
    from sessions.errors import UndecodableEvent, UnknownEvent
    from sessions.events import Recorded
    from sessions.tables import Table

_EVENTS = schema.EVENTS.name


class Anonymous(Part):
    """Sessions of nobody known, which are always first ones.

    Attributes:
        not_first: Positions of events that say otherwise.
    """

    wanted = (SessionOpened.__name__, ProfileChanged.__name__)

    def __init__(self) -> None:
        self.not_first: list[int] = []

    def fold(self, _: Query, events: Sequence[Recorded]) -> None:
        """Take in events."""
        for recorded in events:
            match recorded.event:
                case SessionOpened(profile_id="", first_session=False):
                    self.not_first.append(recorded.position)
                case ProfileChanged(profile_id="", first_session=False):
                    self.not_first.append(recorded.position)
                case _:
                    pass

    def write(self, _: Connection) -> None:
        """There is nothing to write."""


def wrong_first_sessions(query: Query, attachments: Table) -> Iterator[Difference]:
    """The first session of a profile is the one that was attached to it first, and no other."""
    wrong = (
        "SELECT position, profile_id, first_session, expected FROM (SELECT *, session_id = "
        "first_value(session_id) OVER (PARTITION BY profile_id ORDER BY position) AS expected "
        f"FROM {attachments.name}) AS attached WHERE first_session <> expected ORDER BY position"
    )
    for position, profile, stored, expected in query(wrong, ()):
        key, wrong_flag = (position, profile), (bool(stored), bool(expected))
        yield Difference(_EVENTS, key, "firstSession", *wrong_flag, position)


def unread(obstacle: UnknownEvent | UndecodableEvent) -> Difference:
    """An event that cannot be read, as a difference."""
    where: int = obstacle.where
    return Difference(_EVENTS, (where,), "data", str(obstacle), "an event", where)


def gaps(query: Query, application_id: int) -> Iterator[Difference]:
    """Positions and versions without gaps."""
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
