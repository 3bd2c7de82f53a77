"""A connection to PostgreSQL, on which statements are executed as they are on SQLite's."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import pq
from psycopg.errors import UniqueViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sessions.database import Connection, Statement

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Whatever the role's default is: a statement has to see what was committed before the lock."""

_LOOK = ("SAVEPOINT look", "SET TRANSACTION READ ONLY")
_LEAVE = ("ROLLBACK TO SAVEPOINT look", "RELEASE SAVEPOINT look")
"""What was said since is said no more: that the transaction only reads, too."""

_BEGUN = {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}

_REFUSED = (psycopg.Error, TypeError, UnicodeError)
"""What the server says, or psycopg before it sends anything: all else is an interrupt."""

_QUOTED_OR_MARK = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\?(\d*)")


@lru_cache(maxsize=2048)
def numbered(sql: str) -> str:
    """A statement with `$1` for its first `?`, and so on, as PostgreSQL has it."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[1] is None:
            return found[0]
        count += 1
        return f"${found[1] or count}"

    return _QUOTED_OR_MARK.sub(number, sql)


class PostgresConnection:
    """A connection of the pool, or one that nobody else uses.

    Attributes:
        raw: Psycopg's.
        confirms: The locks that a commit has still to take, and what is known of the log.
        give_back: Gives it back to the pool that it was taken from, which may be closed by now.
    """

    def __init__(
        self,
        raw: psycopg.Connection[Any],
        give_back: Callable[[], object] = bool,
        confirms: Sequence[object] | None = None,
    ) -> None:
        self.raw = raw
        self.confirms = confirms
        self.give_back = give_back

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> psycopg.Cursor[Any]:
        """Execute a statement with `?` for each parameter."""
        return self.raw.execute(cast("Any", numbered(sql)), parameters or None)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> psycopg.Cursor[Any]:
        """Execute a statement for each row."""
        cursor = self.raw.cursor()
        cursor.executemany(cast("Any", numbered(sql)), rows)
        return cursor

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

    def ask(self, statements: Sequence[Statement]) -> list[list[Any]]:
        """The rows of each of several SELECTs, in one round trip."""
        if not statements:
            return []
        with pipelined(self.raw):
            cursors = [self.execute(*statement) for statement in statements]
        return [cursor.fetchall() for cursor in cursors]

    def look(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT in a transaction, which goes on as it was: in one round trip."""
        raw = self.raw
        try:
            with pipelined(raw):
                for statement in _LOOK:
                    raw.execute(statement)
                cursor = self.execute(sql, parameters)
                for statement in _LEAVE:
                    raw.execute(statement)
        except Exception:
            if raw.info.transaction_status in _BEGUN:  # it was not left
                for statement in _LEAVE:
                    raw.execute(statement)
            raise
        return cursor.fetchall()

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


@contextmanager
def pipelined(raw: psycopg.Connection[Any]) -> Iterator[None]:
    """What is executed inside goes to the server in one round trip; the first error is raised.

    Psycopg would warn of what follows from an error that leaves its pipeline: that the rest is
    aborted. So none leaves it before it has ended. An interrupt takes away answers for which the
    end of the pipeline would wait for ever, or which another would get: it ends the connection.
    """
    before = sys.exception()
    first: BaseException | None = None
    try:
        with raw.pipeline():
            try:
                yield
            except _REFUSED as error:
                first = error
            except BaseException as interrupt:  # noqa: BLE001  raised below
                first = interrupt
                raw.close()
    except BaseException as later:  # noqa: BLE001  raised below
        first = first or _interrupt_of(later, before)
        if not isinstance(first, _REFUSED):
            raw.close()
    if first is not None:
        raise first from None


def _interrupt_of(error: BaseException, before: BaseException | None) -> BaseException:
    """What ended a pipeline: where that is an interrupt, psycopg says that it could not end it."""
    hidden = error.__context__
    if hidden is None or hidden is before or isinstance(hidden, _REFUSED):
        return error
    return hidden


class Together:
    """Collects statements that do not depend on each other, to execute them as one.

    A statement costs a server and a client about as much as the rows in it do.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._statements: list[str] = []
        self._parameters: list[object] = []

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> None:
        """Execute a statement later."""
        self._statements.append(sql)
        self._parameters += parameters

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> None:
        """Execute a statement for each row, now."""
        self._connection.executemany(sql, rows)

    def finish(self, sql: str, parameters: Sequence[object]) -> None:
        """Execute what was collected, and a last statement."""
        steps = [f"step_{i} AS ({step})" for i, step in enumerate(self._statements)]
        together = f"WITH {', '.join(steps)} {sql}" if steps else sql
        self._connection.execute(together, (*self._parameters, *parameters))
