"""The log of an application, as rows: appended by its writer, read from any position on."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from sessions import clock
from sessions.log.claim_rows import ClaimRows
from sessions.log.mapper import HAPPENED
from sessions.sql import schema
from sessions.sql.head import HEAD, Head
from sessions.sql.inserting import Insert
from sessions.sql.tables import GIVEN_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sessions.sql.connection import Connection, Query, Statement
    from sessions.sql.database import Database
    from sessions.sql.dialect import Dialect

_NO_END = 2**63 - 1
OF_APPLICATION = "application_id = ?"
_LOG_WHERE = f"{OF_APPLICATION} AND position > ? AND position <= ?"


class Log:
    """The log of one application in one database, and what its writers keep beside it.

    Attributes:
        claims: The claims that its streams hold.
    """

    def __init__(self, database: Database, application_id: int) -> None:
        self.application_id = application_id
        self.database = database
        self.claims = ClaimRows(application_id, database.dialect)
        self._of_stream = (
            f"{OF_APPLICATION} AND category = ? AND {database.dialect.is_id('stream_id')}"
        )
        event = database.dialect.event
        self._log = schema.EVENTS.select(_LOG_WHERE, "position", GIVEN_LIMIT, event)
        since = f"{self._of_stream} AND version > ?"
        self._stream = schema.EVENTS.select(since, "version", columns=event)
        bounds = ("", " AND position <= ?"), ("", " AND at <= ?")
        self._of_moment = {
            (columns, bool(known), bool(timed)): schema.EVENTS.select(
                f"{since} AND version <= ?{known}{timed}", "version", GIVEN_LIMIT, columns
            )
            for columns, known, timed in product((event, HAPPENED), *bounds)
        }
        self._streams = {timed: _of_streams(database.dialect, timed=timed) for timed in (0, 1)}
        self._insert_events = Insert(schema.EVENTS, database.dialect)
        self._insert_answers = Insert(schema.ANSWERS, database.dialect)

    def head(self, query: Query) -> Head:
        """Where the log ends."""
        return Head.of(query(HEAD, (self.application_id,)))

    def append(self, connection: Connection, rows: Sequence[Sequence[object]]) -> bool:
        """Write rows of `schema.EVENTS`, as the database takes them; tell whether there are any."""
        self._insert_events(connection, rows)
        return bool(rows)

    def stream_rows(  # noqa: PLR0913  the bounds that may be asked for
        self,
        query: Query,
        category: str,
        stream_id: str,
        *,
        after: int = 0,
        until: int | None = None,
        as_of: datetime | None = None,
        position: int | None = None,
        limit: int = _NO_END,
        columns: str | None = None,
    ) -> list[Any]:
        """Rows of a stream in order: after a version, up to a moment.

        Their columns are those of `Dialect.event`, or of `HAPPENED` if asked for.
        """
        columns = columns or self.database.dialect.event
        sql = self._of_moment[columns, position is not None, as_of is not None]
        bounds: tuple[object, ...] = () if position is None else (position,)
        if as_of is not None:
            bounds = (*bounds, clock.text(as_of))
        until = _NO_END if until is None else until
        stream = (self.application_id, category, stream_id, after, until)
        return query(sql, (*stream, *bounds, limit))

    def stream_since(self, category: str, stream_id: str, version: int) -> Statement:
        """The SELECT of a stream's rows (`Dialect.event`) after a version."""
        stream = (self.application_id, category, stream_id)
        return self._stream, (*stream, version)

    def streams(self, category: str, stream_ids: Sequence[str]) -> Statement:
        """The SELECT of the rows (`Dialect.event`) of several streams, each in order."""
        dialect, where = self.database.dialect, f"{OF_APPLICATION} AND category = ?"
        sql = schema.EVENTS.select_each(
            ["stream_id"],
            len(stream_ids),
            dialect,
            where,
            columns=dialect.event,
            order="version",
        )
        return sql, (*stream_ids, self.application_id, category)

    def streams_rows(  # noqa: PLR0913  the bounds that may be asked for
        self,
        query: Query,
        category: str,
        after: tuple[str, int],
        limit: int,
        *,
        as_of: datetime | None,
        position: int,
    ) -> list[Any]:
        """Rows (stream, version and `HAPPENED`) of one stream after the other, in order.

        They begin after a version of a stream, in the order of the index that finds them.
        """
        times = (clock.text(as_of),) if as_of else ()
        return query(
            self._streams[len(times)],
            (self.application_id, category, *after, position, *times, limit),
        )

    def log_rows(  # noqa: PLR0913  the bounds that may be asked for
        self,
        query: Query,
        after: int,
        limit: int,
        until: int | None = None,
        types: Sequence[str] = (),
        *,
        other: bool = False,
    ) -> list[Any]:
        """Rows (`Dialect.event`) of the log in order, after a position.

        They are of all types, or only of `types`, or, with `other`, of all but these.
        """
        bounds = (self.application_id, after, _NO_END if until is None else until)
        if not types:
            return query(self._log, (*bounds, limit))
        which = f"type {'NOT ' if other else ''}IN ({', '.join('?' * len(types))})"
        where, event = f"{_LOG_WHERE} AND {which}", self.database.dialect.event
        sql = schema.EVENTS.select(where, "position", GIVEN_LIMIT, event)
        return query(sql, (*bounds, *types, limit))

    def answers(self, keys: Sequence[str]) -> Statement:
        """The SELECT of those keys that are stored, each with its request and answer."""
        dialect, kept = self.database.dialect, "idempotency_key, request, answer"
        sql = schema.ANSWERS.select_each(
            ["idempotency_key"], len(keys), dialect, OF_APPLICATION, columns=kept
        )
        return sql, (*keys, self.application_id)

    def keep_answers(self, connection: Connection, answers: Sequence[Sequence[object]]) -> None:
        """Store rows of `schema.ANSWERS`, given without the application's id."""
        rows = [schema.ANSWERS.values((self.application_id, *row)) for row in answers]
        self._insert_answers(connection, rows)


def _of_streams(dialect: Dialect, *, timed: int) -> str:
    """The SELECT of one stream after the other, up to a position, and a time if `timed`."""
    stream, key = map(dialect.key, ("stream_id", "?"))
    where = f"{OF_APPLICATION} AND category = ? AND ({stream}, version) > ({key}, ?)"
    where += " AND position <= ?" + " AND at <= ?" * timed
    order, columns = f"{stream}, version", f"stream_id, version, {HAPPENED}"
    return schema.EVENTS.select(where, order, GIVEN_LIMIT, columns)
