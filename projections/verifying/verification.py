"""One comparison of what is stored with what is folded afresh."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from projections.attachments import TABLE as ATTACHMENTS
from projections.comparing import differing_keys
from projections.folding import BuildOf, ClaimsOf, Part, Progress, wanted_by
from projections.known import come, kept_here, parked_keys
from projections.pages import read_page
from projections.verifying.difference import Difference
from projections.verifying.first_sessions import AnonymousSessions, wrong_of_profiles
from projections.verifying.log_checks import disorder, gaps, unread
from projections.verifying.parked_beside import ParkedBeside
from sessions.log.claim_rows import ClaimRows
from sessions.news import News
from sessions.sql import schema
from sessions.sql.connection import ending, query_on
from sessions.sql.creating import created_temporary
from sessions.views import kept
from sessions.views.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from projections.pages import Page
    from sessions.errors import UndecodableEvent, UnknownEvent
    from sessions.sql.connection import Connection
    from sessions.sql.head import Build
    from sessions.sql.tables import Table
    from sessions.store import SessionStore

    _Transaction = AbstractContextManager[None]

_FRESH = "_fresh"
_WHY = ("error", "parked_at")
"""The columns of a parked key that another fold of the same events need not reproduce."""

Row = tuple[Any, ...]


class Moved(News):
    """What the store keeps has changed since the verification began."""


class Verification:
    """One comparison of what is stored with what is folded afresh, on a connection of its own."""

    def __init__(self, store: SessionStore, connection: Connection) -> None:
        self._store = store
        self._connection = connection
        self._database = store.recorder.database
        self._query = query_on(connection)
        self._builds = kept.builds(self._query, "current")
        self._obstacle: UnknownEvent | UndecodableEvent | None = None
        self._projections = [each for _, each in kept_here(store, self._builds)]
        application, dialect = store.application_id, self._database.dialect
        claims = ClaimsOf(ClaimRows(application, dialect, _FRESH))
        self._anonymous = AnonymousSessions()
        self._parts: dict[Part, Build | None] = {claims: None, self._anonymous: None}
        for each in self._projections:
            build = self._builds[each.name]
            parked = parked_keys(store, build, schema.PARKED.beside(_FRESH))
            views = Views(each, application, dialect, suffix=_FRESH, parked=parked)
            self._parts[BuildOf(each, views)] = build
        builds = [self._builds[each.name] for each in self._projections]
        self._parked = ParkedBeside(connection, builds, _FRESH)
        self._tables = [
            *schema.OF_CLAIMS,
            *[table for each in self._projections for table in each.tables],
        ]

    def _not_compared(self) -> Iterator[tuple[str, int | None, int | None]]:
        """The projections that are not compared: name, and version in the store and here."""
        here = {each.name: each for each in self._store.projections}
        compared = {each.name for each in self._projections}
        for name, build in self._builds.items():
            if build.mode != "live" and name not in compared:
                yield name, build.version, here[name].version if name in here else None
        for name, each in here.items():
            if each.mode == "inline" and name not in self._builds:
                yield name, None, each.version

    @contextmanager
    def relations(self) -> Iterator[None]:
        """Temporary relations for what is folded afresh.

        Those of a verification that was interrupted are removed first: in memory all share one
        connection.
        """
        dialect = self._database.dialect
        made = [table.beside(_FRESH) for table in (*self._tables, schema.PARKED)]
        drops = [f"DROP TABLE IF EXISTS {dialect.temporary}.{table.name}" for table in made]
        for statement in drops:
            self._connection.execute(statement)
        with ending(self._connection, drops, drops):
            for table in made:
                for statement in created_temporary(table, dialect):
                    self._connection.execute(statement)
            self._parked.take_skips()
            yield

    def differences(self, progress: Progress) -> Iterator[Difference]:
        """The differences, one by one.

        Raises:
            Moved: The verification has to start over.
        """
        with self._snapshot():
            wrong = [
                *gaps(self._query, self._store.application_id),
                *disorder(self._query, self._store.application_id),
            ]
        if wrong:
            yield from wrong
            return  # comparing the views of such a log proves nothing
        total = self._store.position
        aim = min([total, *[self._come(part) for part in self._parts]])
        for page in self._folded(list(self._parts), aim, self._transaction):
            progress(page.until, total)
        if self._obstacle is not None:
            yield unread(self._obstacle)
            return
        as_switched = sorted(
            self._tables, key=schema.OF_CLAIMS.__contains__
        )  # and locked: claims are last
        with self._snapshot([table.name for table in as_switched]):
            yield from self._compared()

    def _snapshot(self, relations: Sequence[str] = ()) -> _Transaction:
        return self._database.snapshot(self._connection, relations)

    def _transaction(self) -> _Transaction:
        """One transaction for what is written to temporary tables; no snapshot of the store."""
        self._connection.execute("BEGIN")
        return ending(self._connection, ["COMMIT"], ["ROLLBACK"])

    def _come(self, part: Part) -> int:
        """The position that the stored form of a part has reached."""
        build = self._parts[part]
        if build is None:
            return self._store.recorder.head(self._query).position
        return come(self._store, build, self._query)

    def _folded(
        self, parts: Sequence[Part], until: int, transaction: Callable[[], _Transaction]
    ) -> Iterator[Page]:
        """The pages up to a position, folded."""
        wanted, after = wanted_by(parts), min(part.position for part in parts)
        while after < until and self._obstacle is None:
            page = read_page(self._store, self._query, after, until=until, wanted=wanted)
            with transaction():
                for part in parts:
                    part.take(self._query, page)
                    part.write(self._connection)
            yield page
            if page.until == after and page.obstacle is None:
                return  # the log ends here
            after, self._obstacle = page.until, page.obstacle

    def _compared(self) -> Iterator[Difference]:
        """Fold what came meanwhile, each part up to where its stored form is, and compare."""
        if self._has_moved():
            raise Moved
        for part in self._parts:
            come = self._come(part)
            if come < part.position:  # dropped meanwhile, and begun again
                raise Moved
            for _ in self._folded([part], come, nullcontext):
                pass
        if self._obstacle is not None:
            yield unread(self._obstacle)
            return
        yield from self._beyond()
        for table in self._tables:
            yield from self._rows(table)
        self._parked.take_others()
        yield from self._rows(schema.PARKED)
        for key in self._parked.skips_of_nothing(self._store.application_id):
            yield Difference(schema.PARKED.name, key[1:], "", "a row", None)
        if ATTACHMENTS in self._tables:
            yield from wrong_of_profiles(self._query, ATTACHMENTS.beside(_FRESH))
        yield from self._anonymous.wrong()
        for name, stored, expected in self._not_compared():
            yield Difference(schema.PROJECTIONS.name, (name,), "version", stored, expected)

    def _has_moved(self) -> bool:
        """Whether the store keeps other builds now, or skips other events of them.

        Keys that were parked or went on meanwhile (`Build.revision`) make no difference.
        """
        then, now = (
            [(each.name, each.number, each.version, each.mode) for each in builds.values()]
            for builds in (self._builds, kept.builds(self._query, "current"))
        )
        return then != now or not self._parked.has_its_skips()

    def _beyond(self) -> Iterator[Difference]:
        """Followed views whose position is beyond the log's end."""
        end = self._store.recorder.head(self._query).position
        for build in [self._builds[each.name] for each in self._projections]:
            stored = come(self._store, build, self._query)
            if stored > end:
                key = (kept.follower_of(build), str(self._store.application_id))
                yield Difference(schema.POSITIONS.name, key, "position", stored, end)

    def _rows(self, table: Table) -> Iterator[Difference]:
        dialect = self._database.dialect
        compared, fresh = (
            replace(each, columns=tuple([c for c in each.columns if c.name not in _WHY]))
            for each in (table, table.beside(_FRESH))
        )
        application = self._store.application_id
        with self._database.any_text(self._connection):
            for key in differing_keys(self._connection, compared, fresh, application, dialect):
                stored, expected = (
                    next(iter(self._query(t.select(t.where_key(dialect)), key)), None)
                    for t in (compared, fresh)
                )
                yield from _columns(compared, key[1:], stored, expected)


class WithinTransaction(Verification):
    """A verification in a transaction that is open already, and so sees one state anyway."""

    def _snapshot(self, relations: Sequence[str] = ()) -> _Transaction:  # noqa: ARG002  as the base has it
        return nullcontext()

    def _transaction(self) -> _Transaction:
        return nullcontext()


def _columns(
    table: Table, key: tuple[Any, ...], stored: Row | None, expected: Row | None
) -> Iterator[Difference]:
    if stored is None or expected is None:
        there = None if expected is None else "a row"
        here = "a row" if stored or not expected else None  # a key that is not text finds no row
        yield Difference(table.name, key, "", here, there)
        return
    for column, one, other in zip(table.columns, stored, expected, strict=False):
        if one != other:
            yield Difference(table.name, key, column.name, one, other)
