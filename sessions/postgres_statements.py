"""Statements and errors of PostgreSQL, as the rest of the store has them."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout

from sessions.database import Failures
from sessions.errors import (
    Duplicate,
    SessionsError,
    StatementTimeout,
    StorageFailed,
    StoreBusy,
    StoreClosed,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sessions.database import Connection

GRANT = "grant it to the role, or run `sessions init` or the rebuild as the owner"
"""What is to be done where a role may not."""

_REFUSED = (psycopg.Error, TypeError, UnicodeError)
"""What the server says, or psycopg before it sends anything: all else is an interrupt."""

_TRANSACTION_TIMEOUT = "25P04"
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)
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
    """A connection on which statements are executed as they are on SQLite's.

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
        except pg.UniqueViolation:
            return False
        return True


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


class PostgresFailures(Failures):
    """Turns psycopg's errors into the store's."""

    kind = psycopg.Error

    def of(self, error: psycopg.Error) -> Exception:
        """The store's error for one of psycopg's."""
        reason = reason_of(error)
        if isinstance(error, pg.InsufficientPrivilege):
            reason = f"{reason}: {GRANT}"
        if isinstance(error, PoolClosed):
            return StoreClosed()
        if isinstance(error, pg.LockNotAvailable):
            return StoreBusy(path=self._path, seconds=self._lock_timeout)
        return _kind_of(error)(path=self._path, reason=reason)


def _kind_of(error: psycopg.Error) -> type[SessionsError]:
    match error:
        case pg.QueryCanceled() | pg.IdleInTransactionSessionTimeout():
            return StatementTimeout
        case pg.UniqueViolation():
            return Duplicate
        case PoolTimeout():
            return StoreUnavailable
        case _ if error.sqlstate == _TRANSACTION_TIMEOUT:
            return StatementTimeout
        case _:
            return StoreUnavailable if is_gone(error) else StorageFailed


def is_gone(error: psycopg.Error) -> bool:
    """Whether the connection or the server went away, so that another connection may do."""
    if not isinstance(error, _GONE) or isinstance(error, (PoolTimeout, pg.PipelineAborted)):
        return False
    if error.diag.severity_nonlocalized == "ERROR":  # of a statement, by a server that is there
        return False
    state = error.sqlstate
    return state is None or state[:2] == "08" or state[:3] in {"57P", "533"}


def reason_of(error: psycopg.Error) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
