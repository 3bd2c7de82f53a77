"""Callers in many threads share durable commits.

The first caller leads: it takes the database's lock, lets all callers that wait by then decide in
one transaction, commits it once, and hands the lead to the next one that has come meanwhile. A lone
caller leads itself, at the cost of two uncontended locks; no thread runs in the background.

An answered caller wakes the next one when its own turn has come. One thread runs Python at a time:
if all were woken at once, each would wake only to wait for the interpreter, and have to be woken
again.

All shared state is behind one mutex, and callers wait at nothing but gates. The tests replace
`lock` by one of their own, and search all interleavings.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeVar

from sessions import forks
from sessions.commits.gates import closed_gate, opens_within
from sessions.commits.outside import Outside, Place
from sessions.errors import CommitUnderway, QueueFull, StoreClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.commits.answers import Executed
    from sessions.commits.gates import Lock
    from sessions.commits.job import Job

A = TypeVar("A")
T = TypeVar("T")

TOGETHER = 256
"""The most commands of one commit; further ones wait for the next."""

WAITING = 10_000
"""How many may be in the queue; further callers wait outside."""

_TURN = 0.00002
"""Seconds that an answered caller takes to come back, if it does at once."""

_WAITS = 4
"""How often at most a leader waits for callers that are not back yet, while some keep coming."""


class Jobs(Protocol):
    """The waiting jobs, as `perform` sees them."""

    def waiting(self) -> Sequence[Job]:
        """The jobs that wait by now; they may still leave."""

    def let_come(self) -> None:
        """Let jobs come that will come in a moment; to be called before `waiting` or `take`."""

    def take(self) -> Sequence[Job]:
        """Take the jobs that wait by now into the transaction; one left undone is taken again."""


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
            perform: Runs one transaction of the jobs that it takes once it has the database's lock.
                Each job should then be done; one that is not is taken again. It may take more, as
                often as it likes, if it has the same answer for all that wait.
            path: What errors call the store.
            timeout: Seconds that a caller waits outside of a full queue.
            together: The most commands of one commit.
            waiting: How many may be in the queue.
            lock: Makes a lock.
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
        self._outside = Outside(self._mutex, self._lock, self._full)
        self._led = False
        self._inside: set[int] = set()
        self._closed = False
        self._closing: list[Lock] = []
        self._taken: list[Job] = []
        self._answered: list[Job] = []
        self._shared = 0
        self._awaited = 0
        self._all_have_come = closed_gate(self._lock)

    def begin_again_in_child(self) -> None:
        """Begin with an empty queue in a forked child: the waiting callers are the parent's."""
        self._begin()

    def do(self, job: Job) -> list[Executed]:
        """Do a job, durably, in this thread or in that of another caller.

        Raises:
            QueueFull: Too many callers were waiting, for too long.
            StoreClosed: The store is closed.
            CommitUnderway: This thread is inside already, and would wait for itself.
        """
        self._check_not_inside("a command")
        return self._within(self._do, job)

    def _within(self, work: Callable[[A], T], argument: A) -> T:
        """Do something; whatever a signal handler asks for meanwhile in this thread is refused."""
        thread = threading.get_ident()
        try:
            self._inside.add(thread)
            return work(argument)
        finally:
            self._inside.discard(thread)

    def _do(self, job: Job) -> list[Executed]:
        gate = closed_gate(self._lock)
        job.wake = gate.release
        deadline = None
        try:
            while isinstance(joined := self._join(job), Place):
                deadline = deadline or monotonic() + self._timeout
                self._outside.wait(joined, deadline)
            leads = joined
            while not job.done:
                if not leads:  # it is woken through the gate, once
                    job.passes_on = True
                    gate.acquire()
                    job.passes_on = False
                    if job.done:
                        self._pass_on()
                if not job.done:
                    self.lead(job)
                leads = False
        except BaseException:
            self._withdraw(job)
            raise
        return job.answer()

    def _join(self, job: Job) -> bool | Place:
        """Join the queue, and tell whether to lead; if it is full, return a place outside."""
        with self._mutex:
            if self._closed:
                raise StoreClosed
            if len(self._queue) >= self._most:
                return self._outside.come()
            self._queue.append(job)
            job.leads = leads = not self._led
            self._led = True
            if len(self._queue) == self._awaited:
                self._awaited = 0
                self._all_have_come.release()
            return leads

    def lead(self, job: Job) -> None:
        """Let all waiting jobs decide and commit together, and hand over the lead."""
        try:
            self._perform(self)
        except BaseException as error:
            job.error, job.done = error, True
            raise
        finally:
            self._hand_over(job)

    def waiting(self) -> Sequence[Job]:
        """The jobs that wait by now, as far as one commit has room for them."""
        with self._mutex:
            return list(self._queue)[: self._together]

    def let_come(self) -> None:
        """Wait until as many jobs have come as the last commit answered, or no more come.

        Answered callers may be back with new commands, which then share the next commit. A caller
        that is not back when all could be is doing something else. As long as some come, the leader
        waits once more for the others, but only a few times: callers that come so slowly are no
        reason to let the rest wait.
        """
        awaited = min(self._shared, self._together)
        if awaited < 2:  # noqa: PLR2004  nobody to wait for
            return
        gate = closed_gate(self._lock)
        with self._mutex:
            before, seen = -1, len(self._queue)
            self._awaited, self._all_have_come = awaited, gate
        for _ in range(_WAITS):
            if not before < seen < awaited or opens_within(gate, _TURN * (awaited - seen)):
                break
            before, seen = seen, len(self._queue)
        self._awaited = 0

    def take(self) -> Sequence[Job]:
        """Take the jobs that wait by now into a transaction."""
        with self._mutex:
            waiting = list(self._queue)
            taken = waiting[: self._together]
            self._taken, self._queue = [*self._taken, *taken], deque(waiting[self._together :])
            self._shared = len(self._taken)
            self._outside.admit(len(taken))
            return taken

    def _hand_over(self, leader: Job) -> None:
        """Hand the lead to the next job, and have the callers woken that the commit answered.

        It may be interrupted anywhere, and resumes there when it is called again: jobs that are put
        back or answered are no longer in `_taken`, and the leader leads until nothing else is left
        to do.
        """
        with self._mutex:
            undone = [job for job in self._taken if not (job.done or job.withdrawn)]
            if undone:
                done = [job for job in self._taken if job.done]
                self._taken, self._queue = done, deque([*undone, *self._queue])
            if leader.done and self._queue and leader in self._queue:
                self._leave(leader)
            self._answered, self._taken = [*self._answered, *self._taken], []
            self._wake_next()
            following = self._queue[0] if self._queue else None
            while self._closing and following is None:
                gate = self._closing[0]
                del self._closing[0]  # no signal is handled between this and what opens the gate
                gate.release()
            leader.leads, leader.is_leading = False, False
            self._led = following is not None
            if following is not None:
                following.leads = True
                try:
                    following.wake()
                except BaseException:  # an interrupt, before a task was woken
                    following.wake_again()
                    raise

    def _pass_on(self) -> None:
        """Wake the next of the answered callers."""
        with self._mutex:
            self._wake_next()

    def _wake_next(self) -> None:
        """Wake answered callers, up to one that will wake the next when its own turn has come."""
        while self._answered:
            job = self._answered[0]
            del self._answered[0]  # no signal is handled between this and what wakes it
            if job.done and not job.withdrawn:
                try:
                    job.wake()
                except BaseException:  # as in `_hand_over`
                    job.wake_again()
                    raise
                if job.passes_on:
                    return

    def _withdraw(self, job: Job) -> None:
        """Let a caller wait no longer; if it is left with the lead, the next one gets it."""
        with self._mutex:
            job.withdrawn = True
            if job.done:  # it may have been woken, to wake the next
                self._wake_next()
            if job in self._queue and not job.leads:
                self._leave(job)
            self._outside.admit(self._most - len(self._queue))  # `_leave` may not have come to that
            hands_over = job.leads and not job.is_leading
        if hands_over:
            job.done = True
            self._hand_over(job)

    def _leave(self, job: Job) -> None:
        self._queue.remove(job)
        self._outside.admit(1)

    def _check_not_inside(self, what: str) -> None:
        """Refuse what a signal handler, a clock or a fold asks for in a thread that is inside."""
        if threading.get_ident() in self._inside:
            raise CommitUnderway(what=what)

    def _full(self) -> QueueFull:
        return QueueFull(waiting=self._most, path=self._path, seconds=self._timeout)

    def close(self) -> None:
        """Accept nothing more, and wait until what was accepted is done.

        Raises:
            CommitUnderway: This thread is inside, and would wait for itself.
        """
        self._check_not_inside("close")
        self._within(self._close, closed_gate(self._lock))

    def _close(self, gate: Lock) -> None:
        with self._mutex:
            self._closed = True
            self._outside.admit_all()
            waits = self._led
            if waits:
                self._closing.append(gate)
        if waits:
            gate.acquire()
