"""After a fork: what a child process must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something that begins again in a child process."""

    def begin_again_in_child(self) -> None:
        """Leave to the parent what is the parent's."""


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()


def watch(one: Forked) -> None:
    """Let something begin again in each child that this process forks."""
    _watched.add(one)


def _after_fork() -> None:
    for one in list(_watched):
        one.begin_again_in_child()


os.register_at_fork(after_in_child=_after_fork)
