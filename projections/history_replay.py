"""What did each event do to a customer's history?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from projections.customer_history import CustomerHistory, Folding, SessionHistory, folded
from sessions.documents import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from projections.figures import Figures
    from sessions.recorded import Recorded


@dataclass(frozen=True)
class HistoryStep:
    """An event of a customer's history, and the history after it.

    Attributes:
        recorded: The event.
        session: Its session after it; None if the session had not yet come to the customer.
        figures: What the customer's sessions add up to after it.
    """

    recorded: Recorded
    session: SessionHistory | None
    figures: Figures
    _history: Callable[[], CustomerHistory] = field(repr=False, compare=False)

    @property
    def belongs(self) -> bool:
        """Whether the event's session belongs to the customer after it."""
        return self.session is not None and self.session.belongs

    @property
    def history(self) -> CustomerHistory:
        """The whole history after it; it is put together each time that you ask for it."""
        return self._history()

    def to_json(self) -> str:
        """One JSON object: a line of `sessions history --events --json`."""
        state = self.session.customer_session.state if self.session and self.belongs else None
        after = {"belongs": self.belongs, "state": state, "after": self.figures.as_dict()}
        return to_json(self.recorded.as_dict() | after)


def steps(profile_id: str, log: Sequence[Recorded]) -> Iterator[HistoryStep]:
    """A step for each event, in order, of the history that `folded` makes of the same log."""
    last = folded(profile_id, log)
    streams = {each.session_id: each.events for each in last.sessions}
    events = [recorded for stream in streams.values() for recorded in stream]
    folding = Folding(CustomerHistory(profile_id))
    journal: list[SessionHistory] = []
    for recorded in sorted(events, key=attrgetter("position")):
        folding.take(recorded, streams[recorded.stream_id])
        session, figures = folding.by_id.get(recorded.stream_id), folding.figures
        journal += [session] if session else []
        history = partial(_history, profile_id, journal, len(journal), figures)
        yield HistoryStep(recorded, session, figures, history)


def _history(
    profile_id: str, journal: Sequence[SessionHistory], length: int, figures: Figures
) -> CustomerHistory:
    """The history after an event, from a journal of the sessions as each event left them."""
    by_id: dict[str, SessionHistory] = {}
    for session in islice(journal, length):
        if session.attached.position == session.events[-1].position:
            by_id.pop(session.session_id, None)  # it came, or came back: now it is the last
        by_id[session.session_id] = session
    return CustomerHistory(profile_id, tuple(by_id.values()), figures)
