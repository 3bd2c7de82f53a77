"""A connection to PostgreSQL, on which statements are executed as they are on SQLite's."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import pq
from psycopg.errors import UniqueViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sessions.database import Statement
    from sessions.postgres.round_trip import Answer, ServerConnection

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Whatever the role's default is: a statement has to see what was committed before the lock."""

_LOOK: Sequence[Statement] = [("SAVEPOINT look", ()), ("SET TRANSACTION READ ONLY", ())]
_LEAVE: Sequence[Statement] = [("ROLLBACK TO SAVEPOINT look", ()), ("RELEASE SAVEPOINT look", ())]
"""What was said since is said no more: that the transaction only reads, too."""

_QUOTED_OR_MARK = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/
    | (?<![\w$])\$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | \?(?P<mark>\d*)""",
    re.DOTALL | re.VERBOSE,
)
"""What a `?` is no parameter in, or else one."""


@lru_cache(maxsize=2048)
def numbered(sql: str) -> tuple[str, int]:
    """A statement with `$1` for its first `?`, and so on, as PostgreSQL has it; how many it has."""
    count = most = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count, most
        if found["mark"] is None:
            return found[0]
        count += 1
        this = int(found["mark"] or count)
        most = max(most, this)
        return f"${this}"

    return _QUOTED_OR_MARK.sub(number, sql), most


def _numbered(sql: str, parameters: Sequence[object]) -> Statement:
    """A statement as PostgreSQL has it, which would take too many parameters without a word."""
    text, most = numbered(sql)
    if len(parameters) != most:
        message = f"the statement has {most} parameters, and {len(parameters)} are given"
        raise psycopg.ProgrammingError(message)
    return text, parameters


class PostgresConnection:
    """A connection of the pool, or one that nobody else uses.

    Attributes:
        raw: Psycopg's.
        confirms: The locks that a commit has still to take, and what is known of the log.
        give_back: Gives it back to the pool that it was taken from, which may be closed by now.
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

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> Answer:
        """Execute a statement with `?` for each parameter."""
        return self.raw.trips.ask([_numbered(sql, parameters)])[0]

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> None:
        """Execute a statement for each row."""
        self.raw.trips.ask([_numbered(sql, row) for row in rows])

    def ask(self, statements: Sequence[Statement]) -> list[Answer]:
        """What the server says to each of several statements, in one round trip."""
        return self.raw.trips.ask([_numbered(*statement) for statement in statements])

    def copied(self, into: str, rows: Iterable[Sequence[object]], /) -> bool:
        """Whether rows were written as one stream: none is, where one of them is there already."""
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
        """Roll back what is not committed, and give it back."""
        try:
            if not self.raw.closed:
                self.raw.rollback()
        except psycopg.Error:
            self.raw.close()  # the server rolls back what has lost its connection
        finally:
            self.give_back()


class Collected:
    """Collects statements that nobody has to have answers to, to send them together."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> None:
        """Execute a statement later."""
        self.statements.append((sql, parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> None:
        """Execute a statement for each row, later."""
        self.statements += [(sql, row) for row in rows]
