"""Rounds: processes work at the same time, faults happen to them, and what they did is checked."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from projections import status
from tests.torture import projecting
from tests.torture.application import Application
from tests.torture.failing import fail
from tests.torture.faults import Fault, Server, faults, happen
from tests.torture.loading import WHOLE
from tests.torture.processes import Processes, said
from tests.torture.worker import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
        self._torture = torture
        store = projecting.open_store(torture.url)
        if store.exists and store.position:
            store.close()
            fail([f"{torture.url} is not new"])
        store.make()
        self._store = store
        self._main = Application(store, torture.url, torture.seed)
        self._others: list[Application] = []
        self._faults: Counter[str] = Counter()
        self._noted = 0

    def close(self) -> None:
        self._store.close()

    @property
    def figures(self) -> Counter[str]:
        """What happened so far."""
        figures = self._main.figures + self._faults
        builds = [each for each in status(self._store) if each.status == "current"]
        figures["builds"] = sum(each.build or 0 for each in builds)
        figures["events of others"] = sum(each.figures["events"] for each in self._others)
        return figures

    def run(self, number: int) -> None:
        """Run a round, with two applications of its own beside the one that lasts for all rounds.

        The logs of these two begin in it, on the same connections, and sometimes are equally long.

        Raises:
            TortureError: The round hangs, or something is wrong after it.
        """
        torture = self._torture
        random = Random(f"{torture.seed}/{number}")
        directory = torture.directory / f"round-{number}"
        others = [self._other(2 * number + n) for n in range(2)]
        self._others += others
        applications = [self._main, *others]
        with ExitStack() as watched:
            for each in applications:
                after = random.choice([0, self._noted]) if each is self._main else 0
                watched.enter_context(each.watched(number, directory, after))
            processes = self._work(number, directory, random)
            for each in applications:
                each.retry(number, directory)
            processes.end()
        if "Traceback" in said(directory):
            fail([said(directory)])
        self._noted = random.randrange(self._store.position + 1)
        for each in applications:
            each.check(directory, random)

    def check_all(self) -> None:
        """Check all rounds once more, against the logs as they are at the end."""
        for each in (self._main, *self._others):
            each.check_all()

    def _other(self, application_id: int) -> Application:
        torture, store = self._torture, projecting.beside(self._store, application_id)
        return Application(store, torture.url, torture.seed)

    def _work(self, number: int, directory: Path, random: Random) -> Processes:
        """Let processes work, until those that are left are at rest."""
        torture = self._torture
        count = random.choice([2, torture.processes])
        plan = Plan(
            url=torture.url,
            directory=directory,
            seed=torture.seed,
            round_=number,
            threads=torture.threads,
            seconds=torture.seconds,
            noted=self._noted,
            whole=random.choice(WHOLE),
            others=[2 * number, 2 * number + 1],
        )
        planned = faults(random, count, torture.seconds, torture.server)
        processes = Processes([replace(plan, process=process) for process in range(count)])
        processes.begin()
        self._fault(planned, processes)
        processes.rest()
        with self._store.recorder.database.writing():
            pass  # now the transactions of killed processes have ended, too
        return processes

    def _fault(self, planned: Sequence[Fault], processes: Processes) -> None:
        begun = monotonic()
        for fault in planned:
            time.sleep(max(0.0, begun + fault.moment - monotonic()))
            if fault.what == "kill":
                processes.kill(fault.process)
            else:
                happen(fault, self._torture.server, self._torture.url)
            self._faults[fault.what] += 1
