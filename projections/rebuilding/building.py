"""Builds beside the existing ones: begun, folded in batches, compared, and switched to.

A build keeps its position in the store, so that it can be stopped and resumed. The switch renames
the relations in one transaction that has the lock of the log. The old relations stay under the
number of their build until they are dropped.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from projections.comparing import Compared, compare_builds
from projections.folding import Overtaken, Progress, never, silent
from projections.rebuilding.attempts import Attempts
from projections.rebuilding.catching_up import CLAIMS, CatchingUp, Stopped
from projections.rebuilding.switching import clear, switch_claims, unknown_to
from sessions.sql import schema
from sessions.sql.connection import query_on
from sessions.views import kept
from sessions.views.current import check_free, retire, switch
from sessions.views.parked import parked_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sessions.sql.connection import Connection, Query
    from sessions.sql.database import Database
    from sessions.sql.head import Build, Mode
    from sessions.views.projection import Projection


class Rebuilt(msgspec.Struct, frozen=True, rename="camel"):
    """What a rebuild did.

    Attributes:
        projections: What was built, each with its version, such as `customer_sessions 2`.
        events: How many events of all applications it processed, including earlier attempts.
        done_before: How many of these an earlier attempt, which it resumed, had processed.
        switched: Whether it switched to the new builds. If not, it was stopped, and resumes when
            it is run again.
        parked: How many keys are parked in what was built, because a fold failed.
        compared: How each new build compares with the one of the same version that it replaced.
        retired: Inline projections that this process does not know, such as `gifts 1`: no writer
            keeps them any longer.
    """

    projections: list[str]
    events: int
    switched: bool
    parked: int
    compared: list[Compared]
    retired: list[str]
    done_before: int = 0


class Building:
    """One rebuild: what it builds, and how far it has come.

    Args:
        database: Where it builds.
        projections: What it builds.
        mode: Their mode after the switch; None keeps it.
        claims: Whether it builds everything, including the claims.
        allow_older: Also build versions older than the current ones.
        source: Another database to take modes and skipped events from.
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
            self._tables[CLAIMS] = schema.OF_CLAIMS
        self._builds: dict[str, Build] = {}
        self._catching_up = CatchingUp(database, self._projections, self._check_builds)

    def run(
        self,
        progress: Progress = silent,
        stop: Callable[[], bool] = never,
        check: Callable[[], object] = bool,
        confirm: Callable[[Connection], object] = bool,
    ) -> Rebuilt:
        """Begin or resume, until it is stopped or has switched.

        Args:
            progress: Called with the number of events done so far, and their total number.
            stop: Asked after each batch, and before each further attempt to switch.
            check: Called before the switch, when all is built; it may raise to refuse.
            confirm: Called in the transaction of the switch, in which everything is switched
                already; it may raise to refuse.

        Raises:
            Overtaken: Somebody else has switched to what it builds, or dropped it.
            CopyUnfinished: The store is being copied to.
            ProjectionTooOld: The store keeps a newer version, and an older one is not allowed.
        """
        done_before = self._begin()
        labels = [each.label for each in _of_projections(self._builds)]
        compared: list[Compared] = []
        retired: list[str] = []
        go_on = partial(self._catching_up.go_on, progress, stop)
        try:
            go_on()
            known = self._projections.values()
            found = compare_builds(self._database, self._builds, known, self._catching_up.parts)
            check()
            gone = clear(self._database, partial(self._switch, confirm), go_on)
        except Stopped:
            switched = False
        else:
            switched, compared, retired = True, found, [each.label for each in gone]
        done, parked = self._catching_up.position, self._parked()
        return Rebuilt(labels, done, switched, parked, compared, retired, done_before)

    def _begin(self) -> int:
        """Begin, or resume an earlier attempt; the answer is how many events that had processed."""
        named = {table.name for tables in self._tables.values() for table in tables}
        self._database.check_owned(named)
        with self._database.writing() as connection:
            if not self._is_copy:
                kept.check_whole(query_on(connection))
            builds = {
                name: self._attempts.build(connection, name, tables)
                for name, tables in self._tables.items()
            }
            query = query_on(connection)
            leaving = [*self._projections, *[each.name for each in self._to_be_retired(query)]]
            check_free(query, _of_projections(builds), leaving)
            self._catching_up.begin(builds, query)
        self._builds = builds  # it has them: they are committed
        return self._catching_up.position

    def _to_be_retired(self, query: Query) -> list[Build]:
        """The builds that no writer keeps any longer after the switch."""
        return unknown_to(query, self._projections) if self._is_of_all else []

    # --- being alone

    def has_its_builds(self, query: Query) -> bool:
        """Whether nobody has switched to what it builds, or dropped it.

        A lock that is held on a server ends with its connection, and its holder is not told.
        """
        building = kept.builds(query, "building")
        return all(building.get(name) == build for name, build in self._builds.items())

    def _check_builds(self, connection: Connection) -> None:
        if not self.has_its_builds(query_on(connection)):
            raise Overtaken

    def _parked(self) -> int:
        """How many keys are parked in what is built."""
        return sum(parked_in(self._database.query, build) for build in self._builds.values())

    # --- switching

    def _switch(
        self, confirm: Callable[[Connection], object], connection: Connection
    ) -> list[Build]:
        """Make what was built current; the answer is the builds that no writer keeps any longer."""
        self._check_builds(connection)
        self._catching_up.fold_the_rest(connection)
        retired = self._to_be_retired(query_on(connection))
        for each in retired:
            retire(self._database, connection, each.name)
        switch(self._database, connection, _of_projections(self._builds))
        if self._is_of_all:
            switch_claims(self._database, connection, self._builds[CLAIMS])
        confirm(connection)
        return retired


def _of_projections(builds: Mapping[str, Build]) -> list[Build]:
    """The builds of projections; the claims are none."""
    return [build for build in builds.values() if build.name != CLAIMS]
