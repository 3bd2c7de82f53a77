"""Signals that come to the main thread at any moment, and whose handler raises."""

from __future__ import annotations

import dis
import signal
import sys
from typing import TYPE_CHECKING

from tests.interrupts import Interrupt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random
    from types import FrameType, TracebackType

_SHORTEST, _LONGEST = -5.0, -1.5
"""Seconds until a signal comes, as powers of ten: within a command, or as it waits for others."""

_LATER = 0.00002
_MOMENTS = (200, 600, 6000)
"""How many moments at which Python handles a signal there are in a command of a batch, in a command
alone, and in a batch."""

_GIVE_BACK = {"_leave", "give_back", "__exit__"}
"""Functions that release something: no code can protect the moment at which one begins."""


class Interrupted(KeyboardInterrupt):
    """Raised as by Ctrl-C: `except Exception` does not catch it."""


class Alarmed(Exception):  # noqa: N818  as a timeout of somebody's own
    """Raised as an ordinary error, which a caller may catch, and go on."""


class Signals:
    """A block within which one signal may come to the main thread.

    It comes after some time, which is mostly spent in waiting; or it comes at a moment of the
    library's own code, where the shortest is as likely as the longest.

    Args:
        random: What everything is drawn from.
        kinds: What it may raise.
    """

    def __init__(
        self, random: Random, kinds: Sequence[type[BaseException]] = (Interrupted, Alarmed)
    ) -> None:
        self._random = random
        self._kinds = kinds
        self._raised: type[BaseException] | None = None
        self._interrupt: Interrupt | None = None
        sys.unraisablehook = _lost

    def __enter__(self) -> None:
        random, way = self._random, self._random.random()
        raised = random.choice(self._kinds)
        if way < 0.5:
            self._interrupt = Interrupt(random.randrange(random.choice(_MOMENTS)) + 1, raised)
            self._interrupt.__enter__()
        elif way < 0.9:
            self._raised = raised
            signal.signal(signal.SIGALRM, self._handle)
            signal.setitimer(signal.ITIMER_REAL, 10 ** random.uniform(_SHORTEST, _LONGEST))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._raised = None  # so a signal that comes now raises nothing
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._interrupt is not None:
            self._interrupt.__exit__(kind, error, trace)
            self._interrupt = None

    def _handle(self, _: int, frame: FrameType | None) -> None:
        if self._raised is None:
            return
        if frame is not None and _begins_to_give_back(frame):
            signal.setitimer(signal.ITIMER_REAL, _LATER)
            return
        raised, self._raised = self._raised, None
        raise raised


def _begins_to_give_back(frame: FrameType) -> bool:
    code = frame.f_code
    if code.co_name not in _GIVE_BACK:
        return False
    begun = [each.offset for each in dis.get_instructions(code) if each.opname == "RESUME"]
    return frame.f_lasti <= begun[0]


def _lost(unraisable: sys.UnraisableHookArgs) -> None:
    """An error raised while garbage is collected reaches no caller, and is no failure."""
    if not isinstance(unraisable.exc_value, Interrupted | Alarmed):
        sys.__unraisablehook__(unraisable)
