"""Between which positions of the log something happened, by when it was asked and answered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

Moments = list[tuple[float, int]]


class Windows:
    """A request takes effect after all that was answered before it, and before all that came later.

    Args:
        start: Where the log ended before all moments.
        end: Where it ends after them.
        known: Moments, and for each a position that the log had reached by then.
        begun: Moments, and for each a position that the log reached only after it.
    """

    def __init__(self, start: int, end: int, known: Moments, begun: Moments) -> None:
        known, begun = sorted(known), sorted(begun)
        self._known_at = [moment for moment, _ in known]
        self._known = list(accumulate([p for _, p in known], max, initial=start))
        self._begun_at = [moment for moment, _ in begun]
        later = accumulate([p - 1 for _, p in reversed(begun)], min, initial=end)
        self._begun = list(later)[::-1]

    def lowest(self, asked_at: float) -> int:
        """The least position that the log had reached when the request was made."""
        return self._known[bisect_left(self._known_at, asked_at)]

    def highest(self, answered_at: float) -> int:
        """The greatest position that the log could have reached when it was answered."""
        return self._begun[bisect_right(self._begun_at, answered_at)]
