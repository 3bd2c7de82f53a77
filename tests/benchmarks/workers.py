"""Runs callers in many processes."""

from collections.abc import Callable
from itertools import count
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Lock
from types import TracebackType
from typing import Self

from tests.benchmarks.callers import Callers
from tests.benchmarks.databases import PlainSide
from tests.benchmarks.eventsourcing_side import EventsourcingSide
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.workload import EVENTS

PROCESSES, CALLERS = 4, 4
SECONDS = 60  # no process waits longer
APART = 1_000_000

Open = Callable[[], OursSide | EventsourcingSide | PlainSide]


class Workers:
    """Processes that have their side open, and begin each of a number of blocks together."""

    def __init__(self, side: Open, sessions: int, blocks: int) -> None:
        context = get_context("spawn")
        self._sessions = sessions
        self._barrier = context.Barrier(PROCESSES + 1)
        self._one_by_one = context.Lock()
        shared = (self._barrier, self._one_by_one, side, sessions, blocks)
        self._processes = [
            context.Process(target=work, args=(*shared, (number + 1) * APART))
            for number in range(PROCESSES)
        ]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        self._barrier.wait(SECONDS)  # they have opened their sides
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._barrier.abort()
        for process in self._processes:
            process.join(SECONDS)

    def block(self) -> int:
        """New sessions of all callers in all processes, until the last of them is closed."""
        self._barrier.wait(SECONDS)
        self._barrier.wait(SECONDS)
        return PROCESSES * CALLERS * self._sessions * EVENTS


def work(  # noqa: PLR0913, PLR0917  what a process is told
    barrier: Barrier, one_by_one: Lock, side: Open, sessions: int, blocks: int, first: int
) -> None:
    """What each process does; if it fails, the others learn of it at their barrier."""
    try:
        with one_by_one:  # eventsourcing fails if two make its tables at once
            opening = side()
        with opening as opened, Callers(opened, CALLERS, sessions, count(first)) as callers:
            barrier.wait(SECONDS)
            for _ in range(blocks):
                barrier.wait(SECONDS)
                callers.block()
                barrier.wait(SECONDS)
    except BaseException:
        barrier.abort()
        raise
