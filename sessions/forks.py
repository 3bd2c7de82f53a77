"""Forks: what a child process must not share with its parent."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something that begins again in a child process."""

    def begin_again_in_child(self) -> None:
        """Leave to the parent what is the parent's."""


class Held(Forked, Protocol):
    """Something that must not be in the middle of its work when a child is forked."""

    def hold_for_fork(self) -> None:
        """Wait until nobody is at work, and let nobody begin."""

    def go_on_after_fork(self) -> None:
        """Let the parent go on."""


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()
_held: weakref.WeakSet[Held] = weakref.WeakSet()
_holding: list[Held] = []
_mutex = threading.RLock()
"""Whoever adds to what is watched has it, and a fork while it is copied: never while it waits."""


def watch(one: Forked) -> None:
    """Let something begin again in each child that this process forks."""
    with _mutex:
        _watched.add(one)


def watch_and_hold(one: Held) -> None:
    """As `watch`, and wait for its work to end before a child is forked."""
    with _mutex:
        watch(one)
        _held.add(one)


def _before_fork() -> None:
    with _mutex:
        _holding[:] = sorted(_held, key=id)
    for one in _holding:
        one.hold_for_fork()
    _mutex.acquire()


def _after_in_parent() -> None:
    _mutex.release()
    for one in _holding:
        one.go_on_after_fork()
    _holding.clear()


def _after_in_child() -> None:
    _mutex.release()
    _holding.clear()
    for one in list(_watched):
        one.begin_again_in_child()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
