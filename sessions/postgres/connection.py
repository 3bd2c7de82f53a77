"""A connection to PostgreSQL, on which statements are executed as they are on SQLite's."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import pq
from psycopg.errors import FeatureNotSupported, UniqueViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sessions.postgres.round_trip import Answer, ServerConnection
    from sessions.sql.connection import Statement

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Whatever the role's default is, a statement has to see what was committed before the lock."""

_LOOK: Sequence[Statement] = [("SAVEPOINT look", ()), ("SET TRANSACTION READ ONLY", ())]
_LEAVE: Sequence[Statement] = [("ROLLBACK TO SAVEPOINT look", ()), ("RELEASE SAVEPOINT look", ())]
"""Undoes what was set since, including that the transaction only reads."""

_PART = re.compile(
    r"""(?P<copied> (?<!\w)[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\r\n]*
        | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$ )
    | (?P<comment>/\*) | \?(?P<mark>\d{0,5}) | (?<![\w$])\$(?P<own>\d{1,5})""",
    re.DOTALL | re.VERBOSE,
)
"""Where a `?` is not a parameter, and what is one."""

_COMMENT = re.compile(r"/\*|\*/")


@lru_cache(maxsize=2048)
def numbered(sql: str) -> tuple[str, int]:
    """A statement with `$1` for its first `?`, and so on; and how many parameters it has."""
    parts, at, count, most = [], 0, 0, 0
    while found := _PART.search(sql, at):
        end, text = found.end(), found[0]
        if found["comment"]:
            end = _end_of_comment(sql, found.start())
            text = sql[found.start() : end]
        elif found["copied"] is None:
            count += found["own"] is None
            number = int(found["mark"] or found["own"] or count)
            most, text = max(most, number), f"${number}"
        parts += [sql[at : found.start()], text]
        at = end
    return "".join([*parts, sql[at:]]), most


def _end_of_comment(sql: str, start: int) -> int:
    """Where a comment ends; comments may be nested."""
    depth = 0
    for found in _COMMENT.finditer(sql, start):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(sql)


def _numbered(sql: str, parameters: Iterable[object]) -> Statement:
    """A statement with `$1` and so on; PostgreSQL would silently take too many parameters."""
    (text, most), given = numbered(sql), tuple(parameters)
    if len(given) != most:
        message = f"the statement has {most} parameters, but {len(given)} are given"
        raise psycopg.ProgrammingError(message)
    return text, given


class PostgresConnection:
    """A connection of the pool, or one that nobody else uses.

    Attributes:
        raw: psycopg's connection.
        confirms: The locks that the commit still has to take, and what is known of the log.
        give_back: Returns it to the pool that it was taken from, which may be closed by now.
    """

    def __init__(
        self,
        raw: ServerConnection,
        give_back: Callable[[], object] = bool,
        confirms: Sequence[object] | None = None,
    ) -> None:
        self.raw = raw
        self.confirms = confirms
        self.give_back = give_back
        self._has_ended = False

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> Answer:
        """Execute a statement with `?` for each parameter."""
        return self.raw.trips.ask([_numbered(sql, parameters)])[0]

    def execute_as_it_is(self, sql: str, /) -> None:
        """Execute a statement that PostgreSQL wrote: a `?` in it is an operator."""
        self.raw.trips.ask([(sql, ())])

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> None:
        """Execute a statement for each row."""
        self.raw.trips.ask([_numbered(sql, row) for row in rows])

    def ask(self, statements: Sequence[Statement]) -> list[Answer]:
        """The answers to several statements, in one round trip."""
        return self.raw.trips.ask([_numbered(*statement) for statement in statements])

    def read(self, statements: Sequence[Statement]) -> list[Answer]:
        """`ask`, to read only: it asks again if a plan is from before a relation was changed."""
        try:
            return self.ask(statements)
        except FeatureNotSupported:
            self.raw.rollback()
            return self.ask(statements)

    def copied(self, into: str, rows: Iterable[Sequence[object]], /) -> bool:
        """Write rows as one stream, and tell whether: none is written if one is there already."""
        copy = cast("Any", f"COPY {into} FROM STDIN")
        try:
            with self.raw.transaction(), self.raw.cursor().copy(copy) as stream:
                for row in rows:
                    stream.write_row(row)
        except UniqueViolation:
            return False
        return True

    def look(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT in a transaction, which goes on as it was: in one round trip."""
        try:
            return self._look(sql, parameters)
        except FeatureNotSupported:  # as in `read`
            return self._look(sql, parameters)

    def _look(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        try:
            return self.ask([*_LOOK, (sql, parameters), *_LEAVE])[len(_LOOK)].fetchall()
        except psycopg.Error:
            if self.raw.info.transaction_status == pq.TransactionStatus.INERROR:  # it was not left
                self.ask(_LEAVE)
            raise

    @property
    def goes_on(self) -> bool:
        """Whether a transaction that has begun can still be committed."""
        return self.raw.info.transaction_status is pq.TransactionStatus.INTRANS

    def end(self) -> None:
        """Roll back what is not committed, and give the connection back; only the first time."""
        if self._has_ended:
            return
        try:
            if not self.raw.closed:
                self.raw.rollback()
        except psycopg.Error:
            self.raw.close()  # the server rolls back what has lost its connection
        finally:
            self._has_ended = True
            self.give_back()


class Collected:
    """Collects statements whose answers nobody needs, to send them together."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> None:
        """Execute a statement later."""
        self.statements.append((sql, parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> None:
        """Execute a statement for each row, later."""
        self.statements += [(sql, row) for row in rows]
