"""Builds beside the ones that are there: begun, folded in batches, compared, and switched to.

What is built has its position in the store, so that it can be stopped and gone on with. The switch
renames the relations, in one transaction that has the lock of the log; the old ones stay under the
number of their build until they are dropped.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from projections.comparing import Compared, compare_builds
from projections.folding import (
    HELD,
    BuildOf,
    ClaimsOf,
    Overtaken,
    Progress,
    Tracked,
    never,
    silent,
    wanted_by,
)
from projections.pages import LogReader, Pace, applications_of, count_of_events, read_page
from projections.rebuilding.attempts import Attempts
from projections.rebuilding.switching import clear, retire_unknown, switch_claims
from projections.rebuilding.write_behind import WriteBehind
from sessions.log.claim_rows import ClaimRows
from sessions.sql import schema
from sessions.sql.connection import query_on
from sessions.views import kept
from sessions.views.parked import parked_in
from sessions.views.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from projections.folding import Part
    from projections.pages import Page
    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build, Mode
    from sessions.views.projection import Projection

_CLAIMS = "claims"
_CLAIM_TABLES = (schema.CLAIMS, schema.LIMITS)
_PAGE = 5000
"""So many positions are folded in one transaction, if folds are fast; writers wait for its writes
on SQLite."""

_LEFT_FOR_SWITCH = 500
"""So many events may be folded while writers wait for the switch."""


class Rebuilt(msgspec.Struct, frozen=True, rename="camel"):
    """What a rebuild did.

    Attributes:
        projections: What was built, such as `customer_sessions 2`.
        events: The events of all applications that it went over, earlier attempts included.
        done_before: So many of these an earlier attempt had gone over, which was gone on with.
        switched: Whether it is done; else it was stopped, and goes on when it is run again.
        parked: How many keys wait in what was built, because a fold failed.
        compared: How what is new compares with what it took the place of.
        retired: What was inline and is not known here, such as `gifts 1`: it is kept no longer.
    """

    projections: list[str]
    events: int
    switched: bool
    parked: int
    compared: list[Compared]
    retired: list[str]
    done_before: int = 0


class _Stopped(Exception):  # noqa: N818  it is news, and nothing went wrong
    """Whoever is asked after each batch said so."""


class Building:
    """One rebuild: what is built, and how far it has come.

    Args:
        database: Where it is built.
        projections: What is built.
        mode: How they are run from then on, if not as until now.
        claims: Build all, the claims too.
        allow_older: Build an older version than the current one too.
        source: Another database, whose modes and skipped events are taken over.
    """

    def __init__(  # noqa: PLR0913  all but the first two have defaults
        self,
        database: Database,
        projections: Sequence[Projection[Any]],
        mode: Mode | None = None,
        *,
        claims: bool,
        allow_older: bool = False,
        source: Database | None = None,
    ) -> None:
        self._database = database
        self._projections = {each.name: each for each in projections}
        self._attempts = Attempts(
            database, projections, mode, allow_older=allow_older, source=source
        )
        self._is_copy = source is not None
        self._is_of_all = claims
        self._tables = {each.name: each.tables for each in projections}
        if claims:
            self._tables[_CLAIMS] = _CLAIM_TABLES
        self._builds: dict[str, Build] = {}
        self._parts: dict[int, list[Tracked]] = {}
        self._pace = Pace(_PAGE)

    def run(
        self,
        progress: Progress = silent,
        stop: Callable[[], bool] = never,
        check: Callable[[], object] = bool,
        confirm: Callable[[Connection], object] = bool,
    ) -> Rebuilt:
        """Begin or go on, until it is stopped or switched.

        Args:
            progress: Is told the events done and their number.
            stop: Is asked after each batch, and before each further attempt to switch.
            check: May refuse before the switch, when all is built.
            confirm: May refuse in the transaction of the switch, in which all is switched already.

        Raises:
            Overtaken: Somebody else has switched to what it builds, or dropped it.
            CopyUnfinished: The store is being copied to.
            ProjectionTooOld: The store keeps a newer version, and an older one is not allowed.
        """
        done_before = self._begin()
        labels = [each.label for each in self._builds.values() if each.name != _CLAIMS]
        compared: list[Compared] = []
        retired: list[str] = []
        go_on = partial(self._go_on, progress, stop)
        try:
            go_on()
            known = self._projections.values()
            found = compare_builds(self._database, self._builds, known, self._parts)
            check()
            gone = clear(self._database, partial(self._switch, confirm), go_on)
        except _Stopped:
            switched = False
        else:
            switched, compared, retired = True, found, [each.label for each in gone]
        done, parked = self._position(), self._parked()
        return Rebuilt(labels, done, switched, parked, compared, retired, done_before)

    def _begin(self) -> int:
        """Begin, or find what an earlier attempt has begun; so many events that had gone over."""
        named = {table.name for tables in self._tables.values() for table in tables}
        self._database.check_owned(named)
        with self._database.writing() as connection:
            if not self._is_copy:
                kept.check_whole(query_on(connection))
            self._builds = {
                name: self._attempts.build(connection, name, tables)
                for name, tables in self._tables.items()
            }
            self._all_parts(query_on(connection))
        return self._position()

    # --- being alone

    def has_its_builds(self, query: Query) -> bool:
        """Whether nobody has switched to what is built, or dropped it.

        A right that is held on a server ends with its connection, and its holder is not told.
        """
        building = kept.builds(query, "building")
        return all(building.get(name) == build for name, build in self._builds.items())

    def _check_builds(self, connection: Connection) -> None:
        if not self.has_its_builds(query_on(connection)):
            raise Overtaken

    # --- catching up

    def _all_parts(self, query: Query) -> dict[int, list[Tracked]]:
        for application in applications_of(query):
            if application not in self._parts:
                self._parts[application] = [
                    Tracked(part, self._database, build, application, query)
                    for build, part in self._parts_of(application)
                ]
        return self._parts

    def _parts_of(self, application: int) -> Iterator[tuple[Build, Part]]:
        dialect = self._database.dialect
        for build in self._builds.values():
            suffix = kept.suffix(build)
            if build.name == _CLAIMS:
                yield build, ClaimsOf(ClaimRows(application, dialect, suffix, copies=True))
            elif build.mode != "live":
                projection = self._projections[build.name]
                views = Views(
                    projection,
                    application,
                    dialect,
                    build=build.number,
                    suffix=suffix,
                    held=HELD,
                    copies=True,
                )
                yield build, BuildOf(projection, views)

    def _go_on(self, progress: Progress, stop: Callable[[], bool]) -> None:
        """Fold until the log's end is near, from what is committed.

        Raises:
            _Stopped: It was stopped before.
        """
        self._parts.clear()  # a switch that was taken back had folded more
        if self._catch_up(progress, stop):
            raise _Stopped

    def _catch_up(self, progress: Progress, stop: Callable[[], bool]) -> bool:
        """Fold until the log's end is near; whether it was stopped.

        Others write meanwhile: progress never tells of fewer events than are done.
        """
        log = partial(self._database.query, passing=True)
        with WriteBehind(self._database, self._check_builds) as behind:
            while True:
                behind.wait()
                total, before = count_of_events(self._database), self._position()
                if total - before <= _LEFT_FOR_SWITCH and before:
                    progress(before, total)
                    return stop()
                for application, parts in self._all_parts(behind.query).items():
                    for _ in self._pages(application, parts, log, behind.query):
                        writes = [write for part in parts for write in part.writes()]
                        done = self._position()
                        behind.write(writes, partial(progress, done, max(done, total)))
                        if stop():
                            return True
                if self._position() == before:
                    return False

    def _pages(
        self, application: int, parts: Sequence[Tracked], log: Query, query: Query
    ) -> Iterator[Page]:
        """The pages that the parts lack, folded; the log may be asked otherwise than the views."""
        reader, wanted = LogReader(self._database, application), wanted_by(parts)
        while parts:
            after = min(part.position for part in parts)
            page = read_page(reader, log, after, size=self._pace.begin(), wanted=wanted)
            if page.obstacle is not None:
                raise page.obstacle
            if page.until == after:
                return
            for part in parts:
                part.take(query, page)
            self._pace.end(page.until - after)
            yield page

    def _fold_the_rest(self, connection: Connection) -> None:
        """Fold what came since, in the transaction of the switch."""
        query = query_on(connection)
        for application, parts in self._all_parts(query).items():
            for _ in self._pages(application, parts, query, query):
                for part in parts:
                    part.write(connection)

    def _position(self) -> int:
        """The events that all parts have gone over."""
        return sum(
            min((part.position for part in parts), default=0) for parts in self._parts.values()
        )

    def _parked(self) -> int:
        """How many keys wait in what is built."""
        return sum(parked_in(self._database.query, build) for build in self._builds.values())

    # --- switching

    def _switch(
        self, confirm: Callable[[Connection], object], connection: Connection
    ) -> list[Build]:
        """Let what was built be current; the answer is what is kept no longer."""
        self._check_builds(connection)
        self._fold_the_rest(connection)
        known = self._projections
        retired = retire_unknown(self._database, connection, known) if self._is_of_all else []
        for build in self._builds.values():
            switch = switch_claims if build.name == _CLAIMS else kept.switch
            switch(self._database, connection, build)
        confirm(connection)
        return retired
