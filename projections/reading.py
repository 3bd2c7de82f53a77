"""Reads one session: from its stored view, or folded up to a moment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from projections.customer_session import PROJECTION, CustomerSession, folded
from projections.known import unreadable
from projections.moments import shown
from sessions.errors import SessionNotFound, SessionNotYet, VersionNotFound
from sessions.views.again import comes_again

if TYPE_CHECKING:
    from datetime import datetime

    from sessions.store import SessionStore


def read(store: SessionStore, session_id: str, document: str) -> CustomerSession:
    """A session from the document in its row.

    Raises:
        ViewUnreadable: Somebody changed its row by hand.
        ProjectionNotKept: The store keeps another version of the view by now.
    """
    try:
        return CustomerSession.from_json(document)
    except Exception as error:
        if not comes_again(partial(CustomerSession.from_json, document), error):
            raise
        raise unreadable(store, PROJECTION, session_id, error) from error


def past(
    store: SessionStore,
    session_id: str,
    *,
    version: int | None = None,
    as_of: datetime | None = None,
    position: int | None = None,
) -> CustomerSession:
    """A session at a moment, folded from the log.

    Raises:
        SessionNotFound: There is no such session.
        SessionNotYet: It did not exist at the moment.
        VersionNotFound: The version is beyond the newest.
        UnknownEvent, UndecodableEvent: One of its events cannot be read.
    """
    happened = store.happened(session_id, until=version, as_of=as_of, position=position)
    view = folded(store.application_id, session_id, happened)
    if view is None:
        first = next(store.events(session_id), None)
        if first is None:
            raise SessionNotFound(session=session_id)
        began = shown(None if as_of is None else first.at, first.position)
        moment = shown(as_of, position)
        raise SessionNotYet(session=session_id, moment=moment, began=began)
    if version not in {None, view.version}:
        raise VersionNotFound(session=session_id, version=version, newest=view.version)
    return view.customer_session()
