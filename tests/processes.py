"""Processes that tests start.

They are forked from one that has imported what they need and done nothing else. So each begins in
milliseconds, and in the state of a newly started process.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext
    from threading import Barrier

T = TypeVar("T")

_ROOT = Path(__file__).parent.parent
_IMPORTED = ["tests.conftest", "tests.counting", "tests.torture.worker"]


def processes() -> ForkServerContext:
    """The context that starts processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with chdir(_ROOT):  # where it finds what it imports
        forkserver.ensure_running()
    return context


def in_processes(count: int, call: Callable[[str, int], T], url: str) -> list[T]:
    """What a call answers to processes that make it at the same moment, each with its number."""
    context = processes()
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, initializer=_wait, initargs=(barrier,)) as pool:
        return list(pool.map(call, [url] * count, range(count)))


def _wait(barrier: Barrier) -> None:
    barrier.wait()
