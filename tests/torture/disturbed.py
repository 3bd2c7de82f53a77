"""The caller in a process's main thread: signals interrupt what it asks, reads and closes."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from projections import CustomerSessions
from sessions import NotFound, StoreClosed
from sessions.errors import SessionsError
from tests.torture import asking
from tests.torture.asking import Wanted
from tests.torture.caller import Caller
from tests.torture.interrupting import Alarmed, Interrupted, Signals
from tests.torture.journal import DRY
from tests.torture.projecting import open_store
from tests.waiting import patiently

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sessions import SessionStore


class Disturbed(Caller):
    """A caller that mostly uses keys of its own, and retries at once if it was interrupted."""

    def __init__(  # noqa: PLR0913  those of a caller, and what disturbs it
        self,
        store: SessionStore,
        name: str,
        directory: Path,
        seed: int,
        *,
        signals: Signals,
        url: str,
    ) -> None:
        super().__init__(store, name, directory, seed, signals)
        self._within_each = Signals(self._random, [Alarmed])  # a batch may go on after each
        self._url = url
        self._keys = count()

    def _turn(self) -> None:
        way = self._random.random()
        if way < 0.2:
            wanted = [self._wanted() for _ in range(self._random.randrange(1, 30))]
            self._batch(wanted, pauses=False)
        elif way < 0.3:
            self._read()
        elif way < 0.33:
            self._come_by()
        else:
            self._ask_patiently(self._wanted())

    def _wanted(self) -> Wanted:
        key = f"{self._name}-k{next(self._keys)}"
        if self._random.random() < 0.5:
            wanted = asking.one_event(self._random, self._round, key)
        else:
            wanted = super()._wanted()
        if wanted.key is not None or wanted.how == DRY or self._random.random() < 0.3:
            return wanted
        return Wanted(wanted.how, wanted.requests, key, wanted.expected)

    def _read(self) -> None:
        store, ((session_id, _), *_) = self._store, self._wanted().requests
        reads = (
            lambda: CustomerSessions(store).get(session_id),
            lambda: CustomerSessions(store).find(state="open", limit=5),
            lambda: list(store.events(session_id)),
            lambda: store.query("SELECT count(*) FROM claims"),
            self.see,
        )
        read = self._random.choice(reads)
        try:
            with suppress(NotFound, Interrupted, Alarmed), self._within:
                read()
        except SessionsError as error:
            if not error.retry:
                raise

    def _come_by(self) -> None:
        """Make one request through a store that is opened for it, and closed after it."""
        stays = self._store
        self._store = patiently(lambda: open_store(self._url))
        try:
            self._ask(self._wanted())
            close(self._store, self._within)
        finally:
            self._store = stays


def close(store: SessionStore, within: AbstractContextManager[object]) -> None:
    """Close a store, and close it once more if that was interrupted."""
    with suppress(Interrupted, Alarmed), within:
        store.close()
    store.close()
    with suppress(StoreClosed):
        store.query("SELECT 1")
        raise AssertionError(store)
