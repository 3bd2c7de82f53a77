"""Reading a store: its log and its streams, lazily and in pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from sessions import rules
from sessions.events import SESSION, Recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sessions.mapper import Mapper
    from sessions.recorder import SessionRecorder

_PAGE = 1000


class StoreReader(ABC):
    """What happened, in order. Nothing is locked and no transaction is open between two pages."""

    recorder: SessionRecorder
    mapper: Mapper

    @abstractmethod
    def query(
        self, sql: str, parameters: Sequence[object] = (), *, passing: bool = False
    ) -> list[Any]:
        """All rows of one SELECT as tuples."""

    @property
    def position(self) -> int:
        """Where the log ends: the position of the newest event, 0 if there is none."""
        return self.recorder.head(self.query).position

    def events(
        self,
        session_id: str,
        *,
        after: int = 0,
        until: int | None = None,
        as_of: datetime | None = None,
        position: int | None = None,
    ) -> Iterator[Recorded]:
        """A session's events in order, read lazily in pages.

        Args:
            session_id: The session; one that does not exist has no events.
            after: The version after which to begin.
            until: The last version; None reads to the end.
            as_of: Only what happened up to this time, by `at`.
            position: Only what the log held up to this position.
        """
        rules.count("after", after, least=0)
        as_of = None if as_of is None else rules.moment("as_of", as_of)
        while True:
            rows = self.recorder.stream_rows(
                self.query,
                SESSION,
                session_id,
                after=after,
                until=until,
                limit=_PAGE,
                as_of=as_of,
                position=position,
            )
            yield from self.mapper.recorded(rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][4]

    def log(self, after: int = 0, *, until: int | None = None) -> Iterator[Recorded]:
        """The application's events in order, read lazily in pages.

        Args:
            after: The position after which to begin.
            until: The last position; None reads to the end.
        """
        rules.count("after", after, least=0)
        query = partial(self.query, passing=True)
        while True:
            rows = self.recorder.log_rows(query, after, _PAGE, until)
            yield from self.mapper.recorded(rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][1]
