"""The views that are held in memory, and the indexed values of each one's row."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sessions.events import SESSION
from sessions.sql.topics import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.keys import Key
    from sessions.recorded import Recorded
    from sessions.views.projection import Projection

V = TypeVar("V")


class HeldViews(Generic[V]):
    """The views of a projection that were written last.

    Args:
        projection: The projection.
        most: How many views are held.
    """

    def __init__(self, projection: Projection[V], most: int) -> None:
        self._projection = projection
        self._most = most
        self._views: OrderedDict[Key, V] = OrderedDict()
        self._indexed: dict[Key, tuple[object, ...]] = {}

    def get(self, key: Key) -> V | None:
        """A view, if it is held."""
        return self._views.get(key)

    def is_indexed_as(self, key: Key, indexed: tuple[object, ...]) -> bool:
        """Whether these are known to be the indexed values of a view's row."""
        return self._indexed.get(key) == indexed

    def hold(self, key: Key, view: V, indexed: tuple[object, ...]) -> None:
        """Hold a written view and its row's indexed values; the oldest one is dropped."""
        self._views[key], self._indexed[key] = view, indexed
        self._views.move_to_end(key)
        if len(self._views) > self._most:
            oldest, _ = self._views.popitem(last=False)
            self._indexed.pop(oldest, None)

    def touched_by(self, rows: Sequence[Sequence[Any]]) -> set[int]:
        """Of rows of a log, the positions of those events that may change a held view.

        An event of an unknown type may.
        """
        held = self._views
        if not held:
            return set()
        ours = [row for row in rows if row[1] == SESSION]
        if self._projection.is_of_session:
            return {row[0] for row in ours if row[2] in held}
        unwanted = self._projection.unwanted
        return {row[0] for row in ours if name_of(row[4]) not in unwanted}

    def catch_up(self, recorded: Recorded) -> None:
        """Fold an event that another writer recorded into the held views."""
        if recorded.category != SESSION:
            return
        for key in self._projection.touched(recorded):
            view = self._views.get(key)
            if view is not None:
                self._views[key] = self._projection.after(view, recorded)
                self._indexed.pop(key, None)

    def forget(self) -> None:
        """Hold none."""
        self._views.clear()
        self._indexed.clear()
