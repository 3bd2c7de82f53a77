"""The follower of an application's log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sessions.log.following import PAGE, Following
from sessions.log.reader import of_sessions
from sessions.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sessions.log.reader import StoreReader


class Follower(Following[Recorded]):
    """Iterates over an application's log and waits for new events; see `SessionStore.follow`.

    Attributes:
        position: Everything up to it was yielded, or was not asked for.
    """

    def __init__(
        self, store: StoreReader, after: int, types: Sequence[str], check: Callable[[], object]
    ) -> None:
        super().__init__(store.recorder, after)
        self._store = store
        self._types = types
        self._check = check

    def _read(self, after: int) -> tuple[Iterator[tuple[int, Recorded]], int]:
        self._check()
        log, mapper = self._log, self._store.mapper
        query = partial(self._store.rows, passing=True)
        until = self._end(after, log.head(query).position) if self._types else None
        rows = log.log_rows(query, after, PAGE, until, self._types)
        if until is None and not rows:
            self._end(after, log.head(query).position)
        envelopes = mapper.recorded(log.application_id, of_sessions(rows))
        if until is None or len(rows) == PAGE:
            until = rows[-1][0] if rows else after
        return ((recorded.position, recorded) for recorded in envelopes), until
