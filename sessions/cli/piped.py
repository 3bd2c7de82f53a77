"""Output into a pipe: noticing that its reader has gone, even while nothing is printed."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import threading
from io import UnsupportedOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sessions.log.follower import Follower
    from sessions.recorded import Recorded


def while_read(follower: Follower) -> Iterator[Recorded]:
    """The events of a follower, until nobody reads standard output any more.

    Raises:
        BrokenPipeError: Its reader has gone, which is noticed even if no event comes.
    """
    _when_unread(follower.stop)
    yield from follower
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _when_unread(call: Callable[[], None]) -> None:
    """Call a function, in a thread, once the reader of standard output has gone."""
    if not (hasattr(select, "poll") and _is_read()):
        return
    reader = select.poll()
    reader.register(sys.stdout, 0)  # a hang-up is reported in any case

    def wait() -> None:
        reader.poll()
        call()

    threading.Thread(target=wait, daemon=True).start()


def _is_read() -> bool:
    """Whether standard output can have a reader that goes away: it is a pipe or a socket."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except UnsupportedOperation:  # it is not a file of the system
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
