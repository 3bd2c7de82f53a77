"""What PostgreSQL's errors mean to the store."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors as pg

from sessions.errors import (
    DependentObject,
    Duplicate,
    SessionsError,
    StatementTimeout,
    StorageFailed,
    StoreBusy,
    StoreUnavailable,
)
from sessions.sql.failures import Failures

GRANT = "grant it to the role, or run `sessions init` or the rebuild as the owner"
"""What to do if a role lacks a privilege."""

_CUT = re.compile(
    "closed (the connection|unexpectedly)|connection reset|broken pipe|eof (detected|while)"
    "|administrator command|crash of another",
    re.IGNORECASE,
)
_NOT_SENT = re.compile("number of parameters must be between")
"""What libpq says if it does not even send a statement."""
_TRANSACTION_TIMEOUT = "25P04"
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)


class PostgresFailures(Failures):
    """Turns psycopg's errors into the store's."""

    kind = psycopg.Error
    database = "PostgreSQL"
    least = (15, 0)

    def of(self, error: psycopg.Error) -> Exception:
        """The store's error for one of psycopg's."""
        reason = reason_of(error)
        if isinstance(error, pg.InsufficientPrivilege):
            reason = f"{error.diag.message_primary or reason}: {GRANT}"
        if isinstance(error, pg.DependentObjectsStillExist):
            first = (error.diag.message_detail or reason).splitlines()[0]
            what, _, relation = first.partition(" depends on ")
            return DependentObject(what=what, relation=relation or "a relation of the store")
        if isinstance(error, pg.LockNotAvailable):
            return StoreBusy(path=self._path, seconds=self._lock_timeout)
        if _is_of_standby(error):
            reason = "it is a standby, which can only be read"
        return _kind_of(error)(path=self._path, reason=reason)


def _kind_of(error: psycopg.Error) -> type[SessionsError]:
    match error:
        case pg.QueryCanceled() | pg.IdleInTransactionSessionTimeout():
            return StatementTimeout
        case pg.SerializationFailure() | pg.DeadlockDetected():
            return StatementTimeout  # a standby's recovery needs what it read, or people lock too
        case pg.UniqueViolation():
            return Duplicate
        case _ if error.sqlstate == _TRANSACTION_TIMEOUT:
            return StatementTimeout
        case _:
            is_away = is_gone(error) or _is_of_standby(error)  # until it is promoted
            return StoreUnavailable if is_away else StorageFailed


def _is_of_standby(error: psycopg.Error) -> bool:
    """Whether a transaction that writes was refused: a setting that a server cannot have now."""
    return isinstance(error, pg.FeatureNotSupported) and error.diag.source_file == "guc.c"


def is_gone(error: psycopg.Error) -> bool:
    """Whether another connection may work: this one or the server went away, or there was none."""
    if not isinstance(error, _GONE):
        return False
    if error.diag.severity_nonlocalized == "ERROR":  # of a statement, by a server that is there
        return False
    if _NOT_SENT.search(str(error)):
        return False
    state = error.sqlstate
    return state is None or state[:2] == "08" or state[:3] in {"57P", "533"}


def is_cut(error: psycopg.Error) -> bool:
    """Whether a connection was cut while it was made: libpq says so only in words."""
    return is_gone(error) and (error.sqlstate is not None or bool(_CUT.search(str(error))))


def reason_of(error: psycopg.Error) -> str:
    """What an error says, in one line, without the place in a function of the server."""
    said = str(error).partition("\nCONTEXT:")[0]
    return " ".join(said.split()) or type(error).__name__
