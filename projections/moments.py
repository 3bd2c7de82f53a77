"""The moments of the past that a caller may ask about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions import clock, rules
from sessions.errors import InvalidValue, PositionNotFound

if TYPE_CHECKING:
    from datetime import datetime

    from sessions.sql.head import Head
    from sessions.store import SessionStore

EVER = "9999-12-31T23:59:59.999999Z"
"""A time, as text, by which everything has happened."""

UP_TO = "+position <= ? AND at <= ?"
"""What had happened by a moment, as the store knew it. The `+` keeps SQLite off the index of
positions, by which it would read the log per session."""


def check_one(**moments: object) -> bool:
    """Whether one of several moments is given.

    Raises:
        InvalidValue: More than one is.
    """
    given = len(moments) - [*moments.values()].count(None)
    if given > 1:
        *names, last = moments
        rule = f"only one of {', '.join(names)} and {last}"
        raise InvalidValue(field="moment", rule=rule, value=f"{given} of them")
    return given == 1


def shown(at: datetime | None, position: int | None) -> str:
    """A moment as errors show it: a time, or else a position."""
    return f"position {position}" if at is None else clock.text(at)


def known_until(store: SessionStore, position: int | None, head: Head | None = None) -> int:
    """The position up to which the log is read: the given one, or else the log's end.

    Raises:
        PositionNotFound: It is beyond the log's end.
    """
    newest = store.position if head is None else head.position
    if position is None:
        return newest
    if rules.count("position", position, least=0) > newest:
        application = store.application_id
        raise PositionNotFound(application=application, position=position, newest=newest)
    return position
