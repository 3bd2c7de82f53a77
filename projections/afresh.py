"""Everything that a store keeps beside its log, made afresh from the log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from sessions import schema
from sessions.claim_rows import ClaimRows, Ledger
from sessions.claims import Claim, released_by, taken_by
from sessions.database import query_on
from sessions.events import ProfileChanged, SessionOpened
from sessions.inline import InlineViews

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sessions.database import Connection
    from sessions.dialect import Dialect
    from sessions.events import Recorded
    from sessions.inline import Projection
    from sessions.schema import Table

_PAGE = 2000
_READ_TOGETHER = 500


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
        connection: Connection,
        application_id: int,
        projections: Sequence[Projection[Any]],
        dialect: Dialect,
        prefix: str = "",
    ) -> None:
        self._connection = connection
        self._query = query_on(connection)
        self._views = InlineViews(projections, application_id, dialect, prefix)
        self._claims = ClaimRows(application_id, dialect, prefix)
        self.done = 0
        self.position = 0
        self.anonymous_but_not_first: list[int] = []

    def take(self, log: Iterable[Recorded]) -> Iterator[int]:
        """Take in what comes next in the log; yields the number of events done."""
        events = iter(log)
        while page := list(islice(events, _PAGE)):
            ledger = self._ledger(page)
            for recorded in page:
                self._claim(ledger, recorded)
            self._claims.write(self._connection, ledger)
            self._views.fold(self._connection, page)
            self._views.write(self._connection)
            self.done += len(page)
            self.position = page[-1].position
            yield self.done

    def _ledger(self, page: Sequence[Recorded]) -> Ledger:
        """The claims that a page of events is about, read together."""
        touched = [
            (claim.limit, recorded.stream_id)
            for recorded in page
            for claim in (*released_by(recorded.event), *taken_by(recorded.event))
        ]
        ledger = Ledger(partial(self._claims.usage, self._query))
        for start in range(0, len(touched), _READ_TOGETHER):
            pairs = touched[start : start + _READ_TOGETHER]
            answers = [self._query(*statement) for statement in self._claims.asks(pairs)]
            ledger.know(self._claims.usages(pairs, answers))
        return ledger

    def _claim(self, ledger: Ledger, recorded: Recorded) -> None:
        match recorded.event:
            case SessionOpened(profile_id="", first_session=False):
                self.anonymous_but_not_first.append(recorded.position)
            case ProfileChanged(profile_id="", first_session=False):
                self.anonymous_but_not_first.append(recorded.position)
            case _:
                pass
        for claim in released_by(recorded.event):
            ledger.release(claim, recorded.stream_id)
        for claim in taken_by(recorded.event):
            ledger.take(Claim(claim.limit), recorded.stream_id)
