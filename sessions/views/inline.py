"""Inline views: written in the transaction that appends the events.

The store records which projections are inline, so that all its writers keep the same ones: a writer
that lacks one of them, or has another version of it, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessions.errors import ViewsDiffer
from sessions.sql.head import check_whole
from sessions.views import kept
from sessions.views.views import HELD, Views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.recorded import Recorded
    from sessions.sql.connection import Connection, Query
    from sessions.sql.dialect import Dialect
    from sessions.sql.head import Build
    from sessions.views.projection import Projection


class InlineViews:
    """The views that a writer keeps in one application.

    Attributes:
        current: The current builds of the store, in any mode, as this writer leaves them.
    """

    def __init__(
        self, installed: Sequence[Projection[Any]], application_id: int, dialect: Dialect
    ) -> None:
        self._installed = {each.name: each for each in installed}
        self._own = {each.name for each in installed if each.mode == "inline"}
        self._application_id = application_id
        self._dialect = dialect
        self._views: dict[str, Views[Any]] = {}
        self.current: tuple[Build, ...] = ()
        self._is_arranged = False
        self._parking = False

    def arrange(self, current: tuple[Build, ...]) -> None:
        """Keep the current builds of the store from now on; held views have to be read again.

        Raises:
            ViewsDiffer: This writer cannot keep them.
            CopyUnfinished: The store is the target of a copy that is not complete.
        """
        if self._is_arranged and current == self.current:
            return
        check_whole(current)
        inline = [each for each in current if each.mode == "inline"]
        lacking = self._own - {each.name for each in current}
        if lacking or not all(self._has(each) for each in inline):
            raise self._differs(inline, lacking)
        self._views = {
            each.name: Views(
                self._installed[each.name],
                self._application_id,
                self._dialect,
                build=each.number,
                held=HELD,
            )
            for each in inline
        }
        self.current, self._is_arranged = current, True

    def _has(self, current: Build) -> bool:
        projection = self._installed.get(current.name)
        return projection is not None and projection.version == current.version

    def _differs(self, inline: Sequence[Build], lacking: set[str]) -> ViewsDiffer:
        stored = ", ".join([each.label for each in inline])
        asked = {*self._own, *[each.name for each in inline]}
        found = ", ".join([e.label for e in self._installed.values() if e.name in asked])
        advice = self._advice(inline, lacking)
        return ViewsDiffer(stored=stored or "(none)", found=found or "(none)", advice=advice)

    def _advice(self, inline: Sequence[Build], lacking: set[str]) -> str:
        here = {name: each.version for name, each in self._installed.items()}
        is_newer = any(each.version > here.get(each.name, each.version) for each in inline)
        unknown = [each.name for each in inline if each.name not in here]
        if unknown and not is_newer:
            names = ", ".join(unknown)
            return f"install {names} here, or run `sessions rebuild` to stop keeping it"
        differing = {*lacking, *[each.name for each in inline if not self._has(each)]}
        return kept.advice_on(sorted(differing), is_newer=is_newer)

    @property
    def kept_here(self) -> list[tuple[Build, Projection[Any]]]:
        """The builds that are kept inline, each with its projection here."""
        inline = [each for each in self.current if each.name in self._views]
        return [(each, self._installed[each.name]) for each in inline]

    def fold(self, query: Query, events: Sequence[Recorded]) -> None:
        """Fold events into the views; `current` is then what all writers will see."""
        for views in self._views.values():
            views.fold(query, events)
            self._parking |= views.parks
        if self._parking:
            self.current = tuple(
                [each.revised() if self._parks(each) else each for each in self.current]
            )

    def write(self, connection: Connection) -> None:
        """Write the views that changed; if keys are parked, all writers are told."""
        if self._parking:
            for each in self.current:
                if self._parks(each):
                    kept.revise(connection, each)
            self._parking = False
        for views in self._views.values():
            views.write(connection)

    def _parks(self, current: Build) -> bool:
        return current.name in self._views and self._views[current.name].parks

    def touched_by(self, rows: Sequence[Sequence[Any]]) -> set[int]:
        """Of rows of a log, the positions of those events that may change held views."""
        return {position for views in self._views.values() for position in views.touched_by(rows)}

    def catch_up(self, recorded: Recorded) -> None:
        """Fold an event that another writer recorded into the held views."""
        for views in self._views.values():
            views.catch_up(recorded)

    def forget(self) -> None:
        """Read the views again before the next event: others may have changed them."""
        self._parking = False
        for views in self._views.values():
            views.forget()
