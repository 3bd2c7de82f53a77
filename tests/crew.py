"""Threads that run when they are told to."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Crew:
    """Threads with a baton each: a thread runs once it is given its baton."""

    def __init__(self, size: int) -> None:
        self.batons = [threading.Lock() for _ in range(size)]
        self._works: dict[int, Callable[[], object]] = {}
        self._ended = threading.Semaphore(0)
        self._dismissed = False
        self._threads = [threading.Thread(target=self._work, args=[n]) for n in range(size)]
        for baton, thread in zip(self.batons, self._threads, strict=True):
            baton.acquire()
            thread.start()

    def give(self, works: Sequence[Callable[[], object]]) -> None:
        """Say what each does once it is given its baton."""
        self._works = dict(enumerate(works))

    def wait(self) -> None:
        """Wait until all are done."""
        for _ in self.batons:
            self._ended.acquire()

    def wake(self, number: int) -> None:
        """Give one thread its baton, which it may have already if all are woken."""
        with suppress(RuntimeError):
            self.batons[number].release()

    def dismiss(self) -> None:
        """End all threads."""
        self._dismissed = True
        for number, thread in enumerate(self._threads):
            self.wake(number)
            thread.join()

    def _work(self, number: int) -> None:
        while not self._dismissed:
            self.batons[number].acquire()
            work = self._works.pop(number, None)
            if work is not None:
                work()
                self._ended.release()
