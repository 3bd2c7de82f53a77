"""The follower of an application's log: its envelopes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sessions.following import PAGE, Following
from sessions.reader import of_sessions
from sessions.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.reader import StoreReader


class Follower(Following[Recorded]):
    """The envelopes of an application's log; see `SessionStore.follow`."""

    def __init__(self, store: StoreReader, after: int, types: Sequence[str]) -> None:
        super().__init__(store.recorder.database, after)
        self._store = store
        self._types = types

    def _read(self, after: int) -> tuple[Iterator[tuple[int, Recorded]], int]:
        recorder, mapper = self._store.recorder, self._store.mapper
        query = partial(self._store.query, passing=True)
        until = max(after, recorder.head(query).position) if self._types else None
        rows = recorder.log_rows(query, after, PAGE, until, self._types)
        envelopes = mapper.recorded(recorder.application_id, of_sessions(rows))
        if until is None or len(rows) == PAGE:
            until = rows[-1][0] if rows else after
        return ((recorded.position, recorded) for recorded in envelopes), until
