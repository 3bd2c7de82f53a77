"""Repeats pure work that raised before it is blamed: the error may not be its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_ROOM = 64 * 2**20
"""Bytes. A process that cannot have them is short of memory, whatever it does."""


def again(work: Callable[[], T], error: Exception) -> T:
    """Do pure work again that has raised an error; it raises again only what is its own.

    What a signal handler raised in it does not come again. After a `RecursionError` the work gets a
    stack of its own, because its caller may have been near the limit.
    """
    check_memory(error)
    if not isinstance(error, RecursionError):
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="customer-sessions-again") as thread:
        return thread.submit(work).result()


def comes_again(work: Callable[[], object], error: Exception) -> bool:
    """Whether pure work that has raised an error raises again when it is repeated."""
    try:
        again(work, error)
    except Exception as second:  # noqa: BLE001  whatever it is
        check_memory(second)
        return True
    return False


def check_memory(error: Exception) -> None:
    """Raise a MemoryError again if the process is short of memory: the work is not to blame."""
    if isinstance(error, MemoryError):
        try:
            bytearray(_ROOM)
        except MemoryError:
            raise error from None
