"""Rounds: processes work at the same time, faults happen to them, and all they did is checked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from projections import status, verify
from tests.torture import journal, projecting, watching
from tests.torture.caller import Caller
from tests.torture.checking import Checker
from tests.torture.faults import Fault, Server, faults, happen
from tests.torture.journal import Lines
from tests.torture.watching import Watcher
from tests.torture.worker import Plan, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from tests.torture.watching import Watched

WATCHDOG = 180.0
"""Seconds after which a round hangs."""

_SHOWN = 5


class TortureError(AssertionError):
    """Something is not as it was promised."""


@dataclass(frozen=True)
class Torture:
    """What is tortured, and how."""

    url: str
    directory: Path
    seed: int
    processes: int = 4
    threads: int = 4
    seconds: float = 2.0
    server: Server | None = None


class Rounds:
    """The rounds on one store."""

    def __init__(self, torture: Torture) -> None:
        self.figures: Counter[str] = Counter()
        self._torture = torture
        self._store = projecting.open_store(torture.url)
        if self._store.exists and self._store.position:
            self._store.close()
            self._fail([f"{torture.url} is not new"])
        self._store.make()
        self._checker = Checker()
        self._taken: list[tuple[Path, int]] = []
        self._noted = 0

    def close(self) -> None:
        self._store.close()

    def run(self, number: int) -> None:
        """Run a round.

        Raises:
            TortureError: It hangs, or something is wrong after it.
        """
        torture = self._torture
        random = Random(f"{torture.seed}/{number}")
        directory = torture.directory / f"round-{number}"
        directory.mkdir()
        after = random.choice([0, self._noted])
        with ExitStack() as watched:
            watcher = Watcher(self._store, directory / f"{number}.parent.watched", after)
            watched.callback(watcher.stop)
            self._work(number, directory, random)
            with self._store.recorder.database.writing():
                pass  # whoever was killed has ended in the database, too
            self._retry(number, directory)
            watcher.wait(self._store.position, WATCHDOG)
        self._note_projections()
        self._noted = random.randrange(self._store.position + 1)
        self._taken.append((directory, self._store.position))
        self._check(self._checker, directory, self._store.position)
        self._count(directory)

    def check_all(self) -> None:
        """Check all rounds once more, against the log as it is at last."""
        checker = Checker()
        for directory, position in self._taken:
            self._check(checker, directory, position)

    # --- at work

    def _work(self, number: int, directory: Path, random: Random) -> None:
        torture = self._torture
        planned = faults(random, torture.processes, torture.seconds, torture.server)
        deadline = monotonic() + WATCHDOG
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(torture.processes)]
        plans = [self._plan(number, process, directory) for process in range(torture.processes)]
        processes = [
            context.Process(target=run, args=(plan, theirs), name=f"torture {plan.name}")
            for plan, (_, theirs) in zip(plans, pairs, strict=True)
        ]
        for process in processes:
            process.start()
        for plan, (ours, theirs) in zip(plans, pairs, strict=True):
            theirs.close()
            if not ours.poll(max(0.0, deadline - monotonic())):
                self._dump(processes, directory, "does not begin")
            self._hear(plan, ours.recv)
        for ours, _ in pairs:
            ours.send("go")
            ours.close()
        killed = self._fault(planned, processes)
        for process in processes:
            process.join(max(0.0, deadline - monotonic()))
            if process.is_alive():
                self._dump(processes, directory, "hangs")
        for plan, process in zip(plans, processes, strict=True):
            ends = {0, -signal.SIGKILL} if plan.process in killed else {0}  # it may just have ended
            if process.exitcode not in ends:
                self._fail([f"{process.name} ended with {process.exitcode}", _said(directory)])
            process.close()

    def _hear(self, plan: Plan, receive: Callable[[], object]) -> None:
        try:
            receive()
        except EOFError:
            self._fail([f"{plan.name} did not begin", _said(plan.directory)])

    def _plan(self, number: int, process: int, directory: Path) -> Plan:
        torture = self._torture
        return Plan(
            torture.url,
            directory,
            torture.seed,
            number,
            process,
            torture.threads,
            torture.seconds,
            self._noted,
        )

    def _fault(self, planned: list[Fault], processes: Sequence[BaseProcess]) -> set[int]:
        killed: set[int] = set()
        begun = monotonic()
        for fault in planned:
            time.sleep(max(0.0, begun + fault.moment - monotonic()))
            if fault.what != "kill":
                happen(fault, self._torture.server, self._torture.url)
            elif processes[fault.process].is_alive():
                pid = processes[fault.process].pid
                assert pid
                os.kill(pid, signal.SIGKILL)
                killed.add(fault.process)
            self.figures[fault.what] += 1
        return killed

    def _dump(self, processes: Sequence[BaseProcess], directory: Path, what: str) -> None:
        """Let the processes write their stacks, and end them."""
        alive = [process for process in processes if process.is_alive()]
        for process in alive:
            assert process.pid
            os.kill(process.pid, signal.SIGUSR1)
        time.sleep(1)
        for process in alive:
            process.kill()
            process.join()
        names = [process.name for process in alive]
        self._fail([f"{names} {what} after {WATCHDOG} s", _said(directory)])

    def _retry(self, number: int, directory: Path) -> None:
        """Ask again what had a key, and no answer: it is then there exactly once."""
        lines = _lines(directory)
        asked = {each.key: each for each in lines.without_answer() if each.key is not None}
        caller = Caller(self._store, f"{number}.parent", directory, self._torture.seed)
        caller.retry(list(asked.values()))
        self.figures["asked again by the parent"] += len(asked)

    # --- afterwards

    def _check(self, checker: Checker, directory: Path, until: int) -> None:
        log = self._store.log(checker.history.position, until=until)
        checker.take(_lines(directory), log)
        failures = [*checker.failures]
        watched = _watched(directory)
        failures += [wrong for each in watched if (wrong := each.wrong(checker.history.log))]
        failures += [_said(directory)] if "Traceback" in _said(directory) else []
        if until == self._store.position:
            failures += self._wrong_limits(checker)
            failures += projecting.wrong_views(self._store, checker.history.log)
            failures += [f"verify: {difference}" for difference in verify(self._store)]
        if failures:
            self._fail(failures)

    def _wrong_limits(self, checker: Checker) -> list[str]:
        claims = set(self._store.query("SELECT limit_name, holder FROM claims"))
        limits = dict(self._store.query("SELECT limit_name, used FROM limits"))
        history = checker.history
        wrong = [f"claims: {claims ^ history.holders}"] if claims != history.holders else []
        if limits != history.limits():
            wrong.append(f"limits: {limits}, not {history.limits()}")
        return wrong

    def _note_projections(self) -> None:
        """How far behind they are, and what was built."""
        builds = [each for each in status(self._store) if each.status == "current"]
        self.figures["builds"] = sum(each.build or 0 for each in builds)
        self.figures["events behind"] = max(each.lag_events or 0 for each in builds)

    def _count(self, directory: Path) -> None:
        lines = _lines(directory)
        decided = [ended for ended in lines.ended.values() if ended.decided]
        self.figures["asked"] += len(lines.asked)
        self.figures["answered"] += len(lines.answered)
        self.figures["refused"] += len(decided)
        self.figures["no answer"] += len(lines.without_answer())
        self.figures.update(ended.error for ended in lines.ended.values() if not ended.decided)
        self.figures["seen by followers"] += sum(len(each.seen) for each in _watched(directory))
        self.figures["events"] = self._store.position

    def _fail(self, failures: list[str]) -> None:
        first = "\n".join(failure[:4000] for failure in failures[:_SHOWN])
        msg = f"{len(failures)} failures:\n{first}"
        raise TortureError(msg)


def _lines(directory: Path) -> Lines:
    return Lines.of(journal.read(sorted(directory.glob("*.journal"))))


def _watched(directory: Path) -> list[Watched]:
    found = [watching.read(path) for path in sorted(directory.glob("*.watched"))]
    return [each for each in found if each]


def _said(directory: Path) -> str:
    """What the processes wrote to their standard errors; of one that failed, from there."""
    said = {path.name: path.read_text() for path in sorted(directory.glob("*.said"))}
    return "\n".join(
        f"{name}: {text[max(0, text.find('Traceback')) :]}" for name, text in said.items() if text
    )
