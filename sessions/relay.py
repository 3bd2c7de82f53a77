"""Callers that are answered wake one another: each the next one, when its own turn has come.

One thread runs Python at a time. If who has answers woke all at once, each would wake only to wait
for the interpreter, and be woken again for it. So the first is woken, and whoever runs wakes the
next, which is ready then when this one waits for something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions.job import Job


class Relay:
    """Those who are answered and not woken yet; one thread at a time may use it.

    Attributes:
        jobs: Their jobs, in the order in which they are woken.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def wake(self) -> None:
        """Wake the next: as many as it takes until one will do the same for those after it."""
        while self.jobs:
            job = self.jobs[0]
            del self.jobs[0]  # no signal is handled between this and what wakes it
            job.wake()
            if job.passes_on:
                return

    def withdraw(self, job: Job) -> None:
        """One waits no more: it is left out, or those after it are woken in its place."""
        if job in self.jobs:
            self.jobs = [each for each in self.jobs if each is not job]
        else:
            self.wake()
