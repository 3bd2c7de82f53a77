"""Folds what is built from the log, in batches, until the log's end is near."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from projections.folding import HELD, BuildOf, ClaimsOf, Progress, Tracked, wanted_by
from projections.pages import LogReader, Pace, applications_of, count_of_events, read_page
from projections.rebuilding.write_behind import WriteBehind
from sessions.log.claim_rows import ClaimRows
from sessions.news import News
from sessions.sql.connection import query_on
from sessions.views import kept
from sessions.views.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from projections.folding import Part
    from projections.pages import Page
    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build
    from sessions.views.projection import Projection

CLAIMS = "claims"
"""The name of the build that has the claims."""

_PAGE = 5000
"""How many positions are folded in one transaction, if folds are fast. On SQLite writers wait for
its writes."""

_LEFT_FOR_SWITCH = 500
"""How many events may be left to fold while writers wait for the switch."""


class Stopped(News):
    """The caller's `stop` said to stop."""


class CatchingUp:
    """What is folded into some builds, and how far that has come.

    Args:
        database: Where they are built.
        projections: What they are builds of, by name. The claims are no projection.
        check: Called first in each transaction that writes; it may raise to refuse.
    """

    def __init__(
        self,
        database: Database,
        projections: Mapping[str, Projection[Any]],
        check: Callable[[Connection], object],
    ) -> None:
        self._database = database
        self._builds: Mapping[str, Build] = {}
        self._projections = projections
        self._check = check
        self._pace = Pace(_PAGE)
        self.parts: dict[int, list[Tracked]] = {}

    @property
    def position(self) -> int:
        """How many events all parts have processed."""
        return sum(
            min((part.position for part in parts), default=0) for parts in self.parts.values()
        )

    def begin(self, builds: Mapping[str, Build], query: Query) -> None:
        """Begin with some builds, by name, where an earlier attempt at them has stopped."""
        self._builds = builds
        self._all_parts(query)

    def go_on(self, progress: Progress, stop: Callable[[], bool]) -> None:
        """Fold from what is committed until the log's end is near.

        Raises:
            Stopped: It was stopped before that.
        """
        self.parts.clear()  # a switch that was rolled back had folded more
        if self._catch_up(progress, stop):
            raise Stopped

    def _catch_up(self, progress: Progress, stop: Callable[[], bool]) -> bool:
        """Fold until the log's end is near; the answer is whether it was stopped.

        Others write meanwhile: the total that `progress` gets is never less than what is done.
        """
        log = partial(self._database.query, passing=True)
        with WriteBehind(self._database, self._check) as behind:
            while True:
                behind.wait()
                total, before = count_of_events(self._database), self.position
                if total - before <= _LEFT_FOR_SWITCH and before:
                    progress(before, total)
                    return stop()
                for application, parts in self._all_parts(behind.query).items():
                    for _ in self._pages(application, parts, log, behind.query):
                        writes = [write for part in parts for write in part.writes()]
                        done = self.position
                        behind.write(writes, partial(progress, done, max(done, total)))
                        if stop():
                            return True
                if self.position == before:
                    return False

    def fold_the_rest(self, connection: Connection) -> None:
        """Fold what came since, in the transaction of the switch."""
        query = query_on(connection)
        for application, parts in self._all_parts(query).items():
            for _ in self._pages(application, parts, query, query):
                for part in parts:
                    part.write(connection)

    def _pages(
        self, application: int, parts: Sequence[Tracked], log: Query, query: Query
    ) -> Iterator[Page]:
        """The pages that the parts lack, folded; log and views may be read by different queries."""
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

    def _all_parts(self, query: Query) -> dict[int, list[Tracked]]:
        for application in applications_of(query):
            if application not in self.parts:
                self.parts[application] = [
                    Tracked(part, self._database, build, application, query)
                    for build, part in self._parts_of(application)
                ]
        return self.parts

    def _parts_of(self, application: int) -> Iterator[tuple[Build, Part]]:
        dialect = self._database.dialect
        for build in self._builds.values():
            suffix = kept.suffix(build)
            if build.name == CLAIMS:
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
