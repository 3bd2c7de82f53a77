"""Whether an event is the first of its keys, whatever a projection's function raises for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.views.again import check_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.recorded import Recorded


def is_known_to_begin(begins: Callable[[Recorded], bool], recorded: Recorded) -> bool:
    """Whether a projection's function says that an event is the first of its keys.

    If it raises, it is not asked again and no key waits: to read a view is never wrong.
    """
    try:
        return bool(begins(recorded))
    except Exception as error:  # noqa: BLE001  whatever it is, the view is read
        check_memory(error)
        return False
