"""The processes of a round, seen by their parent: it says when they begin, compare and end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from tests.processes import processes
from tests.torture.failing import fail
from tests.torture.worker import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection as Pipe
    from pathlib import Path

    from tests.torture.worker import Plan

WATCHDOG = 180.0
"""Seconds after which a round counts as hanging."""


class Processes:
    """The processes that carry out plans, from their start to their end."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans
        self._deadline = monotonic() + WATCHDOG
        self._killed: set[int] = set()
        context = processes()
        self._pipes: list[Pipe] = []
        self._all = []
        for plan in plans:
            ours, theirs = context.Pipe()
            process = context.Process(target=run, args=(plan, theirs), name=f"torture {plan.name}")
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._all.append(process)

    def begin(self) -> None:
        """Let them work, once all of them are ready."""
        for plan, pipe in zip(self._plans, self._pipes, strict=True):
            if not self._heard(pipe, "does not begin"):
                fail([f"{plan.name} did not begin", said(plan.directory)])
        self._say("go")

    def kill(self, number: int) -> None:
        """Kill one, if it is still working."""
        process = self._all[number]
        if process.is_alive():
            process.kill()
            self._killed.add(number)

    def rest(self) -> None:
        """Wait until each has done its work, or has ended."""
        for pipe in self._pipes:
            self._heard(pipe, "hangs")

    def end(self) -> None:
        """Let those that are left compare and close, and check that all end as they should."""
        self._say("compare")
        for process in self._all:
            process.join(max(0.0, self._deadline - monotonic()))
            if process.is_alive():
                self._dump("hangs")
        for number, (plan, process) in enumerate(zip(self._plans, self._all, strict=True)):
            if process.exitcode != (-signal.SIGKILL if number in self._killed else 0):
                ended = f"{process.name} ended with {process.exitcode}"
                fail([ended, said(plan.directory)])
            process.close()

    def _heard(self, pipe: Pipe, otherwise: str) -> bool:
        """Whether a process has reported that it has come so far; otherwise it has ended."""
        if not pipe.poll(max(0.0, self._deadline - monotonic())):
            self._dump(otherwise)
        try:
            pipe.recv()
        except (EOFError, ConnectionResetError):
            return False
        return True

    def _say(self, word: str) -> None:
        for pipe in self._pipes:
            with suppress(BrokenPipeError):  # it was killed
                pipe.send(word)

    def _dump(self, what: str) -> None:
        """Make the processes write their stacks, and end them."""
        alive = [process for process in self._all if process.is_alive()]
        for process in alive:
            assert process.pid
            os.kill(process.pid, signal.SIGUSR1)
        time.sleep(1)
        for process in alive:
            process.kill()
            process.join()
        names = [process.name for process in alive]
        fail([f"{names} {what} after {WATCHDOG} s", said(self._plans[0].directory)])


def said(directory: Path) -> str:
    """What the processes wrote to standard error; if a process failed, from the failure on."""
    texts = {path.name: path.read_text() for path in sorted(directory.glob("*.said"))}
    return "\n".join(
        f"{name}: {text[max(0, text.find('Traceback')) :]}" for name, text in texts.items() if text
    )
