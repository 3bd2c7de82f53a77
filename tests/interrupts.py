"""An interrupt at each moment at which Python handles a signal, one after the other.

That is when a call of something written in C has returned, when a loop begins again, and when a
function begins.
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

_LIBRARY = str(Path(sessions.__file__).parent)
_HANDLING = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}

_GIVES_BACK = {"_leave", "give_back"}
"""Functions that give back what is taken when they begin: no code can be interrupted there, and
give it back all the same."""


def each_moment() -> Iterator[Interrupt]:
    """Interrupts for calls that do the same, each a moment later, up to one that does not come.

    From Python 3.12 on, a function is seen from its second call on: nothing comes at first.
    """
    yield Interrupt(sys.maxsize)
    for moment in count(1):
        interrupt = Interrupt(moment)
        yield interrupt
        if not interrupt.came:
            return


class Interrupt:
    """Raises KeyboardInterrupt in this thread, once, at a moment in the library's code.

    Args:
        moment: The number of the moment, from 1.
        raises: What is raised instead.

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
        self._watch = _Watch(self.begins, self.goes_on)

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

    def begins(self, frame: FrameType) -> bool:
        """A function begins; whether its instructions are to be seen."""
        caller = self._traced.get(frame.f_back) if frame.f_back else None
        if caller is not None and frame.f_code.co_name != "__init__":  # type() calls that
            caller.called_python = True
        if self.came or not frame.f_code.co_filename.startswith(_LIBRARY):
            return False
        self._traced[frame] = _Traced()
        return True

    def goes_on(self, frame: FrameType) -> None:
        """An instruction is about to be executed."""
        traced = self._traced.get(frame)
        if traced is not None and not self.came and traced.handles_signals(frame):
            self._left -= 1
            if self._left == 0:
                self.came = True
                raise self._raises


class _Traced:
    """A call that is at work."""

    def __init__(self) -> None:
        self.called_python = False
        self._before: int | None = None

    def handles_signals(self, frame: FrameType) -> bool:
        """Whether Python has just looked for signals: at what came before this instruction."""
        before, self._before = self._before, frame.f_lasti
        called_python, self.called_python = self.called_python, False
        code = frame.f_code
        if before is None:  # it begins, or an error is thrown into a generator: no signal is then
            is_thrown = _names(code)[frame.f_lasti] == "PUSH_EXC_INFO"
            return not is_thrown and code.co_name not in _GIVES_BACK
        if called_python:
            return False
        is_in_one_block = _block(code, before) == _block(code, frame.f_lasti)
        return is_in_one_block and _names(code)[before] in _HANDLING


class _Watcher:
    """Sees the functions that begin in this thread, and their instructions."""

    def __init__(
        self, begins: Callable[[FrameType], bool], goes_on: Callable[[FrameType], None]
    ) -> None:
        self._begins = begins
        self._goes_on = goes_on
        self._thread = threading.get_ident()
        self._before = sys.gettrace()


if sys.version_info < (3, 12):

    class _Watch(_Watcher):
        def begin(self) -> None:
            sys.settrace(self._called)

        def end(self) -> None:
            sys.settrace(self._before)

        def _called(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002  as sys.settrace asks
            if not self._begins(frame):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return self._executes

        def _executes(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002  as sys.settrace asks
            if event == "opcode":
                self._goes_on(frame)
            return self._executes

else:
    _BEGINS, _GOES_ON = sys.monitoring.events.PY_START, sys.monitoring.events.INSTRUCTION
    _TOOL = sys.monitoring.DEBUGGER_ID

    class _Watch(_Watcher):
        """`sys.settrace` sees nothing of a function that another thread executes untraced."""

        def begin(self) -> None:
            sys.monitoring.use_tool_id(_TOOL, "interrupts")
            sys.monitoring.register_callback(_TOOL, _BEGINS, self._called)
            sys.monitoring.register_callback(_TOOL, _GOES_ON, self._executes)
            sys.monitoring.set_events(_TOOL, _BEGINS)

        def end(self) -> None:
            sys.monitoring.set_events(_TOOL, 0)
            sys.monitoring.free_tool_id(_TOOL)

        def _called(self, code: CodeType, offset: int) -> None:  # noqa: ARG002  as sys.monitoring asks
            if threading.get_ident() == self._thread and self._begins(sys._getframe(1)):
                sys.monitoring.set_local_events(_TOOL, code, _GOES_ON)

        def _executes(self, code: CodeType, offset: int) -> None:  # noqa: ARG002  as sys.monitoring asks
            if threading.get_ident() == self._thread:
                self._goes_on(sys._getframe(1))


@cache
def _names(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


@cache
def _block(code: CodeType, offset: int) -> object:
    """Where an error goes: what raises is one instruction late, and must not be out of a `try`."""
    entries: list[Any] = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # not in typeshed
    within = [entry.target for entry in entries if entry.start <= offset < entry.end]
    return within[-1] if within else None
