"""A fold of people's own: others hold the event and the view that it is given."""

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
    """Calls a projection's fold, which may change neither the event nor the view that it is given.

    Its views are such as are kept and read again, so that the next fold is given the same, whether
    the view was kept meanwhile or not: whoever makes one by hand may give a field any value.
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
        """A view as JSON: two that are alike there are the same, whatever Python says of them."""
        return documents.writes(self._view)

    @cached_property
    def _can_change(self) -> bool:
        """Whether views can be changed in place."""
        return can_change(self._view)

    def after(self, view: V | None, recorded: Recorded) -> V:
        """The view after an event, as it is when it is kept and read again.

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
        """A view for the fold, which may change it in place, though it should not: one of its own.

        The view before is still held; a transaction may end without a trace.
        """
        return view if view is None or not self._can_change else self.settled(view)

    def folded(self, view: V | None, recorded: Recorded) -> V:
        """The view that the fold makes.

        It is given an event of its own: others are folding it too, and it is still to be written.

        Raises:
            Exception: What the fold raised.
            TypeError: It answered with None, which is no view.
        """
        folded = self._fold(view, recorded.apart())
        if folded is None:
            message = f"the fold of {self._name} answers with None, which is no view"
            raise TypeError(message)
        return folded

    def settled(self, view: V) -> V:
        """A view as it is when it is kept and read again.

        Raises:
            Exception: It cannot be written as JSON and read again.
        """
        return view if self._settled is None else self._settled(view)
