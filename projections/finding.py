"""Finds sessions by their current state: the filters of a caller, as SQL on the views."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, get_args

from projections.customer_session import PROJECTION, TABLE, CustomerSession
from sessions import clock, rules
from sessions.errors import InvalidValue, LimitExceeded
from sessions.events import State
from sessions.views import kept
from sessions.views.parked import row_waits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sessions.sql.dialect import Dialect


class Filters(TypedDict):
    """What sessions must match; None matches any. `CustomerSessions.find` documents each."""

    state: State | None
    profile_id: str | None
    coupon: str | None
    referral: str | None
    updated_before: datetime | None
    updated_since: datetime | None


class Finding:
    """Makes queries for pages of an application's views by filters, the longest untouched first."""

    def __init__(self, application_id: int, dialect: Dialect) -> None:
        self._application_id = application_id
        self._is_profile = dialect.is_id("profile_id")
        self._is_there = f"NOT {row_waits(dialect, TABLE)}"

    def asks(
        self, filters: Filters, limit: int, after: CustomerSession | None
    ) -> tuple[str, Sequence[object]]:
        """The SELECT of documents and ids, after what `known.asking` asks for, and its parameters.

        Raises:
            InvalidValue, LimitExceeded: A filter, `limit` or `after` is not a valid value.
        """
        bounds = [*self._bounds(filters), *_behind(after)]
        where = ["application_id = ?", self._is_there, *[bound for bound, _ in bounds]]
        parameters = [value for _, values in bounds for value in values]
        if rules.count("limit", limit) > rules.MAX_PAGE:
            raise LimitExceeded(field="limit", limit=rules.MAX_PAGE, value=limit)
        sql = (
            f"SELECT {kept.is_any_other([PROJECTION])}, document, session_id FROM {TABLE.name} "
            f"WHERE {' AND '.join(where)} ORDER BY updated, session_id LIMIT {limit}"
        )
        return sql, [self._application_id, *parameters]

    def _bounds(self, filters: Filters) -> list[tuple[str, Sequence[object]]]:
        bounds = (
            ("state = ?", _state(filters["state"])),
            (self._is_profile, _text("profileId", filters["profile_id"])),
            ("coupon = ?", _text("coupon", filters["coupon"])),
            ("referral = ?", _text("referral", filters["referral"])),
            ("updated < ?", _time("updated_before", filters["updated_before"])),
            ("updated >= ?", _time("updated_since", filters["updated_since"])),
        )
        return [(bound, [value]) for bound, value in bounds if value is not None]


def _behind(last: CustomerSession | None) -> list[tuple[str, Sequence[object]]]:
    """The condition for what comes after the last session of a page."""
    if last is None:
        return []
    rules.instance("after", last, CustomerSession)
    after = [clock.text(last.updated), last.integration_id]
    return [("(updated, session_id) > (?, ?)", after)]


def _state(value: State | None) -> str | None:
    if value not in (None, *get_args(State)):
        rule = f"one of {', '.join(get_args(State))}"
        raise InvalidValue(field="state", rule=rule, value=rules.shown(value))
    return value


def _text(field: str, value: str | None) -> str | None:
    return None if value is None else rules.text(field, value, least=0)


def _time(field: str, value: datetime | None) -> str | None:
    return None if value is None else clock.text(rules.moment(field, value))
