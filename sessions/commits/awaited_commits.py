"""Tasks share durable commits too: they wait without a thread; one that leads borrows one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from sessions import tracing
from sessions.commits.outside import Place
from sessions.commits.shared_commits import SharedCommits

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sessions.commits.answers import Executed
    from sessions.commits.job import Job


class AwaitedCommits(SharedCommits):
    """The callers that wait for a commit: threads, and tasks."""

    def _begin(self) -> None:
        super()._begin()
        self._leaders = ThreadPoolExecutor(1, "customer-sessions-lead")  # starts no thread yet

    async def do_async(self, job: Job) -> list[Executed]:
        """Do a job without blocking the event loop: if it must lead, a thread leads for it.

        Raises:
            QueueFull: Too many callers were waiting, for too long.
            StoreClosed: The store is closed.
            CommitUnderway: This thread is inside already, and would wait for itself.
        """
        import asyncio  # noqa: PLC0415  callers that await have it; others start faster

        self._check_not_inside("a command")
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        lead = tracing.carried(partial(self._within, self._lead_unless_withdrawn))

        def wake() -> None:
            if not job.done:
                self._in_thread(lead, job, loop)
            else:
                with suppress(RuntimeError):  # the loop is closed: nobody is waiting
                    loop.call_soon_threadsafe(done.set)

        job.wake = job.wake_again = wake
        deadline = monotonic() + self._timeout
        try:
            while isinstance(joined := self._within(self._join, job), Place):
                await self._outside.pause(joined, deadline)
            if joined:
                self._in_thread(lead, job, loop)
            await done.wait()
        except GeneratorExit:  # garbage collection, perhaps in a thread that has the mutex
            raise
        except BaseException:
            self._within(self._withdraw, job)
            raise
        return job.answer()

    def _lead_unless_withdrawn(self, job: Job) -> None:
        """Lead, in a thread that may start late: the caller may have been interrupted by then.

        It may also run twice, if the one that woke the caller was interrupted and woke it again.
        """
        with self._mutex:
            leads = job.leads and not (job.is_leading or job.withdrawn)
            job.is_leading = job.is_leading or leads
        if leads:
            try:
                self.lead(job)
            except BaseException:
                job.wake_again()  # nobody else does if it was not taken yet
                raise

    def _in_thread(
        self, lead: Callable[[Job], None], job: Job, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Lead in the executor; while the interpreter exits, in a plain thread or in the loop."""
        try:
            self._leaders.submit(lead, job)
        except RuntimeError:
            try:
                threading.Thread(target=lead, args=[job], daemon=True).start()
            except RuntimeError:
                loop.call_soon_threadsafe(lead, job)

    def close(self) -> None:
        """Accept nothing more, and wait until what was accepted is done."""
        super().close()
        self._leaders.shutdown()
