"""Everything that a store keeps beside its log, made afresh from the log."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from sessions import schema
from sessions.claim_rows import ClaimRows
from sessions.claims import Claim, released_by, taken_by
from sessions.events import ProfileChanged, SessionOpened
from sessions.inline import InlineViews

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from sessions.events import Recorded
    from sessions.inline import Projection
    from sessions.schema import Table

_PAGE = 2000


Progress = Callable[[int, int], object]
"""Is told how many events are done, and of how many."""


def silent(done: int, total: int) -> None:
    """Take no note of progress."""


def tables(projections: Sequence[Projection[Any]]) -> list[Table]:
    """The relations that are made from the log."""
    return [schema.CLAIMS, schema.LIMITS, *[projection.table for projection in projections]]


class Fold:
    """Folds an application's log into relations, page by page."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        application_id: int,
        projections: Sequence[Projection[Any]],
        prefix: str = "",
    ) -> None:
        self._connection = connection
        self._views = InlineViews(projections, application_id, prefix)
        self._claims = ClaimRows(application_id, prefix)
        self.done = 0
        self.position = 0
        self.anonymous_but_not_first: list[int] = []

    def take(self, log: Iterable[Recorded]) -> Iterator[int]:
        """Take in what comes next in the log; yields the number of events done."""
        events = iter(log)
        while page := list(islice(events, _PAGE)):
            for recorded in page:
                self._claim(recorded)
            self._views.fold(self._connection, page)
            self._views.write(self._connection)
            self.done += len(page)
            self.position = page[-1].position
            yield self.done

    def _claim(self, recorded: Recorded) -> None:
        match recorded.event:
            case SessionOpened(profile_id="", first_session=False):
                self.anonymous_but_not_first.append(recorded.position)
            case ProfileChanged(profile_id="", first_session=False):
                self.anonymous_but_not_first.append(recorded.position)
            case _:
                pass
        for claim in released_by(recorded.event):
            self._claims.release(self._connection, claim, recorded.stream_id)
        for claim in taken_by(recorded.event):
            unlimited = Claim(claim.limit)
            self._claims.take(self._connection, unlimited, recorded.stream_id)
