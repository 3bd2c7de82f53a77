"""What happened with a customer? A profile's sessions in the order in which they came to it.

A session belongs to one profile at a time. While it belongs to a customer, all its events do, even
those from before: a guest's session comes with its past. Once it has moved to another profile, what
happens to it belongs to that profile, until it comes back.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

import msgspec

from projections.beginning import Beginning
from projections.customer_session import CustomerSession, SessionView
from projections.customer_session import fold as fold_session
from projections.figures import Figures, Tally
from sessions.documents import to_json
from sessions.errors import NotInHistory
from sessions.events import ProfileChanged, SessionOpened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sessions.recorded import Recorded
    from sessions.session import Session


class Move(msgspec.Struct, frozen=True, rename="camel"):
    """A session moved to another profile.

    Attributes:
        profile_id: The other profile; "" is nobody known.
        at: When it happened (UTC).
        position: The log position of the event that moved it.
    """

    profile_id: str
    at: datetime
    position: int


class Stay(msgspec.Struct, frozen=True, rename="camel"):
    """A stretch of time for which a session belonged to a customer.

    Attributes:
        at: When it was attached to the profile (UTC).
        position: The log position of the event that attached it.
        first_session: Whether it was the profile's first session, as that event says.
        came_from: The profile that it had before; "" is nobody known. None if it was opened for
            this customer.
        moved_to: The move to another profile that ended the stay; None if it has not ended.
    """

    at: datetime
    position: int
    first_session: bool
    came_from: str | None = None
    moved_to: Move | None = None


class SessionHistory(msgspec.Struct, frozen=True):
    """A session in a customer's history.

    Attributes:
        stays: Each time that it belonged to the customer, in order.
        view: The fold of `events`.
        events: Its events, in order. If it moved away: up to the event that moved it.
    """

    stays: tuple[Stay, ...]
    view: SessionView
    events: Beginning

    @property
    def session_id(self) -> str:
        """Its integrationId."""
        return self.view.session_id

    @property
    def attached(self) -> Stay:
        """The latest of `stays`."""
        return self.stays[-1]

    @property
    def first_session(self) -> bool:
        """Whether it was the profile's first session when it was last attached."""
        return self.attached.first_session

    @property
    def moved_to(self) -> Move | None:
        """The move to another profile; None if it belongs to the customer."""
        return self.attached.moved_to

    @property
    def belongs(self) -> bool:
        """Whether it belongs to the customer."""
        return self.moved_to is None

    @property
    def customer_session(self) -> CustomerSession:
        """The session after the last of `events`."""
        return self.view.customer_session()

    def as_dict(self) -> dict[str, object]:
        """The session as it is in the history's JSON, by its names there."""
        return {
            "sessionId": self.session_id,
            "belongs": self.belongs,
            "firstSession": self.first_session,
            "cameFrom": self.attached.came_from,
            "movedTo": self.moved_to,
            "stays": self.stays,
            "session": msgspec.Raw(self.customer_session.to_json().encode()),
            "events": [recorded.as_dict() for recorded in self.events],
        }


class CustomerHistory(msgspec.Struct, frozen=True):
    """A customer's history at one moment.

    Attributes:
        profile_id: The customer's profile id.
        sessions: In the order in which they were attached to the profile; one that came back is
            attached again, and so comes last. Those that moved away are still included.
        figures: What the sessions that belong to the customer add up to.
    """

    profile_id: str
    sessions: tuple[SessionHistory, ...] = ()
    figures: Figures = msgspec.field(default_factory=Figures)

    @property
    def first_session_id(self) -> str | None:
        """The id of the first attached session that belongs to the customer; None without one."""
        return next((each.session_id for each in self.sessions if each.belongs), None)

    @property
    def latest_session_id(self) -> str | None:
        """The id of the last attached session that belongs to the customer; None without one."""
        return next((each.session_id for each in reversed(self.sessions) if each.belongs), None)

    def session(self, session_id: str) -> SessionHistory:
        """One of the sessions, by its id.

        Raises:
            NotInHistory: It never belonged to the customer.
        """
        for each in self.sessions:
            if each.session_id == session_id:
                return each
        raise NotInHistory(profile=self.profile_id, session=session_id)

    def to_json(self, *, session_id: str | None = None) -> str:
        """One JSON object: the line of `sessions history --figures --json`.

        Args:
            session_id: Include only this session. The figures still cover all sessions.

        Raises:
            NotInHistory: The session never belonged to the customer.
        """
        shown = self.sessions if session_id is None else [self.session(session_id)]
        return to_json(
            {
                "profileId": self.profile_id,
                "firstSessionId": self.first_session_id,
                "latestSessionId": self.latest_session_id,
                **self.figures.as_dict(),
                "gapSeconds": [gap.total_seconds() for gap in self.figures.gaps],
                "sessions": [each.as_dict() for each in shown],
            }
        )


def fold(
    history: CustomerHistory, recorded: Recorded, stream: Iterable[Recorded] = ()
) -> CustomerHistory:
    """The history after an event. An event of another profile's session changes nothing.

    Args:
        history: The history before it.
        recorded: The next event in the order of the log.
        stream: The events of its session. A session that comes from another profile brings along
            those of them that are before the event.
    """
    folding = Folding(history)
    folding.take(recorded, stream)
    return folding.history


def folded(profile_id: str, log: Iterable[Recorded]) -> CustomerHistory:
    """The history after all events of the sessions that came to a profile, in order."""
    folding = Folding(CustomerHistory(profile_id))
    streams: dict[str, list[Recorded]] = {}
    for recorded in log:
        stream = streams.setdefault(recorded.stream_id, [])
        stream.append(recorded)
        folding.take(recorded, stream)
    return folding.history


class Folding:
    """A history that takes in one event after the other, and is copied only when it is read.

    Attributes:
        by_id: The sessions so far by id, in their order.
    """

    def __init__(self, history: CustomerHistory) -> None:
        self._profile_id = history.profile_id
        self.by_id = {each.session_id: each for each in history.sessions}
        self._tally = Tally(history.figures)

    @property
    def figures(self) -> Figures:
        """What the sessions that belong to the customer add up to."""
        return self._tally.figures

    @property
    def history(self) -> CustomerHistory:
        """The history after the events taken in so far."""
        return CustomerHistory(self._profile_id, tuple(self.by_id.values()), self.figures)

    def take(self, recorded: Recorded, stream: Iterable[Recorded]) -> None:
        """Take in an event, as `fold` does."""
        known = self.by_id.get(recorded.stream_id)
        match recorded.event:
            case (SessionOpened() | ProfileChanged()) as event if (
                event.profile_id == self._profile_id
            ):
                before = [each for each in stream if each.version < recorded.version]
                came = _came(known, recorded, event, before)
                self._put(known, came)
                self.by_id[came.session_id] = self.by_id.pop(came.session_id)
            case _ if known is not None and known.belongs:
                self._put(known, _went_on(known, recorded))
            case _:
                pass

    def _put(self, before: SessionHistory | None, after: SessionHistory) -> None:
        self.by_id[after.session_id] = after
        self._tally.change(_counted(before), _counted(after))


def _counted(known: SessionHistory | None) -> Session | None:
    """What counts in the figures: nothing of a session that belongs to another profile."""
    return known.view.session if known and known.belongs else None


def _came(
    known: SessionHistory | None,
    recorded: Recorded,
    event: SessionOpened | ProfileChanged,
    before: Sequence[Recorded],
) -> SessionHistory:
    """A session that comes to the customer, with its events from before."""
    came_from = event.old_profile_id if isinstance(event, ProfileChanged) else None
    stay = Stay(recorded.at, recorded.position, event.first_session, came_from)
    events = Beginning([*before, recorded], len(before) + 1)
    view = reduce(fold_session, before, None)
    return SessionHistory(
        (*(known.stays if known else ()), stay), fold_session(view, recorded), events
    )


def _went_on(known: SessionHistory, recorded: Recorded) -> SessionHistory:
    """A session of the customer after an event, which may move it away."""
    event, (*past, stay) = recorded.event, known.stays
    if isinstance(event, ProfileChanged):
        moved = Move(event.profile_id, recorded.at, recorded.position)
        stay = msgspec.structs.replace(stay, moved_to=moved)
    view = fold_session(known.view, recorded)
    return SessionHistory((*past, stay), view, known.events.then(recorded))
