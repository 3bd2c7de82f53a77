"""Why a process's own runner does not follow a projection: told to those who wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from sessions.database import Database
    from sessions.store import SessionStore

_hindrances: WeakKeyDictionary[Database, dict[tuple[int, str], str]] = WeakKeyDictionary()


def note(store: SessionStore, projection: str, reason: str) -> None:
    """Take note of what hinders."""
    of_database = _hindrances.setdefault(store.recorder.database, {})
    of_database[store.application_id, projection] = reason


def forget(store: SessionStore, projection: str) -> None:
    """Nothing hinders any more."""
    _hindrances.get(store.recorder.database, {}).pop((store.application_id, projection), None)


def reason(store: SessionStore, projection: str) -> str | None:
    """What hinders, if anything does."""
    of_database = _hindrances.get(store.recorder.database, {})
    return of_database.get((store.application_id, projection))
