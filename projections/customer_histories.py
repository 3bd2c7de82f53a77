"""Reads a customer's history: as it is now, as it was at any moment, and event by event."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from projections import attachments
from projections.customer_history import CustomerHistory, folded
from projections.history_replay import HistoryStep, steps
from projections.known import asking, behind, come_together
from projections.moments import EVER, UP_TO, check_one, known_until, shown
from sessions import clock, rules
from sessions.claims import first_session
from sessions.errors import ProfileNotFound, ProfileNotYet
from sessions.events import SESSION
from sessions.log.claim_rows import ClaimRows
from sessions.sql import schema
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sessions.recorded import Recorded
    from sessions.store import SessionStore

_READ_TOGETHER = 500
_OF_APPLICATION = "application_id = ?"


class CustomerHistories:
    """Reads the histories of the customers (profiles) of a store's application.

    A history covers all sessions that ever came to the profile. Nothing of it is stored: it is
    folded from the log when you ask. Others may write meanwhile: it is as of one position, the
    log's end or, if `attachments` is followed, the position that `attachments` has reached.
    Reading takes two or three statements for a customer with up to 500 sessions.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._query = asking(store, attachments.PROJECTION)
        self._dialect = store.recorder.database.dialect
        attached = f"{_OF_APPLICATION} AND {attachments.are_of_profile(self._dialect)}"
        self._attached = attachments.TABLE.select(
            f"{attached} AND {UP_TO}",
            columns=f"DISTINCT {kept.is_any_other([attachments.PROJECTION])}, session_id",
        )

    def get(
        self,
        profile_id: str,
        *,
        as_of: datetime | None = None,
        position: int | None = None,
    ) -> CustomerHistory:
        """A customer's history as it is now, or as it was at one moment.

        Args:
            profile_id: The customer's profile id. "" means nobody known, and is refused.
            as_of: The history at this time (with a timezone): after all events with `at` up to it.
            position: The history as the store knew it when its log ended at this position.

        Raises:
            ProfileNotFound: No session ever came to the profile. If none had come by the moment
                that you ask about, the error is its subclass `ProfileNotYet`.
            ProjectionNotKept: The store does not keep `attachments`, or keeps another version.
            PositionNotFound: The position is beyond the log's end.
            ViewBehind: `attachments` is followed, and has not reached the position, or has not
                reached any session of the profile.
            InvalidValue, LimitExceeded: The id is not 1 to 1000 characters, both moments are given,
                or one is not a valid moment.
            UnknownEvent: A newer library wrote an event of the history.
            UndecodableEvent: The data of an event does not fit its shape.
        """
        return folded(profile_id, self._log(profile_id, as_of, position))

    def replay(
        self,
        profile_id: str,
        *,
        as_of: datetime | None = None,
        position: int | None = None,
    ) -> Iterator[HistoryStep]:
        """Each event of a customer's history in the order of the log, with the history after it.

        These are the events of the history that `get` returns, and the last step's history equals
        it. If a session came from another profile, its events from before are included at their
        places in the log; they change nothing in the history until the session comes.

        Args:
            profile_id: The customer's profile id, as with `get`.
            as_of: Replay the history at this time, as with `get`.
            position: Replay the history at this position, as with `get`.

        It raises the errors of `get`, before the first step.
        """
        return steps(profile_id, self._log(profile_id, as_of, position))

    def _log(self, profile_id: str, as_of: datetime | None, position: int | None) -> list[Recorded]:
        """All events up to a moment, in order, of the sessions that had come to a profile."""
        rules.text("profileId", profile_id)
        past = check_one(as_of=as_of, position=position)
        as_of = rules.as_of(as_of)
        at = EVER if as_of is None else clock.text(as_of)
        head = self._store.recorder.head(self._store.rows)
        known = known_until(self._store, position, head)
        come = come_together(self._store, [attachments.PROJECTION], head)
        if position is not None and come < position:
            raise behind(attachments.PROJECTION, come, position)
        until = min(known, come)
        customer = (self._store.application_id, profile_id)
        found = self._query(self._attached, (*customer, until, at))
        if found:
            return self._events([session_id for _, session_id in found], until, at)
        has_come = bool(self._query(self._attached, (*customer, come, EVER)))
        is_to_come = come < head.position and self._is_claimed(profile_id)
        if is_to_come and not has_come and position is None:
            raise behind(attachments.PROJECTION, come, head.position)
        if past and (has_come or is_to_come):
            raise ProfileNotYet(profile=profile_id, moment=shown(as_of, position))
        raise ProfileNotFound(profile=profile_id)

    def _is_claimed(self, profile_id: str) -> bool:
        """Whether any session came to a profile, even if `attachments` has not reached it yet."""
        claims = ClaimRows(self._store.application_id, self._dialect)
        return claims.usage(self._store.rows, first_session(profile_id).limit, "").count > 0

    def _events(self, session_ids: Sequence[str], until: int, at: str) -> list[Recorded]:
        rows = []
        for start in range(0, len(session_ids), _READ_TOGETHER):
            ids = session_ids[start : start + _READ_TOGETHER]
            where = f"{_OF_APPLICATION} AND category = ? AND {UP_TO}"
            sql = schema.EVENTS.select_each(
                ["stream_id"], len(ids), self._dialect, where, columns=self._dialect.event
            )
            rows += self._store.rows(sql, (*ids, self._store.application_id, SESSION, until, at))
        rows.sort(key=itemgetter(0))
        return list(self._store.mapper.recorded(self._store.application_id, rows))
