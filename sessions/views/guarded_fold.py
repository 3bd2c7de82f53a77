"""Calls folds that people wrote, while others hold the same events and views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sessions import documents
from sessions.cached import cached_property
from sessions.mutability import can_change

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.recorded import Recorded

V = TypeVar("V")


class GuardedFold(Generic[V]):
    """Calls a projection's fold, which must change neither the event nor the view it is given.

    The views that it returns are as they will be when stored and read again. So the next fold is
    given the same, whether the view was stored meanwhile or not: a view made by hand may have any
    value in a field.
    """

    def __init__(
        self,
        name: str,
        view: type[V],
        fold: Callable[[V | None, Recorded], V],
        settled: Callable[[V], V] | None,
    ) -> None:
        self._name = name
        self._view = view
        self._fold = fold
        self._settled = settled

    @cached_property
    def _written(self) -> Callable[[Any], str]:
        """A view as JSON: two with the same JSON are the same, whatever Python says of them."""
        return documents.writes(self._view)

    @cached_property
    def _can_change(self) -> bool:
        """Whether views can be changed in place."""
        return can_change(self._view)

    def after(self, view: V | None, recorded: Recorded) -> V:
        """The view after an event, as it will be when it is stored and read again.

        It raises what `folded` and `settled` raise.
        """
        given = self._apart(view)
        folded = self.folded(given, recorded)
        if view is None or folded is not given:
            return self.settled(folded)
        if given is view:
            return folded
        after = self.settled(folded)
        return view if self._written(view) == self._written(after) else after

    def _apart(self, view: V | None) -> V | None:
        """A copy of a view for the fold, which might change it in place, though it should not.

        The original is still held, and the transaction may yet be rolled back.
        """
        return view if view is None or not self._can_change else self.settled(view)

    def folded(self, view: V | None, recorded: Recorded) -> V:
        """The view that the fold makes.

        It is given a copy of the event: others fold the event too, and it is still to be written.

        Raises:
            Exception: What the fold raised.
            TypeError: It returned None, which is no view.
        """
        folded = self._fold(view, recorded.apart())
        if folded is None:
            message = f"the fold of {self._name} returned None instead of a view"
            raise TypeError(message)
        return folded

    def settled(self, view: V) -> V:
        """A view as it will be when it is stored and read again.

        Raises:
            Exception: It cannot be written as JSON and read again.
        """
        return view if self._settled is None else self._settled(view)
