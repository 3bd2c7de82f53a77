"""Which sessions has a customer had? A row for each time that a session was attached to a profile.

Rows are never deleted: where a session was attached before is part of the past.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sessions.events import ProfileChanged, SessionOpened
from sessions.sql.tables import APPLICATION_ID, Column, Table
from sessions.views.begins import always
from sessions.views.projection import Projection
from sessions.views.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.sql.dialect import Dialect


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """A session was attached to a profile: it was opened for it, or its profile changed.

    Attributes:
        position: The log position of that event. Attachments are ordered by it.
        profile_id: The profile, never "".
        session_id: The session.
        at: When it happened (UTC).
        first_session: Whether it was the profile's first session.
    """

    position: int
    profile_id: str
    session_id: str
    at: datetime
    first_session: bool


def fold(_: Attachment | None, recorded: Recorded) -> Attachment:
    """The attachment that an event makes."""
    event = recorded.event
    if not isinstance(event, SessionOpened | ProfileChanged):
        msg = f"{recorded.type} attaches no session to a profile"
        raise TypeError(msg)
    return Attachment(
        recorded.position, event.profile_id, recorded.stream_id, recorded.at, event.first_session
    )


TABLE = Table(
    "attachments",
    (
        APPLICATION_ID,
        Column("position", "integer"),
        Column("profile_id", "id"),
        Column("session_id", "id"),
        Column("at", "time"),
        Column("first_session", "flag"),
    ),
    key=("application_id", "position"),
    indexes=(("application_id", "profile_id"),),
    lookups=("profile_id", "session_id"),
    clustered=True,
)


def are_of_profile(dialect: Dialect) -> str:
    """The SQL condition that selects the attachments of a profile.

    SQLite assumes ten rows per application: it would read them all instead of using the index.
    """
    return dialect.rare.format(dialect.is_id("profile_id"))


def _keys(recorded: Recorded) -> Sequence[Key]:
    event = recorded.event
    attaches = isinstance(event, SessionOpened | ProfileChanged) and event.profile_id
    return (recorded.position,) if attaches else ()


def _to_row(_: Key, view: Attachment) -> Sequence[object]:
    return msgspec.structs.astuple(view)


def _from_row(row: Sequence[Any]) -> Attachment:
    position, profile_id, session_id, at, first_session = row
    when = datetime.fromisoformat(at)
    return Attachment(position, profile_id, session_id, when, bool(first_session))


PROJECTION = Projection(
    name=TABLE.name,
    version=1,
    view=Attachment,
    fold=fold,
    keys=_keys,
    key=Column("position", "integer"),
    types=(SessionOpened, ProfileChanged),
    mode="inline",
    begins=always,
    kept=Storage(TABLE, _to_row, _from_row, always_fits=True),
)
