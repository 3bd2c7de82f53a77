"""Measures in pairs: the moods of the machine hit both sides of a round alike."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

Block = Callable[[], int]
"""Some work; the answer is how many units (commands, reads, events) it had."""


@dataclass(frozen=True)
class Row:
    """A line of the table. The ratio says how many times as fast, or as costly, ours is.

    If there is no ratio, a target is a limit for the figure of ours.
    """

    what: str
    against: str
    ours: float
    other: float | None = None
    ratio: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = "µs"

    @property
    def target(self) -> str:
        if self.least is not None:
            return f">= {self.least:g}"
        if self.most is None:
            return ""
        return f"<= {self.most:g}" if self.ratio is not None else f"<= {self.most:g} {self.unit}"

    @property
    def reached(self) -> str:
        if not self.target:
            return ""
        measured = self.ours if self.ratio is None else self.ratio
        low = self.least is not None and measured < self.least
        high = self.most is not None and measured > self.most
        return "no" if low or high else "yes"


def in_turn(
    rounds: int, *blocks: Block, warm: int = 1, before: Callable[[], None] | None = None
) -> Sequence[Sequence[float]]:
    """The microseconds per unit of each block in each round, without the rounds to warm up."""
    measured = []
    for _ in range(warm + rounds):
        if before:
            before()
        measured.append([_microseconds(block) for block in blocks])
    return list(zip(*measured[warm:], strict=True))


def faster(
    what: str, against: str, least: float | None, ours: Sequence[float], other: Sequence[float]
) -> Row:
    """How many times as fast as the other ours is."""
    ratio = median(b / a for a, b in zip(ours, other, strict=True))
    return Row(what, against, median(ours), median(other), ratio, least=least)


def costs(
    what: str, against: str, most: float | None, ours: Sequence[float], other: Sequence[float]
) -> Row:
    """How many times as much as the other ours costs."""
    ratio = median(a / b for a, b in zip(ours, other, strict=True))
    return Row(what, against, median(ours), median(other), ratio, most=most)


def _microseconds(block: Block) -> float:
    gc.collect()
    started = perf_counter()
    units = block()
    return (perf_counter() - started) * 1_000_000 / units
