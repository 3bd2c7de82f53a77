"""Callers in many threads share durable commits.

Whoever comes first leads: it takes the database's lock, lets everybody who waits by then decide
in one transaction, commits it once, and hands the lead to the next who came meanwhile. One lone
caller leads itself, at no cost but two uncontended locks; no thread runs in the background.

Who is answered wakes the next one, when its own turn has come. One thread runs Python at a time: if
all were woken at once, each would wake only to wait for the interpreter, and be woken again.

All that callers share stands behind one mutex, and they wait for nothing but gates. The tests
replace `lock` by one of their own, and search all interleavings.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from sessions import forks
from sessions.commits.gates import closed_gate, opens_within
from sessions.commits.outside import Outside, Place
from sessions.errors import CommitUnderway, QueueFull, StoreClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.commits.answers import Executed
    from sessions.commits.gates import Lock
    from sessions.commits.job import Job

TOGETHER = 256
"""The most commands of one commit: what waits longer than that waits for the next."""

WAITING = 10_000
"""How many may wait before further callers wait outside."""

_TURN = 0.00002
"""Seconds that one who is answered takes to come back, if it does at once."""

_WAITS = 4
"""How often a leader waits for those who are not back yet, as long as some of them come."""


class Jobs(Protocol):
    """Those who wait, as who performs their transaction sees them."""

    def waiting(self) -> Sequence[Job]:
        """Those who wait by now, and may still leave."""

    def let_come(self) -> None:
        """Let those come who will in a moment, to be asked before one waits or takes."""

    def take(self) -> Sequence[Job]:
        """Take those who wait by now into the transaction; each is done then, or taken again."""


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
        self._outside = Outside(self._mutex, self._lock, self._full)
        self._led = False
        self._leader: int | None = None
        self._closed = False
        self._closing: list[Lock] = []
        self._taken: list[Job] = []
        self._answered: list[Job] = []
        self._shared = 0
        self._awaited = 0
        self._all_have_come = closed_gate(self._lock)

    def begin_again_in_child(self) -> None:
        """After a fork: who waits is the parent's."""
        self._begin()

    def do(self, job: Job) -> list[Executed]:
        """Let a job be done, durably, in this thread or in that of another caller.

        Raises:
            QueueFull: Too many wait, and did so for too long.
            StoreClosed: The store is closed.
            CommitUnderway: This thread leads, and would wait for itself.
        """
        self._check_not_leading("a command")
        gate = closed_gate(self._lock)
        job.wake = gate.release
        deadline = None
        try:
            while isinstance(joined := self._join(job), Place):
                deadline = deadline or monotonic() + self._timeout
                self._outside.wait(joined, deadline)
            leads = joined
            while not job.done:
                if not leads:  # whoever wakes it says so by the gate, once
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
        """Wait in the queue, or lead: whether it does; else the place to wait at outside."""
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
        """Let those who wait decide and commit together, and hand the lead over."""
        try:
            self._leader = threading.get_ident()
            self._perform(self)
        except BaseException as error:
            job.error, job.done = error, True
            raise
        finally:
            self._leader = None  # no signal is handled before
            self._hand_over(job)

    def waiting(self) -> Sequence[Job]:
        """Those who wait by now, as far as they have room in one commit."""
        with self._mutex:
            return list(self._queue)[: self._together]

    def let_come(self) -> None:
        """Wait until as many have come as the last commit answered, or nobody does any more.

        They may be back with new commands, which share the next commit then. Who is not back when
        all might be does something else. As long as some of them come it waits for the others once
        more, but only a few times: who comes that slowly is no reason to let the rest wait.
        """
        awaited = min(self._shared, self._together)
        if awaited < 2:  # noqa: PLR2004  who was alone waits for nobody
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
        """Take those who wait by now into a transaction."""
        with self._mutex:
            waiting = list(self._queue)
            taken = waiting[: self._together]
            self._taken, self._queue = [*self._taken, *taken], deque(waiting[self._together :])
            self._shared = len(self._taken)
            self._outside.admit(len(taken))
            return taken

    def _hand_over(self, leader: Job) -> None:
        """Leave the lead to the next, and see to it that those are woken whom the commit answered.

        It may be interrupted anywhere, and goes on from there when it is called again: what is
        put back or answered is taken no longer, and the leader leads until nothing else is left.
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
        """Wake the next of those who are answered too."""
        with self._mutex:
            self._wake_next()

    def _wake_next(self) -> None:
        """Wake those who are answered, up to one that will wake the next when it has its turn."""
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
        """A caller waits no more: if it is left with the lead, the next one has it."""
        with self._mutex:
            job.withdrawn = True
            if job.done:  # it may have been woken, to wake the next
                self._wake_next()
            if job in self._queue and not job.leads:
                self._leave(job)
            self._outside.admit(self._most - len(self._queue))  # it may have left that undone
            hands_over = job.leads and not job.is_leading
        if hands_over:
            job.done = True
            self._hand_over(job)

    def _leave(self, job: Job) -> None:
        self._queue.remove(job)
        self._outside.admit(1)

    def _check_not_leading(self, what: str) -> None:
        """Refuse what a signal's handler, a clock or a fold asks for in the thread that leads."""
        if self._leader == threading.get_ident():
            raise CommitUnderway(what=what)

    def _full(self) -> QueueFull:
        return QueueFull(waiting=self._most, path=self._path, seconds=self._timeout)

    def close(self) -> None:
        """Take nothing more, and wait until what was accepted is done.

        Raises:
            CommitUnderway: This thread leads, and would wait for itself.
        """
        self._check_not_leading("close")
        gate = closed_gate(self._lock)
        with self._mutex:
            self._closed = True
            self._outside.admit_all()
            waits = self._led
            if waits:
                self._closing.append(gate)
        if waits:
            gate.acquire()
