"""Why this process's own runner does not follow a projection, for callers that wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from sessions.sql.database import Database
    from sessions.store import SessionStore

_reasons: WeakKeyDictionary[Database, dict[tuple[int, str], str]] = WeakKeyDictionary()


def note(store: SessionStore, projection: str, reason: str) -> None:
    """Note why it is not followed."""
    of_database = _reasons.setdefault(store.recorder.database, {})
    of_database[store.application_id, projection] = reason


def forget(store: SessionStore, projection: str) -> None:
    """Forget the reason: it is followed again."""
    _reasons.get(store.recorder.database, {}).pop((store.application_id, projection), None)


def reason(store: SessionStore, projection: str) -> str | None:
    """Why it is not followed, as far as this process knows."""
    of_database = _reasons.get(store.recorder.database, {})
    return of_database.get((store.application_id, projection))
