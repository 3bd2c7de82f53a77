"""Pure work that raised is done again before it is blamed: what raised need not be its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_ROOM = 64 * 2**20
"""Bytes. Who lacks them is short of memory, whatever he does."""


def again(work: Callable[[], T], error: Exception) -> T:
    """What pure work answers that has raised an error; or what is the work's own is raised.

    What a signal's handler raised in it does not come again. Nor does it reach the recursion limit
    again because its caller was near that: it is done with a stack of its own then.
    """
    check_memory(error)
    if not isinstance(error, RecursionError):
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="customer-sessions-again") as thread:
        return thread.submit(work).result()


def comes_again(work: Callable[[], object], error: Exception) -> bool:
    """Whether pure work that has raised an error raises when it is done again."""
    try:
        again(work, error)
    except Exception as second:  # noqa: BLE001  whatever it is
        check_memory(second)
        return True
    return False


def check_memory(error: Exception) -> None:
    """Raise a MemoryError for which the work is not to blame: the process is short of memory."""
    if isinstance(error, MemoryError):
        try:
            bytearray(_ROOM)
        except MemoryError:
            raise error from None
