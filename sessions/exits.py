"""What is closed when the interpreter exits, if nobody has closed it before."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from typing import Protocol
from weakref import WeakValueDictionary


class Closing(Protocol):
    """Something that can be closed."""

    def close(self) -> None:
        """End what it has begun, and let nobody begin anything more."""


_open: WeakValueDictionary[int, Closing] = WeakValueDictionary()


def close_at_exit(one: Closing) -> None:
    """Close something when the interpreter exits, as long as it is not forgotten before.

    What functions of `atexit` do that were registered after the import of this package comes first.
    """
    _open[id(one)] = one


@atexit.register
def _close_all() -> None:
    with ExitStack() as closing:  # what one raises keeps none from being closed
        for reference in _open.valuerefs():
            one = reference()
            if one is not None:
                closing.callback(one.close)
