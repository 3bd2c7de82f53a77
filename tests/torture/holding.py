"""Compares what a process holds in memory at the end of a round with what a fresh store says.

Nobody writes meanwhile. What is held is first brought up to date, as before any command.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from projections import CustomerSessions, StoredProjection
from sessions import AddItem, Refused
from sessions.commits.memory import Held
from tests.torture.projecting import open_store
from tests.waiting import patiently

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from sessions import SessionStore

_NOBODY = "nobody"
_DECIDED = 20
"""How many of the held sessions get a command to decide."""


def wrong(store: SessionStore, url: str, random: Random) -> list[str]:
    """What a store holds, reads or decides differently from a fresh one."""
    with patiently(lambda: open_store(url, store.application_id)) as fresh:
        patiently(lambda: _decided(store, _NOBODY))
        found = [*_sessions(store, fresh), *_views(store, fresh)]
        held = sorted(store._writer._memory._held)
        for session_id in random.sample(held, min(_DECIDED, len(held))):
            found += _answers(store, fresh, session_id)
    return found


def _sessions(store: SessionStore, fresh: SessionStore) -> Iterator[str]:
    memory = store._writer._memory
    for session_id in list(memory._held):
        held, is_proved = memory.last_seen(session_id)
        truth = Held()
        for recorded in fresh.events(session_id, until=None if is_proved else held.version):
            truth = truth.after(recorded)
        if held != truth:
            yield f"{session_id} is held as {held}, and is {truth}"


def _views(store: SessionStore, fresh: SessionStore) -> Iterator[str]:
    for name, views in store._writer._views._views.items():
        stored = StoredProjection(fresh, views.projection)
        for key, view in list(views._held._views.items()):
            truth: Any = stored.get(key)
            if view != truth:
                yield f"{name} of {key} is held as {view}, and is {truth}"


def _answers(store: SessionStore, fresh: SessionStore, session_id: str) -> Iterator[str]:
    for ask in (_read, _decided):
        told, truth = [patiently(partial(ask, each, session_id)) for each in (store, fresh)]
        if told != truth:
            yield f"{session_id}: {told}, and from a fresh store {truth}"


def _read(store: SessionStore, session_id: str) -> object:
    return CustomerSessions(store).get(session_id)


def _decided(store: SessionStore, session_id: str) -> object:
    """What becomes of a command, without what differs in any two answers."""
    try:
        done = store.execute(session_id, AddItem(sku="held", price=1), dry_run=True)
    except Refused as error:
        return repr(error)
    return done.version, done.position, [recorded.event for recorded in done.events]
