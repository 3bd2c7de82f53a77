"""Waits for what other threads, processes and servers do, however slow the machine is.

Each wait ends as soon as it can; the bounds are for what never comes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from sessions import SessionsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from projections import StoredProjection

T = TypeVar("T")

SOON = 60.0
"""Seconds that are more than enough for what should take less than one."""


def until(condition: Callable[[], object]) -> None:
    """Wait for something that comes soon."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


def patiently(call: Callable[[], T]) -> T:
    """What a call with short timeouts answers: it is repeated while its errors allow a retry."""
    deadline = time.monotonic() + SOON
    while True:
        try:
            return call()
        except SessionsError as error:
            if not error.retry or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def come(stored: StoredProjection[Any], position: int) -> None:
    """Wait until views have reached a position, even if a runner is only about to begin."""
    patiently(lambda: stored.wait(position, timeout=SOON))
