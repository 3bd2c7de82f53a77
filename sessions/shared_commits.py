"""Callers in many threads share durable commits.

Whoever comes first leads: it takes the database's lock, lets everybody who waits by then decide
in one transaction, commits it once, and hands the lead to the next who came meanwhile. One lone
caller leads itself, at no cost but two uncontended locks; no thread runs in the background.

All that callers share stands behind one mutex, and they wait for nothing but gates: locks that
are handed over closed. The tests replace `lock` by one of their own, and search all interleavings.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sessions import forks, tracing
from sessions.errors import QueueFull, StoreClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from sessions.answers import Executed
    from sessions.job import Job

TOGETHER = 256
"""The most commands of one commit: what waits longer than that waits for the next."""

WAITING = 10_000
"""How many may wait before further callers wait outside."""

_ASYNC_PAUSE = 0.005
"""Seconds between two looks of a coroutine at a full queue."""


class Lock(Protocol):
    """What callers wait for."""

    def acquire(self, blocking: bool = ..., timeout: float = ..., /) -> bool:  # noqa: FBT001  as threading's
        """Wait until it is free, and take it."""

    def release(self) -> None:
        """Set it free, from whatever thread."""

    def __enter__(self) -> object:
        """Take it: no signal is handled between that and the block which it is taken for."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Set it free."""


class Jobs(Protocol):
    """Those who wait, as who performs their transaction sees them."""

    def waiting(self) -> Sequence[Job]:
        """Those who wait by now, and may still leave."""

    def let_come(self) -> None:
        """Let those come who will in a moment, to be asked before one waits or takes."""

    def take(self) -> Sequence[Job]:
        """Take those who wait by now into the transaction; each is done then, or taken again."""


class Wait(NamedTuple):
    """What to wait for outside of a full queue."""

    gate: Lock


class SharedCommits:
    """The callers that wait for a commit."""

    def __init__(  # noqa: PLR0913  all but the first three have defaults
        self,
        perform: Callable[[Jobs], None],
        *,
        path: str,
        timeout: float,
        together: int = TOGETHER,
        waiting: int = WAITING,
        lock: Callable[[], Lock] = threading.Lock,
    ) -> None:
        """Share commits.

        Args:
            perform: Runs one transaction of the jobs that it takes once it has the database's
                lock. Each is done then; one that is not is taken again. It takes more, as often
                as it likes, where it has the same answer for all who wait.
            path: What errors call the store.
            timeout: Seconds that a caller waits outside of a full queue.
            together: The most commands of one commit.
            waiting: How many may wait.
            lock: What makes a lock.
        """
        self._perform = perform
        self._path = path
        self._timeout = timeout
        self._together = together
        self._most = waiting
        self._lock = lock
        self._begin()
        forks.watch(self)

    def _begin(self) -> None:
        self._mutex = self._lock()
        self._queue: deque[Job] = deque()
        self._outside: deque[Lock] = deque()
        self._led = False
        self._closed = False
        self._closing: list[Lock] = []
        self._taken: list[Job] = []
        self._shared = 0
        self._leaders: ThreadPoolExecutor | None = None

    begin_again_in_child = _begin

    def do(self, job: Job) -> list[Executed]:
        """Let a job be done, durably, in this thread or in that of another caller.

        Raises:
            QueueFull: Too many wait, and did so for too long.
            StoreClosed: The store is closed.
        """
        gate = self._closed_gate()
        job.wake = gate.release
        deadline = None
        try:
            while isinstance(joined := self._join(job), Wait):
                deadline = deadline or monotonic() + self._timeout
                self._wait_outside(joined.gate, deadline)
            leads = joined
            while not job.done:
                if not leads:  # whoever wakes it says so by the gate, once
                    gate.acquire()
                if not job.done:
                    self.lead(job)
                leads = False
        except BaseException:
            self._withdraw(job)
            raise
        return job.answer()

    async def do_async(self, job: Job) -> list[Executed]:
        """Let a job be done without blocking the loop: where it must lead, a thread does.

        Raises:
            QueueFull: Too many wait, and did so for too long.
            StoreClosed: The store is closed.
        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        lead = tracing.carried(self._lead_unless_withdrawn)

        def wake() -> None:
            if not job.done:
                self._in_thread(lead, job)
            else:
                with suppress(RuntimeError):  # the loop is closed, and nobody waits
                    loop.call_soon_threadsafe(done.set)

        job.wake = wake
        deadline = monotonic() + self._timeout
        try:
            while isinstance(joined := self._join(job), Wait):
                await self._pause_outside(joined.gate, deadline)
            if joined:
                self._in_thread(lead, job)
            await done.wait()
        except BaseException:
            self._withdraw(job)
            raise
        return job.answer()

    def _lead_unless_withdrawn(self, job: Job) -> None:
        """Lead in a thread, which may come late: its caller may have been interrupted by then."""
        with self._mutex:
            job.is_leading = not job.withdrawn
        if job.is_leading:
            self.lead(job)

    def _in_thread(self, lead: Callable[[Job], None], job: Job) -> None:
        if self._leaders is None:
            self._leaders = ThreadPoolExecutor(1, "customer-sessions-lead")
        self._leaders.submit(lead, job)

    def _join(self, job: Job) -> bool | Wait:
        """Wait in the queue, or lead: whether it does; else what to wait for outside."""
        with self._mutex:
            if self._closed:
                raise StoreClosed
            if len(self._queue) >= self._most:
                gate = self._closed_gate()
                self._outside.append(gate)
                return Wait(gate)
            self._queue.append(job)
            job.leads = leads = not self._led
            self._led = True
            return leads

    def _wait_outside(self, gate: Lock, deadline: float) -> None:
        admitted = False
        try:
            admitted = gate.acquire(True, max(0.0, deadline - monotonic()))  # noqa: FBT003  as threading's
        finally:
            if not admitted:
                self._left_outside(gate)
        if not admitted:
            raise self._full()

    async def _pause_outside(self, gate: Lock, deadline: float) -> None:
        self._left_outside(gate)
        if monotonic() > deadline:
            raise self._full()
        await asyncio.sleep(_ASYNC_PAUSE)

    def _left_outside(self, gate: Lock) -> None:
        with self._mutex:
            if gate in self._outside:
                self._outside.remove(gate)
            else:  # it was admitted after all: let another come in its place
                self._admit(1)

    def _full(self) -> QueueFull:
        return QueueFull(waiting=self._most, path=self._path, seconds=self._timeout)

    def lead(self, job: Job) -> None:
        """Let those who wait decide and commit together, and hand the lead over."""
        try:
            self._perform(self)
        except BaseException as error:
            job.error, job.done = error, True
            raise
        finally:
            self._hand_over(job)

    def waiting(self) -> Sequence[Job]:
        """Those who wait by now, as far as they have room in one commit."""
        with self._mutex:
            return list(self._queue)[: self._together]

    def let_come(self) -> None:
        """Let the other threads run for as long as more of them come.

        Whom the last commit answered may be back with a new command, and share the next one.
        """
        seen = -1 if self._shared > 1 else self._together
        while seen < len(self._queue) < self._together:
            seen = len(self._queue)
            sleep(0)

    def take(self) -> Sequence[Job]:
        """Take those who wait by now into a transaction."""
        with self._mutex:
            waiting = list(self._queue)
            taken = waiting[: self._together]
            self._taken, self._queue = [*self._taken, *taken], deque(waiting[self._together :])
            self._shared = len(self._taken)
            if self._outside:
                self._admit(len(taken))
            return taken

    def _hand_over(self, leader: Job) -> None:
        """Leave the lead to the next, and wake whom the commit answered.

        It may be interrupted anywhere, and goes on from there when it is called again: what is
        put back or woken is taken no longer, and the leader leads until nothing else is left.
        """
        with self._mutex:
            undone = [job for job in self._taken if not (job.done or job.withdrawn)]
            if undone:
                done = [job for job in self._taken if job.done]
                self._taken, self._queue = done, deque([*undone, *self._queue])
            if leader.done and self._queue and leader in self._queue:
                self._leave(leader)
            while self._taken:
                job = self._taken[0]
                del self._taken[0]  # no signal is handled between this and what wakes it
                if job.done:
                    job.wake()
            following = self._queue[0] if self._queue else None
            while self._closing and following is None:
                self._closing.pop().release()
            leader.leads, leader.is_leading = False, False
            self._led = following is not None
            if following is not None:
                following.leads = True
                following.wake()

    def _withdraw(self, job: Job) -> None:
        """A caller waits no more: if it is left with the lead, the next one has it."""
        with self._mutex:
            job.withdrawn = True
            if job in self._queue and not job.leads:
                self._leave(job)
            hands_over = job.leads and not job.is_leading
        if hands_over:
            job.done = True
            self._hand_over(job)

    def _leave(self, job: Job) -> None:
        self._queue.remove(job)
        self._admit(1)

    def _admit(self, number: int) -> None:
        while number and self._outside:
            self._outside.popleft().release()
            number -= 1

    def close(self) -> None:
        """Take nothing more, and wait until what was accepted is done."""
        gate = self._closed_gate()
        with self._mutex:
            self._closed = True
            self._admit(len(self._outside))
            waits = self._led
            if waits:
                self._closing.append(gate)
        if waits:
            gate.acquire()
        if self._leaders is not None:
            self._leaders.shutdown()

    def _closed_gate(self) -> Lock:
        gate = self._lock()
        gate.acquire()
        return gate
