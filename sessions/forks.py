"""Forks: what a child process must not share with its parent."""

from __future__ import annotations

import os
import select
import threading
import weakref
from contextlib import ExitStack, suppress
from io import FileIO
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Forked(Protocol):
    """Something that begins again in a child process."""

    def begin_again_in_child(self) -> None:
        """Leave to the parent what belongs to the parent."""


class Settled(Forked, Protocol):
    """Something that gives up what others may wait for before a child is forked."""

    def settle_for_fork(self) -> None:
        """Give it up, if this is the thread that has it."""


class Held(Forked, Protocol):
    """Something that must not be in the middle of its work when a child is forked."""

    def hold_for_fork(self, seconds: float) -> bool:
        """Wait until nobody is at work, for so long at most, and let nobody begin.

        The answer is False if that is to be tried again.
        """

    def go_on_after_fork(self) -> None:
        """Let the parent go on, whether it was held or not."""


class Gate(Protocol):
    """Something that no thread may be inside when a child is forked.

    Gates are closed once all else is held: work at one thing may go through another's gate.
    """

    def close(self) -> None:
        """Let no thread in, and wait until all are out."""

    def open(self) -> None:
        """Let threads in again, whether it was closed or not."""


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()
_held: weakref.WeakSet[Held] = weakref.WeakSet()
_settled: weakref.WeakSet[Settled] = weakref.WeakSet()
_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
_SECONDS = 0.1
"""How long a fork waits at first for something that is at work."""

_CHILD_SECONDS = 10.0
"""How long a parent waits at most until its child has begun again."""

_holding: list[Held] = []
_closed: list[Gate] = []
_line: list[FileIO] = []
"""Both ends of a pipe, which nobody has any more as soon as the child has begun again."""
_begun_in = os.getpid()
"""The process that has begun again, if it is a child."""
_mutex = threading.RLock()
"""Held to add to what is watched, and by a fork once it holds all of that."""
_turn = threading.RLock()
"""One thread forks at a time: only that thread releases what it holds."""


def watch(one: Forked) -> None:
    """Let something begin again in each child that this process forks."""
    with _mutex:
        _watched.add(one)


def watch_and_settle(one: Settled) -> None:
    """As `watch`, and also let it give up what others may wait for before a child is forked."""
    with _mutex:
        watch(one)
        _settled.add(one)


def watch_and_hold(one: Held) -> None:
    """As `watch`, and also wait for its work to end before a child is forked."""
    with _mutex:
        watch(one)
        _held.add(one)


def watch_gate(gate: Gate) -> None:
    """Close a gate before each child that this process forks, and open it again in the parent."""
    with _mutex:
        _gates.add(gate)


def _before_fork() -> None:
    """Hold everything. If this is interrupted, Python reports that, and forks all the same."""
    _turn.acquire()
    try:
        with _mutex:
            settled, found = list(_settled), _not_held()
        for one in settled:
            one.settle_for_fork()
        _hold(*found)
    finally:
        _mutex.acquire()
    _hold(*_not_held())  # what was made meanwhile; nothing more can be
    _hang_up()  # what an interrupt has left
    with suppress(OSError):  # too many open files
        reads, writes = os.pipe()
        _line.extend((FileIO(reads), FileIO(writes, "w")))


def _not_held() -> tuple[list[Held], list[Gate]]:
    done = {id(one) for one in (*_holding, *_closed)}
    held = [one for one in _held if id(one) not in done]
    return held, [gate for gate in _gates if id(gate) not in done]


def _hold(held: list[Held], gates: Iterable[Gate]) -> None:
    """Hold all, and close all gates.

    Who works at one thing may wait for another that is held already: so if something stays busy,
    all are let go, and the next time that one is held first, and all are waited for longer.
    """
    _holding.extend(held)
    seconds = _SECONDS
    while busy := next((one for one in held if not one.hold_for_fork(seconds)), None):
        for one in held:
            one.go_on_after_fork()
        held = [busy, *[one for one in held if one is not busy]]
        seconds *= 2
    for gate in gates:
        _closed.append(gate)
        gate.close()


def _after_in_parent() -> None:
    """Let all go on. It is called twice: the second call does what an interrupt has cut short."""
    if not _turn._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001  as `Condition` asks; typeshed has it not
        return
    with ExitStack() as steps:  # all of them, the last one first, whatever interrupts it
        for one in _holding:
            steps.callback(one.go_on_after_fork)
        for gate in _closed:
            steps.callback(gate.open)
        steps.callback(_release, _mutex)
        _wait_for_child()
    _holding.clear()
    _closed.clear()
    _end_turn()


def _end_turn() -> None:
    """Let other threads fork, if this one has not done so: interrupts may have come twice."""
    _release(_turn)


def _wait_for_child() -> None:
    """Wait until the child has begun again, or has ended: until then it needs what is held here."""
    if len(_line) > 1:
        reads, writes = _line
        writes.close()
        end = select.poll()
        end.register(reads)
        end.poll(_CHILD_SECONDS * 1000)
    _hang_up()


def _hang_up() -> None:
    for end in _line:  # an end may be closed twice
        end.close()
    _line.clear()


def _after_in_child() -> None:
    """Begin again. It is called twice too."""
    global _begun_in  # noqa: PLW0603  each process has one
    if _begun_in == os.getpid():
        return
    _holding.clear()
    _closed.clear()
    _release(_mutex)
    _release(_turn)
    with ExitStack() as steps:  # all of them, whatever interrupts it
        for one in list(_watched):
            steps.callback(one.begin_again_in_child)
    _begun_in = os.getpid()
    _hang_up()


def _release(lock: threading.RLock) -> None:
    with suppress(RuntimeError):  # an interrupt came before it was taken
        lock.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
os.register_at_fork(after_in_parent=_after_in_parent, after_in_child=_after_in_child)
os.register_at_fork(after_in_parent=_end_turn)
