"""Whether an event is the first of its keys, so that there is no view to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.views.again import check_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.recorded import Recorded


def is_first(recorded: Recorded) -> bool:
    """Whether an event is its session's first."""
    return recorded.version == 1


def always(_: Recorded) -> bool:
    """That an event is the first of its keys: no two events share one."""
    return True


def never(_: Recorded) -> bool:
    """That of no event it is known to be the first of its keys."""
    return False


def is_known_to_begin(begins: Callable[[Recorded], bool], recorded: Recorded) -> bool:
    """Whether a projection's function says that an event is the first of its keys.

    If it raises, it is not asked again and no key waits: to read a view is never wrong.
    """
    try:
        return bool(begins(recorded))
    except Exception as error:  # noqa: BLE001  whatever it is, the view is read
        check_memory(error)
        return False
