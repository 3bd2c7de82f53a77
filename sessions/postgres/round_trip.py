"""Round trips to PostgreSQL: statements that are sent at once, and the answer to each.

This is libpq's pipeline mode, through psycopg's wrapper. A pipeline of psycopg's cursors sends its
statements one by one; each wakes the server, and it costs the client several times as much.
"""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import pq, waiting
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send

from sessions.cached import cached_property

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import abc
    from psycopg.abc import Buffer, PQGen
    from psycopg.pq.abc import PGconn, PGresult

    from sessions.sql.connection import Statement

MOST_PREPARED = 200
"""How many statements at most the server keeps parsed and planned for a connection."""

_LOOK_SECONDS = 0.1
"""How often psycopg checks whether it was interrupted while it waits for the server."""

_ROWS = pq.ExecStatus.TUPLES_OK
_FAILED = pq.ExecStatus.FATAL_ERROR
_COPIES = {pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT}
_IDLE = pq.TransactionStatus.IDLE

_Shape = tuple[bytes, tuple[int, ...]]
"""A statement's text, and the types of its parameters."""


class Answer:
    """The answer to a statement: its rows, or the number of rows that it changed.

    Attributes:
        rowcount: As in cursors: -1 if the statement is not about rows.
    """

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[Any] | None, rowcount: int | None) -> None:
        self._rows = rows
        self.rowcount = -1 if rowcount is None else rowcount

    def fetchall(self) -> list[Any]:
        """All rows, as tuples.

        Raises:
            psycopg.ProgrammingError: The statement is not one that returns rows.
        """
        if self._rows is None:
            message = "not a SELECT: there are no rows"
            raise psycopg.ProgrammingError(message)
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())


class _Step(NamedTuple):
    """One thing that is sent to the server, and answered."""

    shape: _Shape
    name: bytes = b""
    values: Sequence[Buffer | None] | None = None
    formats: Sequence[int] | None = None
    prepares: bool = False

    def send(self, to: PGconn) -> None:
        text, types = self.shape
        if self.prepares:
            to.send_prepare(self.name, text, types)
        elif self.name:
            to.send_query_prepared(self.name, self.values, self.formats)
        else:
            to.send_query_params(text, self.values, types, self.formats)


class RoundTrips:
    """Sends a server several statements at once, through a connection of psycopg.

    A statement that is sent more than once is parsed and planned once: it stays prepared. Its name
    is unique to this connection, so that behind a pooler that shares a server's connection between
    several clients no other client's statement is executed instead.
    """

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._raw = raw
        self._adapter: abc.Transformer = Transformer(raw)
        self._prepared: OrderedDict[_Shape, bytes] = OrderedDict()
        self._left: list[bytes] = []
        self._names = secrets.token_hex(6).encode()
        self._number = 0

    def ask(self, statements: Sequence[Statement]) -> list[Answer]:
        """Execute statements, with `$1` and so on for parameters, in one round trip.

        After one that fails none is executed, and its error is raised. Any other error closes the
        connection, because its answers would be taken for those to something else.

        Raises:
            psycopg.Error: A statement failed, or the connection is lost.
        """
        if self._left and self._raw.pgconn.transaction_status == _IDLE:  # else it might not hear it
            left, self._left = self._left, []
            self.ask([(f"DEALLOCATE {name.decode()}", ()) for name in left])
        steps = self._steps(statements)
        results: list[PGresult] = []
        try:
            self._exchange(steps, results)
        except psycopg.Error:
            with closing(self._raw):  # the server may have said all, or why
                if len(results) == len(steps):
                    return self._answers(steps, results)
                self._raise_failed(results)
                raise
        except BaseException:
            self._raw.close()
            raise
        return self._answers(steps, results)

    def _steps(self, statements: Sequence[Statement]) -> list[_Step]:
        steps: list[_Step] = []
        made: dict[_Shape, bytes] = {}
        for sql, parameters in statements:
            shape, values, formats = self._adapted(sql, parameters)
            name = self._prepared.get(shape)
            if name == b"":  # it was sent once
                name = made.get(shape)
                if name is None:
                    self._number += 1
                    name = made[shape] = b"cs_%s_%d" % (self._names, self._number)
                    steps.append(_Step(shape, name, prepares=True))
            steps.append(_Step(shape, name or b"", values, formats))
        return steps

    def _adapted(
        self, sql: str, parameters: Sequence[object]
    ) -> tuple[_Shape, Sequence[Buffer | None] | None, Sequence[int] | None]:
        if not parameters:
            return (sql.encode(), ()), None, None
        adapter = self._adapter
        values = adapter.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        return (sql.encode(), adapter.types or ()), values, adapter.formats

    def _exchange(self, steps: Sequence[_Step], results: list[PGresult]) -> None:
        pgconn = self._raw.pgconn
        pgconn.enter_pipeline_mode()
        for step in steps:
            step.send(pgconn)
        pgconn.pipeline_sync()
        waiting.wait(_fetched(pgconn, results, len(steps)), pgconn.socket, _LOOK_SECONDS)
        pgconn.exit_pipeline_mode()

    def _answers(self, steps: Sequence[_Step], results: Sequence[PGresult]) -> list[Answer]:
        answers = []
        for step, result in zip(steps, results, strict=True):
            if result.status == _FAILED:
                self._forget(step)
                self._raise_failed(results)
            if step.shape[1]:  # BEGIN and the like are not worth it
                self._keep(step)
            if not step.prepares:
                answers.append(self._answer(result))
        return answers

    def _answer(self, result: PGresult) -> Answer:
        if result.status != _ROWS:
            return Answer(None, result.command_tuples)
        adapter = self._adapter
        adapter.set_pgresult(result)
        return Answer(adapter.load_rows(0, result.ntuples, tuple), result.ntuples)

    @staticmethod
    def _raise_failed(results: Sequence[PGresult]) -> None:
        for result in results:
            if result.status == _FAILED:
                raise error_from_result(result)

    def _keep(self, step: _Step) -> None:
        """Keep what was sent now, with its name, if it has one."""
        self._prepared[step.shape] = step.name
        self._prepared.move_to_end(step.shape)
        if len(self._prepared) > MOST_PREPARED:
            _, name = self._prepared.popitem(last=False)
            self._left += [name] if name else []

    def _forget(self, step: _Step) -> None:
        """Have what failed parsed again the next time: it may be about another relation by now."""
        name = self._prepared.pop(step.shape, b"")
        self._left += [name] if name else []


def _fetched(pgconn: PGconn, results: list[PGresult], count: int) -> PQGen[None]:
    """Send what is not sent yet, fetch `count` results, and then the pipeline's end."""
    yield from send(pgconn)
    while len(results) < count:
        fetched = yield from fetch_many(pgconn)
        if not fetched:
            message = "the connection ended before the answer"
            raise psycopg.OperationalError(message)
        if fetched[0].status in _COPIES:
            message = "COPY returns no rows"
            raise psycopg.ProgrammingError(message)
        results += fetched
    yield from fetch_many(pgconn)


class ServerConnection(psycopg.Connection[Any]):
    """psycopg's connection, with its round trips.

    Attributes:
        number: What numbers this process's connections in the order in which they were made.
    """

    number: int = 0

    def begin_again_in_child(self) -> None:
        """Leave the server to the parent: what a child says here, as it unwinds, goes nowhere."""
        with suppress(psycopg.Error):  # it is closed
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self.pgconn.socket)
            os.close(nowhere)

    @cached_property
    def trips(self) -> RoundTrips:
        """Sends statements through this connection."""
        return RoundTrips(self)
