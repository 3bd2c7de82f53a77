"""An interrupt at each moment at which Python handles a signal, one after the other.

These moments are when a call into C code has returned, when a loop starts over, and when a function
begins.
"""

from __future__ import annotations

import dis
import sys
import threading
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, TracebackType

    GoesOn = Callable[[int], None]
    """Called before each instruction of a call, with the instruction's offset in the code."""

_LIBRARY = str(Path(sessions.__file__).parent)
_HANDLING = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}

_BEGINNING = -1
"""The offset that stands for the moment before the first instruction."""

_GIVES_BACK = {"_leave", "give_back"}
"""Functions that release something as soon as they begin: no code can be interrupted there and
still release it."""


def each_moment(first: int = 1, step: int = 1) -> Iterator[Interrupt]:
    """Interrupts for repeated calls, each one moment later, up to the first that does not come.

    If it takes long to get to a moment, begin at a `first` one and go on in steps of `step`.
    From Python 3.12 on, a function is only seen from its second call on: nothing comes at first.
    """
    yield Interrupt(sys.maxsize)
    for moment in count(first, step):
        interrupt = Interrupt(moment)
        yield interrupt
        if not interrupt.came:
            return


class Interrupt:
    """Raises KeyboardInterrupt in this thread, once, at a moment in the library's code.

    Args:
        moment: The number of the moment, from 1.
        raises: What to raise instead.

    Attributes:
        moment: The number of the moment.
        came: Whether there was such a moment.
    """

    def __init__(self, moment: int, raises: type[BaseException] = KeyboardInterrupt) -> None:
        self.moment = moment
        self._raises = raises
        self.came = False
        self._left = moment
        self._traced: dict[FrameType, _Traced] = {}
        self._watch = _Watch(self.begins)

    def __enter__(self) -> None:
        self._watch.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watch.end()
        self._traced.clear()

    def begins(self, frame: FrameType) -> GoesOn | None:
        """A function begins; the answer is what to call at each of its instructions."""
        caller = self._traced.get(frame.f_back) if frame.f_back else None
        if caller is not None and frame.f_code.co_name != "__init__":  # type() calls that
            caller.called_python = True
        if self.came or not frame.f_code.co_filename.startswith(_LIBRARY):
            return None
        self._traced[frame] = traced = _Traced(frame, self._handles_signals)
        return traced.goes_on

    def _handles_signals(self) -> None:
        if not self.came:
            self._left -= 1
            if self._left == 0:
                self.came = True
                raise self._raises


class _Traced:
    """A running call, which reports when Python has just checked for signals.

    It has many instructions, which are seen again at each moment: most are passed over at once.
    """

    def __init__(self, frame: FrameType, handles_signals: Callable[[], None]) -> None:
        self.called_python = False
        self._code = frame.f_code
        self._handling = _handling(frame.f_code)
        self._handles_signals = handles_signals
        self._before = _BEGINNING

    def goes_on(self, now: int) -> None:
        """An instruction is about to run; the one before it may have checked for signals."""
        before, self._before = self._before, now
        called_python, self.called_python = self.called_python, False
        if before in self._handling:
            is_in_one_block = _block(self._code, before) == _block(self._code, now)
            if is_in_one_block and not called_python:
                self._handles_signals()
        elif before == _BEGINNING and not self._is_spared(now):
            self._handles_signals()

    def _is_spared(self, first: int) -> bool:
        """Whether an error is being thrown into a generator, as no signal is, or it gives back."""
        is_thrown = _names(self._code)[first] == "PUSH_EXC_INFO"
        return is_thrown or self._code.co_name in _GIVES_BACK


class _Watcher:
    """Sees the functions that begin in this thread, and their instructions."""

    def __init__(self, begins: Callable[[FrameType], GoesOn | None]) -> None:
        self._begins = begins
        self._thread = threading.get_ident()
        self._before = sys.gettrace()


if sys.version_info < (3, 12):

    class _Watch(_Watcher):
        def begin(self) -> None:
            sys.settrace(self._called)

        def end(self) -> None:
            sys.settrace(self._before)

        def _called(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002  as sys.settrace asks
            goes_on = self._begins(frame)
            if goes_on is None:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False

            def executes(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG001  as sys.settrace asks
                if event == "opcode":
                    goes_on(frame.f_lasti)
                return executes

            return executes

else:
    _BEGINS, _GOES_ON = sys.monitoring.events.PY_START, sys.monitoring.events.INSTRUCTION
    _TOOL = sys.monitoring.DEBUGGER_ID

    class _Watch(_Watcher):
        """`sys.settrace` sees nothing of a function that another thread executes untraced."""

        def begin(self) -> None:
            self._seen: dict[FrameType, GoesOn] = {}
            sys.monitoring.use_tool_id(_TOOL, "interrupts")
            sys.monitoring.register_callback(_TOOL, _BEGINS, self._called)
            sys.monitoring.register_callback(_TOOL, _GOES_ON, self._executes)
            sys.monitoring.set_events(_TOOL, _BEGINS)

        def end(self) -> None:
            sys.monitoring.set_events(_TOOL, 0)
            sys.monitoring.free_tool_id(_TOOL)
            self._seen.clear()

        def _called(self, code: CodeType, offset: int) -> None:  # noqa: ARG002  as sys.monitoring asks
            frame = sys._getframe(1)
            if threading.get_ident() == self._thread and (goes_on := self._begins(frame)):
                self._seen[frame] = goes_on
                sys.monitoring.set_local_events(_TOOL, code, _GOES_ON)

        def _executes(self, code: CodeType, offset: int) -> None:  # noqa: ARG002  as sys.monitoring asks
            if goes_on := self._seen.get(frame := sys._getframe(1)):
                goes_on(frame.f_lasti)


@cache
def _names(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


@cache
def _handling(code: CodeType) -> set[int]:
    return {offset for offset, name in _names(code).items() if name in _HANDLING}


@cache
def _block(code: CodeType, offset: int) -> object:
    """Where an error goes: it is raised one instruction late, which must not be out of a `try`."""
    entries: list[Any] = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # not in typeshed
    within = [entry.target for entry in entries if entry.start <= offset < entry.end]
    return within[-1] if within else None
