"""A search over the interleavings of real threads, of which one runs at a time.

Threads come to a point before they take a lock, after they have released one, and wherever a
scenario calls `step`. At each point the scheduler chooses which thread goes on. `search` tries one
schedule after the other, depth first. A schedule that fails is printed as the list of its choices,
and `replay` follows such a list.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tests.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_CHOICES = 1000
_TIME_OUT = "time out"
"""It does not count as a fault if no other thread can go on: time passes."""

Choice = tuple[int, str]
"""The number of the thread that goes on, and how: "" as it wants, or what happens instead."""


class ScheduleError(AssertionError):
    """A schedule after which something is wrong."""


class _Abandoned(BaseException):
    """Ends the threads of a schedule that failed."""


class Point(NamedTuple):
    """Where a thread is: what it is going to do, what it needs, and what may happen instead."""

    what: str
    lock: CooperativeLock | None = None
    instead: tuple[str, ...] = ()


class Scenario(NamedTuple):
    """What the threads do, and what must be true at the end."""

    callers: Sequence[Callable[[], object]]
    check: Callable[[], object]


Build = Callable[["Scheduler"], Scenario]


class CooperativeLock:
    """A lock: a thread that waits for it lets others run. The first one made is the mutex."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_mutex = not scheduler.locks
        self.name = "mutex" if self._is_mutex else f"gate {len(scheduler.locks)}"
        self._shared = self._is_mutex
        self.taken = False
        scheduler.locks.append(self)

    def acquire(self, blocking: bool = True, timeout: float = -1, /) -> bool:  # noqa: FBT001, FBT002  as threading's
        assert blocking
        if self._shared:  # nobody else knows of a new gate
            timed = (_TIME_OUT,) if timeout >= 0 else ()
            instead = () if self._is_mutex else (*timed, "interrupt")
            if self._scheduler.come_to(Point(f"take {self.name}", self, instead)) == _TIME_OUT:
                return False
        self._shared = self.taken = True
        return True

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        if self._scheduler.abandoned:
            return
        if not self.taken:
            msg = f"{self.name} is not taken"
            raise RuntimeError(msg)
        self.taken = False
        interrupt = ("interrupt",) if self._is_mutex and self._scheduler.signals else ()
        self._scheduler.come_to(Point(f"gave {self.name}", instead=interrupt))


class Scheduler:
    """Runs one schedule.

    Args:
        given: The first choices; after these it changes threads as rarely as possible.
        preemptions: How often a thread that could go on may have to wait.
        faults: How often something else may happen to a thread than what it wants.
        signals: Whether an interrupt may also come right after a mutex was released.
    """

    def __init__(
        self, given: Sequence[Choice], preemptions: int, faults: int, *, signals: bool
    ) -> None:
        self.locks: list[CooperativeLock] = []
        self.signals = signals
        self.abandoned = False
        self.error: BaseException | None = None
        self.choices: list[Choice] = []
        self.others: list[list[Choice]] = []
        self._given = given
        self._preemptions = preemptions
        self._faults = faults
        self._at: dict[int, Point] = {}
        self._crew = Crew(0)
        self._current = -1
        self._how = ""
        self._over = False

    def lock(self) -> CooperativeLock:
        return CooperativeLock(self)

    def step(self, what: str) -> None:
        """A point in a scenario, where an interrupt may come."""
        self.come_to(Point(what, instead=("interrupt",)))

    def come_to(self, point: Point) -> str:
        """Let the scheduler choose who goes on, and wait until it is this thread's turn."""
        if self.abandoned:
            raise _Abandoned
        if self._over:
            if point.lock is None or not point.lock.taken:
                return ""
            assert _TIME_OUT in point.instead, f"{point.what}: it is taken"
            return _TIME_OUT
        me = self._current
        self._at[me] = point
        self._choose()
        if self._current != me or self.abandoned:
            self._wake()
            self._crew.batons[me].acquire()
        if self.abandoned:
            raise _Abandoned
        if self._how == "interrupt":
            raise KeyboardInterrupt
        return self._how

    def run(self, scenario: Scenario, crew: Crew) -> None:
        """Run the threads to their end."""
        self._crew = crew
        self._at = dict.fromkeys(range(len(scenario.callers)), Point("begin"))
        crew.give([partial(self._run, *each) for each in enumerate(scenario.callers)])
        self._choose()
        self._wake()
        crew.wait()
        if self.error is None:
            self._over = True
            scenario.check()

    def _run(self, number: int, call: Callable[[], object]) -> None:
        try:
            if not self.abandoned:
                call()
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001  it is the schedule's
            self._abandon(error)
        del self._at[number]
        if self._at and not self.abandoned:
            self._choose()
        self._wake()

    def _wake(self) -> None:
        for number in list(self._at) if self.abandoned else [self._current]:
            if number in self._at:
                self._crew.wake(number)

    def _abandon(self, error: BaseException) -> None:
        self.error = self.error or error
        self.abandoned = True

    def untried(self) -> list[Choice] | None:
        """The choices that begin the next schedule of the search."""
        for number in range(len(self.choices) - 1, -1, -1):
            if self.others[number]:
                return [*self.choices[:number], self.others[number][0]]
        return None

    def _choose(self) -> None:
        possible = self._possible()
        count = len(self.choices)
        if not possible or count == _MOST_CHOICES:
            where = {number: point.what for number, point in sorted(self._at.items())}
            self._abandon(ScheduleError(f"nobody goes on: {where}"))
            return
        chosen = self._given[count] if count < len(self._given) else possible[0]
        if chosen not in possible:
            self._abandon(ScheduleError(f"choice {count}, {chosen}, is none of {possible}"))
            return
        self.choices.append(chosen)
        self.others.append(possible[possible.index(chosen) + 1 :])
        me = self._current
        if chosen[1] == _TIME_OUT and not self._ready():
            pass
        elif chosen[1]:
            self._faults -= 1
        elif chosen[0] != me and (me, "") in possible:
            self._preemptions -= 1
        self._current, self._how = chosen

    def _ready(self) -> list[int]:
        return [n for n, at in sorted(self._at.items()) if at.lock is None or not at.lock.taken]

    def _possible(self) -> list[Choice]:
        ready = self._ready()
        if self._current in ready:
            others = [n for n in ready if n != self._current] if self._preemptions > 0 else []
            ready = [self._current, *others]
        possible = [(number, "") for number in ready]
        for number, at in sorted(self._at.items()):
            if self._faults > 0:
                possible += [(number, how) for how in at.instead]
            elif not ready and _TIME_OUT in at.instead:
                possible.append((number, _TIME_OUT))
        return possible


def search(build: Build, *, preemptions: int, faults: int = 0, signals: bool = False) -> int:
    """Try all schedules within the bounds; the answer is how many there are.

    Raises:
        ScheduleError: Something is wrong after one of them.
    """
    count = 0
    given: list[Choice] | None = []
    with _crew_of(build) as crew:
        while given is not None:
            scheduler = Scheduler(given, preemptions, faults, signals=signals)
            _try(build, scheduler, crew)
            given = scheduler.untried()
            count += 1
    return count


def replay(build: Build, schedule: Sequence[Choice]) -> None:
    """Run one schedule again."""
    faults = sum(how != "" for _, how in schedule)
    with _crew_of(build) as crew:
        _try(build, Scheduler(schedule, len(schedule), faults, signals=True), crew)


@contextmanager
def _crew_of(build: Build) -> Iterator[Crew]:
    crew = Crew(len(build(Scheduler([], 0, 0, signals=False)).callers))
    try:
        yield crew
    finally:
        crew.dismiss()


def _try(build: Build, scheduler: Scheduler, crew: Crew) -> None:
    try:
        scheduler.run(build(scheduler), crew)
    except Exception as error:  # noqa: BLE001  whatever is wrong, the schedule is what counts
        scheduler.error = error
    if scheduler.error is not None:
        msg = f"{scheduler.error!r} after {scheduler.choices}"
        raise ScheduleError(msg) from scheduler.error
