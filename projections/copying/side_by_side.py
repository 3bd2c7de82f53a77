"""Compares two stores: what one holds that the other lacks, and whether they hold the same."""

from __future__ import annotations

from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from projections.pages import applications_of
from sessions.errors import CopyDiffers
from sessions.sql import schema
from sessions.sql.head import COPY
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.sql.connection import Query
    from sessions.sql.database import Database
    from sessions.sql.tables import Table

_PAGE = 2000
COPIED = (schema.EVENTS, schema.ANSWERS)
_END = {"integer": 0, "text": ""}
_NOTHING: list[Any] = [[], [(0,)]]
"""The extent of a store that has neither events nor keys."""

_Lacking: TypeAlias = tuple[int, "list[Sequence[Any]]"]
"""How many rows were looked at, and those of them that the target lacks."""


class SideBySide:
    """A store and its future copy: their events and idempotency keys, page by page.

    Attributes:
        source: The database of the store.
        target: The database of its copy.
    """

    def __init__(self, source: Database, target: Database) -> None:
        self.source = source
        self.target = target

    @property
    def are_one(self) -> bool:
        """Whether both are one store, whatever their URLs say: a lock on one is a lock on both."""
        one, other = self.source, self.target
        if one is other or one.dialect is not other.dialect or one.in_memory or other.in_memory:
            return one is other
        if not one.works_beside:
            return Path(other.path).exists() and Path(one.path).samefile(other.path)
        name = f"copy {uuid4()}"
        with one.held(name), other.held(name) as held:
            return held is None

    @property
    def is_complete(self) -> bool:
        """Whether an earlier copy was completed, and has as much as the source has now."""
        extent = extent_of(self.target.query)
        is_whole = COPY not in kept.builds(self.target.query, "current")
        return is_whole and extent != _NOTHING and extent == extent_of(self.source.query)

    def check_begun(self) -> None:
        """Check that what the target has already is the beginning of the source.

        Raises:
            CopyDiffers: It is not.
        """
        newest = schema.EVENTS.select("application_id = ?", "position DESC", 1)
        here = schema.EVENTS.select("application_id = ? AND position = ?")
        for application in applications_of(self.target.query):
            (last,) = self.target.query(newest, (application,))
            same = self.source.query(here, (application, last[1]))
            if not same or schema.EVENTS.given(same[0]) != schema.EVENTS.given(last):
                raise CopyDiffers(path=self.target.path, where=_where(schema.EVENTS, last))
        for application in applications_of(self.target.query, schema.ANSWERS.name):
            mine, theirs = self._rows(schema.ANSWERS, application)
            for row in theirs:
                if row not in mine:  # both are in order: rows passed by are not needed again
                    raise CopyDiffers(path=self.target.path, where=_where(schema.ANSWERS, row))

    def lacking(self) -> Iterator[tuple[Table, _Lacking]]:
        """What the target lacks, page by page, if it has the beginning of the source."""
        for table, application in _tasks(self.source):
            lacks = self._events if table is schema.EVENTS else self._answers
            for page in lacks(application):
                yield table, page

    def compare(self) -> None:
        """Check that both hold the same rows.

        Raises:
            CopyDiffers: They do not.
        """
        for table, application in _tasks(self.source, self.target):
            for here, there in zip_longest(*self._rows(table, application)):
                if here != there:
                    where = _where(table, here or there)
                    raise CopyDiffers(path=self.target.path, where=where)

    def _events(self, application: int) -> Iterator[_Lacking]:
        """Events are ordered by position: those that the target lacks come after those it has."""
        newest = "SELECT max(position), count(*) FROM events WHERE application_id = ?"
        ((last, there),) = self.target.query(newest, (application,))
        yield there, []
        for page in _pages(self.source, schema.EVENTS, application, last):
            yield len(page), page

    def _answers(self, application: int) -> Iterator[_Lacking]:
        """A key that was used since may sort before keys that the target has already.

        Both are read in order, and all keys of the target have been found in the source.
        """
        theirs = chain.from_iterable(_pages(self.target, schema.ANSWERS, application))
        there = next(theirs, None)
        for page in _pages(self.source, schema.ANSWERS, application):
            lacking = []
            for row in page:
                if row == there:
                    there = next(theirs, None)
                else:
                    lacking.append(row)
            yield len(page), lacking

    def _rows(self, table: Table, application: int) -> tuple[Iterator[Any], Iterator[Any]]:
        """An application's rows in the source and in the target, each in the order of their key."""
        both = (_pages(each, table, application) for each in (self.source, self.target))
        mine, theirs = (chain.from_iterable(pages) for pages in both)
        return mine, theirs


def extent_of(query: Query) -> list[Any]:
    """The ends of a store's logs, and how many idempotency keys it has."""
    heads = "SELECT application_id, max(position) FROM events GROUP BY 1 ORDER BY 1"
    return [query(heads, ()), query("SELECT count(*) FROM answers", ())]


def _where(table: Table, row: Sequence[Any]) -> str:
    """What a row is of which application."""
    application, place, *_ = row
    what = "event" if table is schema.EVENTS else "idempotency key"
    return f"{what} {place!r} of application {application}"


def _tasks(*databases: Database) -> list[tuple[Table, int]]:
    """What is to be copied, by application: one may have idempotency keys and no events."""
    found = {one for each in databases for one in applications_of(each.query, schema.ANSWERS.name)}
    return [(table, application) for application in sorted(found) for table in COPIED]


def _pages(
    database: Database, table: Table, application: int, after: object = None
) -> Iterator[list[Sequence[Any]]]:
    """An application's rows in the order of their key."""
    key = [column.name for column in table.columns].index(table.key[1])
    after = _END[table.columns[key].kind] if after is None else after
    sql = table.select(f"application_id = ? AND {table.key[1]} > ?", table.key[1], _PAGE)
    while page := database.query(sql, (application, after), passing=True):
        yield [table.given(row) for row in page]
        after = page[-1][key]
