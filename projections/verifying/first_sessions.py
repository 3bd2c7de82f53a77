"""Does the log mark the right sessions as the first ones of their profiles?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections.folding import Part
from projections.verifying.difference import Difference
from sessions.events import ProfileChanged, SessionOpened
from sessions.sql import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.recorded import Recorded
    from sessions.sql.connection import Query
    from sessions.sql.inserting import Write
    from sessions.sql.tables import Table

_EVENTS = schema.EVENTS.name


class AnonymousSessions(Part):
    """Anonymous sessions, each of which is always a first one.

    Attributes:
        not_first: The positions of events that say otherwise.
    """

    wanted = (SessionOpened.__name__, ProfileChanged.__name__)

    def __init__(self) -> None:
        self.not_first: list[int] = []

    def fold(self, _: Query, events: Sequence[Recorded]) -> None:
        """Take in events."""
        for recorded in events:
            match recorded.event:
                case (
                    SessionOpened(profile_id="", first_session=False)
                    | ProfileChanged(profile_id="", first_session=False)
                ):
                    self.not_first.append(recorded.position)
                case _:
                    pass

    def writes(self) -> Sequence[Write]:
        """There is nothing to write."""
        return ()

    def wrong(self) -> Iterator[Difference]:
        """The events that say otherwise."""
        for position in self.not_first:
            yield Difference(_EVENTS, (position, ""), "firstSession", False, True, position)  # noqa: FBT003  stored, expected


def wrong_of_profiles(query: Query, attachments: Table) -> Iterator[Difference]:
    """Attachments with a wrong mark: only the session attached first is its profile's first."""
    wrong = (
        "SELECT position, profile_id, first_session, expected FROM (SELECT *, session_id = "
        "first_value(session_id) OVER (PARTITION BY profile_id ORDER BY position) AS expected "
        f"FROM {attachments.name}) AS attached WHERE first_session <> expected ORDER BY position"
    )
    for position, profile, stored, expected in query(wrong, ()):
        key, flags = (position, profile), (bool(stored), bool(expected))
        yield Difference(_EVENTS, key, "firstSession", *flags, position)
