"""Callers in many threads, each with sessions of its own, open to closed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Barrier
from time import perf_counter
from types import TracebackType
from typing import Self

from tests.benchmarks.workload import EVENTS, Side, commands


class Callers:
    """Callers that keep their threads, and begin each block at the same moment."""

    def __init__(self, side: Side, callers: int, sessions: int, numbers: Iterable[int]) -> None:
        self._side = side
        self._callers = callers
        self._sessions = sessions
        self._numbers = iter(numbers)
        self._ready = Barrier(callers)
        self._threads = ThreadPoolExecutor(callers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()

    def block(self) -> int:
        """New sessions of all callers; the answer is how many commands they took."""
        self.latencies()
        return self._callers * self._sessions * EVENTS

    def latencies(self) -> list[float]:
        """How many microseconds each command took in new sessions of all callers."""
        calls = [self._threads.submit(self._call) for _ in range(self._callers)]
        return [latency for call in calls for latency in call.result()]

    def _call(self) -> list[float]:
        self._ready.wait()
        latencies = []
        for number in islice(self._numbers, self._sessions):
            started = perf_counter()
            for _ in commands(self._side, number):
                ended = perf_counter()
                latencies.append((ended - started) * 1_000_000)
                started = ended
        return latencies
