"""What is closed when the interpreter exits, if nobody has closed it before."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from typing import Protocol
from weakref import WeakValueDictionary


class Closing(Protocol):
    """Something that can be closed."""

    def close(self) -> None:
        """Finish what was begun, and let nothing more begin."""


_open: WeakValueDictionary[int, Closing] = WeakValueDictionary()


def close_at_exit(one: Closing) -> None:
    """Close an object when the interpreter exits, unless it is garbage by then.

    Functions that were registered with `atexit` after the import of this package run first.
    """
    _open[id(one)] = one


@atexit.register
def _close_all() -> None:
    with ExitStack() as closing:  # an error of one keeps no other open
        for reference in _open.valuerefs():
            one = reference()
            if one is not None:
                closing.callback(one.close)
