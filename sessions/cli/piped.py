"""What is printed into a pipe: whether somebody reads it still, also while nothing is printed."""

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
    """What a follower gives while somebody reads what is printed, also where nothing comes.

    Raises:
        BrokenPipeError: Nobody reads it any more.
    """
    _when_unread(follower.stop)
    yield from follower
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _when_unread(call: Callable[[], None]) -> None:
    """Call a function, in a thread, once whoever reads standard output has gone."""
    if not (hasattr(select, "poll") and _is_read()):
        return
    reader = select.poll()
    reader.register(sys.stdout, 0)  # it tells of an end in any case

    def wait() -> None:
        reader.poll()
        call()

    threading.Thread(target=wait, daemon=True).start()


def _is_read() -> bool:
    """Whether somebody reads standard output while it is written: it is a pipe, or a socket."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except UnsupportedOperation:  # it is none of the system's
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
