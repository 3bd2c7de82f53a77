"""Reads a customer's sessions: those that the profile has now, or had at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projections import attachments
from projections.customer_session import PROJECTION, TABLE, CustomerSession
from projections.known import asking, come_together
from projections.moments import EVER, UP_TO
from projections.reading import past, read
from projections.stored import StoredProjection
from sessions import clock
from sessions.events import ProfileChanged, SessionOpened
from sessions.views import kept
from sessions.views.parked import waits

if TYPE_CHECKING:
    from datetime import datetime

    from sessions.sql.head import Head
    from sessions.store import SessionStore

_BOTH = PROJECTION, attachments.PROJECTION


class SessionsOfProfile:
    """Reads the sessions of a profile, in the order in which they were attached to it.

    The stored views say which those are and what they are, in one statement: both are of one
    moment then. A view that is followed may be behind the other one; so if one of them is, the
    sessions are folded up to the position that both have reached.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._stored = StoredProjection(store, PROJECTION)
        self._query = asking(store, *_BOTH)
        dialect, name = store.recorder.database.dialect, TABLE.name
        attached = "session_id, max(position) AS attached"
        of_profile = (
            f"FROM {attachments.TABLE.name} "
            f"WHERE application_id = ? AND {attachments.are_of_profile(dialect)}"
        )
        self._then = (
            f"SELECT {kept.is_any_other([attachments.PROJECTION])}, {attached} "
            f"{of_profile} AND {UP_TO} GROUP BY session_id ORDER BY attached"
        )
        mine = f"SELECT {attached} {of_profile} GROUP BY session_id"
        kept_as = f"{kept.is_any_other(_BOTH)}, {kept.is_any_followed(_BOTH)}"
        is_waiting = waits(dialect, name, "mine.session_id", "?")
        same = dialect.is_id(f"{name}.session_id", "mine.session_id")
        views = TABLE.each_or_none(f"{name}.application_id = ? AND {same}", dialect)
        self._now = (
            f"SELECT {kept_as}, mine.session_id, {name}.profile_id, document, {is_waiting} "
            f"FROM (SELECT 1) AS one LEFT JOIN ({mine}) AS mine ON TRUE "
            f"{views} ORDER BY attached"
        )

    def now(self, profile_id: str) -> list[CustomerSession]:
        """The sessions that the profile has now.

        Raises:
            ViewParked: The view of one of them is parked.
        """
        store = self._store
        application = store.application_id
        rows = self._query(self._now, (application, application, profile_id, application))
        _, is_any_followed, *_ = rows[0]
        if is_any_followed:
            return self._followed(profile_id)
        found = []
        for _, _, session_id, of, document, is_waiting in rows:
            if is_waiting:
                if self._has(profile_id, session_id):
                    self._stored.check_not_parked(session_id)
                    return self.now(profile_id)  # it has just been folded again
            elif of == profile_id:
                found.append(read(store, session_id, document))
        return found

    def _has(self, profile_id: str, session_id: str) -> bool:
        """Whether a profile has a session, whose view may not be up to date."""
        events = [event for *_, event in self._store.happened(session_id)]
        came = [each for each in events if isinstance(each, SessionOpened | ProfileChanged)]
        return came[-1].profile_id == profile_id

    def _followed(self, profile_id: str) -> list[CustomerSession]:
        """The sessions that the profile has at the position that both views have reached."""
        until = come_together(self._store, _BOTH, self._head())
        views = [
            self._stored.get(session_id, position=until)
            for session_id in self._attached(profile_id, until, EVER)
        ]
        found = [view.customer_session() for view in views if view is not None]
        mine = [each for each in found if each.profile_id == profile_id]
        for each in mine:
            self._stored.check_not_parked(each.integration_id)
        return mine

    def then(self, profile_id: str, as_of: datetime) -> list[CustomerSession]:
        """The sessions that the profile had at a time, as they were then."""
        until = come_together(self._store, [attachments.PROJECTION], self._head())
        attached = self._attached(profile_id, until, clock.text(as_of))
        then = [past(self._store, each, as_of=as_of, position=until) for each in attached]
        return [each for each in then if each.profile_id == profile_id]

    def _head(self) -> Head:
        return self._store.recorder.head(self._store.rows)

    def _attached(self, profile_id: str, until: int, at: str) -> list[str]:
        """The sessions that had come to the profile by a moment, also those that left it since."""
        rows = self._query(self._then, (self._store.application_id, profile_id, until, at))
        return [session_id for _, session_id, _ in rows]
