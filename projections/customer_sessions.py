"""Reads sessions: as they are now, and as they were at any moment of the past."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from projections.customer_session import PROJECTION, TABLE, CustomerSession, folded
from projections.finding import Filters, Finding
from projections.known import asking, behind
from projections.moments import check_one, known_until
from projections.of_profile import SessionsOfProfile
from projections.reading import past, read
from projections.stored import StoredProjection
from projections.timeline import Step, steps
from sessions import rules
from sessions.errors import SessionNotFound
from sessions.events import SESSION, State
from sessions.views import kept
from sessions.views.parked import row_waits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sessions.store import SessionStore


class CustomerSessions:
    """Reads the sessions of a store's application: one, those of a customer, by filter, or all.

    Reads of the present use the stored views; reads of the past, `all` and `timeline` fold the log.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._stored = StoredProjection(store, PROJECTION)
        self._query = asking(store, PROJECTION)
        dialect, name = store.recorder.database.dialect, TABLE.name
        self._get = (
            f"SELECT {kept.is_any_other([PROJECTION])}, {row_waits(dialect, TABLE)}, document, "
            f"version FROM {name} "
            f"WHERE application_id = ? AND {dialect.is_id('session_id')}"
        )
        self._finding = Finding(store.application_id, dialect)
        self._of_profile = SessionsOfProfile(store)

    def get(
        self,
        session_id: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        position: int | None = None,
    ) -> CustomerSession:
        """A session as it is now, or as it was at one moment.

        Args:
            session_id: Its integrationId.
            version: The session after this many of its events.
            as_of: The session at this time (with a timezone): after all events with `at` up to it.
            position: The session as the store knew it when its log ended at this position.

        Raises:
            SessionNotFound: There is no such session. If it did not exist at the moment that you
                ask about, the error is its subclass `SessionNotYet`.
            ViewBehind: The views are followed, and have not reached its first event.
            ViewParked: Its view is parked, because an event could not be folded into it.
            ViewUnreadable: Somebody changed its row by hand.
            ProjectionNotKept: The store does not keep the view, or keeps another version of it.
            VersionNotFound: The version is beyond the newest.
            PositionNotFound: The position is beyond the log's end.
            InvalidValue, LimitExceeded: The id is not 1 to 1000 characters, more than one moment is
                given, or one is not a valid moment.
            UnknownEvent: You asked for its past, and a newer library wrote one of its events.
            UndecodableEvent: You asked for its past, and the data of an event does not fit its
                shape.
        """
        rules.text("integrationId", session_id)
        if version is None and as_of is None and position is None:
            document, _ = self._current(session_id)
            return read(self._store, session_id, document)
        check_one(version=version, as_of=as_of, position=position)
        if version is not None:
            rules.count("version", version)
        as_of = rules.as_of(as_of)
        if position is not None:
            known_until(self._store, position)
        return past(self._store, session_id, version=version, as_of=as_of, position=position)

    def get_with_version(self, session_id: str) -> tuple[CustomerSession, int]:
        """A session as it is now, and its version: for `expected_version`, or for an ETag.

        Raises:
            SessionNotFound, ViewBehind, ViewParked, ViewUnreadable, ProjectionNotKept: As with
                `get`.
            InvalidValue, LimitExceeded: The id is not 1 to 1000 characters.
        """
        rules.text("integrationId", session_id)
        document, version = self._current(session_id)
        return read(self._store, session_id, document), version

    def of_profile(
        self, profile_id: str, *, as_of: datetime | None = None
    ) -> list[CustomerSession]:
        """A customer's sessions in the order in which they were attached to the profile.

        If `customer_sessions` or `attachments` is followed, they are folded from the log, as they
        were at the position that both have reached.

        Args:
            profile_id: The customer's profile id. Sessions that moved to another profile are not
                included. "" means nobody known, and is refused: `find` finds anonymous ones.
            as_of: The customer's sessions at this time (with a timezone), as they were then.

        Raises:
            ViewParked: The view of one of them is parked.
            ViewUnreadable: Somebody changed the row of one of them by hand.
            ProjectionNotKept: The store does not keep a view that it needs, or keeps another
                version of it.
            InvalidValue, LimitExceeded: The profile id is not 1 to 1000 characters, or the time has
                no timezone.
            UnknownEvent, UndecodableEvent: As with `get`.
        """
        rules.text("profileId", profile_id)
        as_of = rules.as_of(as_of)
        if as_of is None:
            return self._of_profile.now(profile_id)
        return self._of_profile.then(profile_id, as_of)

    def find(  # noqa: PLR0913  the filters that may be asked for
        self,
        *,
        state: State | None = None,
        profile_id: str | None = None,
        coupon: str | None = None,
        referral: str | None = None,
        updated_before: datetime | None = None,
        updated_since: datetime | None = None,
        limit: int = 100,
        after: CustomerSession | None = None,
    ) -> list[CustomerSession]:
        """One page of the sessions that match all filters now, the longest untouched first.

        This finds abandoned carts. Sessions whose views are parked (`ViewParked`) are not found.

        Args:
            state: Sessions in this state.
            profile_id: Sessions of this customer; "" finds anonymous ones.
            coupon: Sessions with this coupon code entered.
            referral: Sessions with this referral code entered.
            updated_before: Sessions whose latest event happened before this time.
            updated_since: Sessions whose latest event happened at this time or later.
            limit: The size of the page, from 1 to 1000.
            after: The last session of the previous page: continue after it.

        Raises:
            ViewUnreadable: Somebody changed the row of one of them by hand.
            ProjectionNotKept: As with `of_profile`.
            InvalidValue, LimitExceeded: A filter, `limit` or `after` is not a valid value.
        """
        filters: Filters = {
            "state": state,
            "profile_id": profile_id,
            "coupon": coupon,
            "referral": referral,
            "updated_before": updated_before,
            "updated_since": updated_since,
        }
        sql, parameters = self._finding.asks(filters, limit, after)
        rows = self._query(sql, parameters)
        return [read(self._store, session_id, document) for _, document, session_id in rows]

    def all(
        self, *, as_of: datetime | None = None, position: int | None = None
    ) -> Iterator[CustomerSession]:
        """All sessions as they are now, or as they were, folded from the log one after the other.

        It reads the log in pages and holds one session in memory. All sessions are as of one
        moment, whatever is written meanwhile. They come in the order of their ids, except ids of
        256 bytes and more on PostgreSQL.

        Args:
            as_of: The sessions that existed at this time (with a timezone), as they were then.
            position: The sessions as the store knew them when its log ended at this position.

        Raises:
            PositionNotFound: The position is beyond the log's end.
            InvalidValue: Both moments are given, or one is not a valid moment.
            UnknownEvent: A newer library wrote one of the events.
            UndecodableEvent: The data of an event does not fit its shape.
        """
        check_one(as_of=as_of, position=position)
        as_of = rules.as_of(as_of)
        streams = self._store.streams(position=known_until(self._store, position), as_of=as_of)
        application = self._store.application_id
        return (
            view.customer_session()
            for session_id, events in streams
            if (view := folded(application, session_id, events)) is not None
        )

    def timeline(self, session_id: str) -> Iterator[Step]:
        """Each event of a session in order, and what it changed in the view, field by field.

        Raises:
            SessionNotFound: There is no such session.
            InvalidValue, LimitExceeded: The id is not 1 to 1000 characters.
            UnknownEvent, UndecodableEvent: As with `get`.
        """
        rules.text("integrationId", session_id)
        events = self._store.events(session_id)
        first = next(events, None)
        if first is None:
            raise SessionNotFound(session=session_id)
        return steps(chain((first,), events))

    def _current(self, session_id: str) -> tuple[str, int]:
        """The stored JSON of a session, and its version."""
        rows = self._query(self._get, (self._store.application_id, session_id))
        if not rows or rows[0][1]:
            self._stored.check_not_parked(session_id)
            rows = self._late(session_id)
        ((_, _, document, version),) = rows
        return document, version

    def _late(self, session_id: str) -> list[Any]:
        """The row of a session that had none a moment ago: by now it has one, if it exists."""
        first = self._store.recorder.stream_rows(self._store.rows, SESSION, session_id, until=1)
        if first:  # the views are followed, or a writer was faster
            begun, reached = first[0][0], self._stored.position
            if reached < begun:
                raise behind(PROJECTION, reached, begun)
            if rows := self._query(self._get, (self._store.application_id, session_id)):
                return rows
        raise SessionNotFound(session=session_id)
