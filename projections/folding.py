"""Passes over a log: each part folds it page by page, from the position that it has reached.

What a part makes and its position are committed together, so a page that is read twice is folded
once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sessions.claims import CLAIMING, Claim, released_by, taken_by
from sessions.log.claim_rows import ClaimRows, Ledger
from sessions.news import News
from sessions.sql import schema
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from projections.pages import Page
    from sessions.recorded import Recorded
    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build
    from sessions.sql.inserting import Write
    from sessions.views.projection import Projection
    from sessions.views.views import Views

HELD = 10_000
"""How many views of a projection are held in memory."""
WRITING = "projections"
"""The lock for writing followed views and builds."""

_READ_TOGETHER = 500

Progress = Callable[[int, int], object]
"""A callback that gets the number of events done so far, and their total number."""


def never() -> bool:
    """Do not stop."""
    return False


def silent(done: int, total: int) -> None:
    """Ignore progress."""


class Overtaken(News):
    """Somebody else has advanced this part meanwhile; nothing was written."""


class Part(ABC):
    """Something that is made from the log of one application.

    Attributes:
        position: The log position that it has reached.
    """

    position: int = 0

    @property
    @abstractmethod
    def wanted(self) -> Collection[str]:
        """The types of the events that it wants."""

    def take(self, query: Query, page: Page) -> None:
        """Fold those events of a page that it has not folded yet."""
        new = page.events
        if new and new[0].position <= self.position:
            new = [event for event in new if event.position > self.position]
        self.fold(query, new)
        self.position = max(self.position, page.until)

    @abstractmethod
    def fold(self, query: Query, events: Sequence[Recorded]) -> None:
        """Take in events."""

    @abstractmethod
    def writes(self) -> Sequence[Write]:
        """The writes for all that was folded, in order; they may run after more was folded."""

    def write(self, connection: Connection) -> None:
        """Write what was folded."""
        for write in self.writes():
            write(connection)


class BuildOf(Part):
    """A build of a projection."""

    def __init__(self, projection: Projection[Any], views: Views[Any]) -> None:
        self.projection = projection
        self._views = views

    @property
    def wanted(self) -> Collection[str]:
        """The types of the events that it wants."""
        return self.projection.wanted_names

    def fold(self, query: Query, events: Sequence[Recorded]) -> None:
        """Take in events."""
        self._views.fold(query, events)

    def writes(self) -> Sequence[Write]:
        """The writes for all that was folded."""
        return self._views.writes()


class ClaimsOf(Part):
    """The claims of an application."""

    wanted = tuple([kind.__name__ for kind in CLAIMING])

    def __init__(self, claims: ClaimRows) -> None:
        self._claims = claims
        self._ledgers: list[Ledger] = []

    def fold(self, query: Query, events: Sequence[Recorded]) -> None:
        """Take in events."""
        claiming = [e for e in events if type(e.event) in CLAIMING]
        changes = [(e.stream_id, released_by(e.event), taken_by(e.event)) for e in claiming]
        begun = {e.stream_id for e in claiming if e.version == 1}
        ledger = self._ledger(query, changes, begun)
        for holder, released, taken in changes:
            for claim in released:
                ledger.release(claim, holder)
            for claim in taken:
                ledger.take(Claim(claim.limit), holder)
        self._ledgers.append(ledger)

    def _ledger(self, query: Query, changes: Sequence[_Change], begun: set[str]) -> Ledger:
        """The claims that events touch, read together."""
        touched = [
            (claim.limit, holder)
            for holder, released, taken in changes
            for claim in (*released, *taken)
        ]
        ledger = Ledger(partial(self._claims.usage, query))
        for start in range(0, len(touched), _READ_TOGETHER):
            pairs = touched[start : start + _READ_TOGETHER]
            answers = [query(*statement) for statement in self._claims.asks(pairs, begun)]
            ledger.know(self._claims.usages(pairs, answers))
        return ledger

    def writes(self) -> Sequence[Write]:
        """The writes for all that was folded."""
        ledgers, self._ledgers = self._ledgers, []
        return [partial(self._claims.write, ledger=ledger) for ledger in ledgers]


_Change: TypeAlias = tuple[str, Sequence[Claim], Sequence[Claim]]
"""A stream, and the claims that an event of it releases and takes."""


class Tracked(Part):
    """A part whose position is kept in the store, beside what it makes."""

    def __init__(
        self,
        part: Part,
        database: Database,
        build: Build,
        application_id: int,
        query: Query | None = None,
    ) -> None:
        upsert = schema.POSITIONS.upsert(database.dialect)
        self._part = part
        self._key = (kept.follower_of(build), str(application_id))
        self._advance = f"{schema.POSITIONS.insert()} {upsert} WHERE positions.position = ?"
        query = query or database.query
        self.position = self._kept = kept.position(query, build, application_id)

    @property
    def wanted(self) -> Collection[str]:
        """The types of the events that it wants."""
        return self._part.wanted

    def fold(self, query: Query, events: Sequence[Recorded]) -> None:
        """Take in events."""
        self._part.fold(query, events)

    def writes(self) -> Sequence[Write]:
        """The writes for its position, and then for all that was folded.

        The first one raises `Overtaken` if somebody else has advanced it.
        """
        if self.position == self._kept:
            return ()
        row = (*self._key, self.position, self._kept)
        self._kept = self.position
        return [partial(self._come, row), *self._part.writes()]

    def _come(self, row: Sequence[object], connection: Connection) -> None:
        if not connection.execute(self._advance, row).rowcount:
            raise Overtaken


def wanted_by(parts: Iterable[Part]) -> set[str]:
    """The types of the events that any part wants."""
    return {name for part in parts for name in part.wanted}
