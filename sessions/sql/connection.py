"""A connection in a transaction, and how the transaction ends."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Query = Callable[[str, Sequence[object]], list[Any]]
    Statement = tuple[str, Sequence[object]]


class Connection(Protocol):
    """A connection in a transaction, on which statements are executed."""

    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> Any:  # noqa: ANN401  of either driver
        """Execute a statement, and return a cursor."""

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> Any:  # noqa: ANN401  of either driver
        """Execute a statement for each row."""


class Copying(Connection, Protocol):
    """A connection of a database that takes many new rows as one stream (`Dialect.joins_rows`)."""

    def copied(self, into: str, rows: Iterable[Sequence[object]], /) -> bool:
        """Write rows, and tell whether they are: none is written if one is there already."""


def query_on(connection: Connection) -> Query:
    """Asks a SELECT on one connection, and returns all its rows."""
    return lambda sql, parameters: list(connection.execute(sql, parameters).fetchall())


@contextmanager
def ending(connection: Connection, well: Sequence[str], ill: Sequence[str]) -> Iterator[None]:
    """Execute statements at the end: some if it went well, others if it did not.

    An error inside is raised as it is, and errors of the statements after it are dropped: the
    connection may be closed by then, or be left waiting for an answer.
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
