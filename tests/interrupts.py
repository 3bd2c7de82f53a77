"""An interrupt at each moment at which Python handles a signal, one after the other.

That is when a call of something written in C has returned, when a loop begins again, and when a
function begins.
"""

from __future__ import annotations

import dis
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sessions

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

_LIBRARY = str(Path(sessions.__file__).parent)
_HANDLING = {"CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}

_GIVES_BACK = {"_do", "end", "_leave", "give_back"}
"""Functions that give back what is taken when they begin: no code can be interrupted there, and
give it back all the same."""


class Interrupt:
    """Raises KeyboardInterrupt in this thread, once, at a moment in the library's code.

    Attributes:
        came: Whether there was such a moment.
    """

    def __init__(self, moment: int) -> None:
        self.came = False
        self._left = moment
        self._traced: dict[FrameType, _Traced] = {}
        self._before = sys.gettrace()

    def __enter__(self) -> None:
        sys.settrace(self._called)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.settrace(self._before)
        self._traced.clear()

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002  as sys.settrace asks
        caller = self._traced.get(frame.f_back) if frame.f_back else None
        if caller is not None and frame.f_code.co_name != "__init__":  # type() calls that
            caller.called_python = True
        if self.came or not frame.f_code.co_filename.startswith(_LIBRARY):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self._traced[frame] = _Traced()
        return self._goes_on

    def _goes_on(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002  as sys.settrace asks
        if event == "opcode" and self._traced[frame].handles_signals(frame):
            self._left -= 1
            if self._left == 0:
                self.came = True
                raise KeyboardInterrupt
        return self._goes_on


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
        if before is None:
            return code.co_name not in _GIVES_BACK
        if called_python:
            return False
        is_in_one_block = _block(code, before) == _block(code, frame.f_lasti)
        return is_in_one_block and _names(code)[before] in _HANDLING


@cache
def _names(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


@cache
def _block(code: CodeType, offset: int) -> object:
    """Where an error goes: what raises is one instruction late, and must not be out of a `try`."""
    entries: list[Any] = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # not in typeshed
    within = [entry.target for entry in entries if entry.start <= offset < entry.end]
    return within[-1] if within else None
