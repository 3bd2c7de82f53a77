"""A connection in a transaction: statements are executed on it, and it ends well or ill."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Query = Callable[[str, Sequence[object]], list[Any]]
    Statement = tuple[str, Sequence[object]]


class Connection(Protocol):
    """A connection in a transaction: what statements are executed on."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> Any:  # noqa: ANN401  of either driver
        """Execute a statement; the answer is a cursor."""

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> Any:  # noqa: ANN401  of either driver
        """Execute a statement for each row."""


class Copying(Connection, Protocol):
    """A connection of a database that takes many new rows as one stream (`Dialect.joins_rows`)."""

    def copied(self, into: str, rows: Iterable[Sequence[object]], /) -> bool:
        """Whether rows were written: none is, where one of them is there already."""


def query_on(connection: Connection) -> Query:
    """All rows of a SELECT, asked on one connection."""
    return lambda sql, parameters: list(connection.execute(sql, parameters).fetchall())


@contextmanager
def ending(connection: Connection, well: Sequence[str], ill: Sequence[str]) -> Iterator[None]:
    """Execute statements at the end: some where it went well, others where it did not.

    Of what goes wrong inside, that error is told, and none of what ends it: the connection may be
    closed by then, or be left waiting for an answer.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):
            for statement in ill:
                connection.execute(statement)
        raise
    for statement in well:
        connection.execute(statement)
