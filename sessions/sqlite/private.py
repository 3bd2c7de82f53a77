"""A connection that one thread uses for a long time, beside those that are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sessions.sqlite.inside import Inside


class Answer:
    """The answer to a statement: all its rows, or the number of rows that it changed."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._rows = cursor.fetchall()
        self.rowcount = cursor.rowcount

    def fetchall(self) -> list[Any]:
        """All rows, as tuples."""
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class Private:
    """A connection that one thread uses for long; it is inside SQLite only for each statement."""

    def __init__(self, raw: sqlite3.Connection, inside: Inside) -> None:
        self._raw = raw
        self._inside = inside

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> Answer:
        """Execute a statement, to the end."""
        with self._inside:
            return Answer(self._raw.execute(sql, parameters))

    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> Answer:
        """Execute a statement for each row."""
        with self._inside:
            return Answer(self._raw.executemany(sql, rows))

    @property
    def text_factory(self) -> Callable[[bytes], object]:
        """Makes the value that is read of a stored text."""
        factory: Callable[[bytes], object] = self._raw.text_factory
        return factory

    @text_factory.setter
    def text_factory(self, factory: Callable[[bytes], object]) -> None:
        self._raw.text_factory = factory
