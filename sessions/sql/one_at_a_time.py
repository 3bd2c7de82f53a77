"""One thread of a process has a transaction at a time, and a fork waits for it."""

from __future__ import annotations

import threading
from contextlib import suppress

from sessions.errors import BatchOpen, StoreBusy


class OneAtATime:
    """What the threads of a process take turns at.

    Attributes:
        path: What errors call it.
        lock_timeout: Seconds that a thread waits for the others.
    """

    path: str
    lock_timeout: float
    _lock: threading.RLock
    _held_for_fork = False
    _owner: int | None

    def _begin_alone(self) -> None:
        """Nobody has the lock: at the beginning, and after a fork in the child."""
        self._lock = threading.RLock()
        self._owner = None

    def _enter(self) -> None:
        """Be in a transaction when no other thread is; `_leave` must follow, in the same thread.

        Raises:
            StoreBusy: Another thread was for too long.
            BatchOpen: This thread is: its batch must not lose what it has not committed.
        """
        me = threading.get_ident()
        self._take_lock()  # nothing is called from here on: a signal would be handled with the lock
        if self._owner is not None:
            self._lock.release()
            raise BatchOpen(what="another transaction")
        self._owner = me

    def _take_lock(self) -> None:
        """Keep other threads out; `_lock.release` must follow, in the same thread.

        Raises:
            StoreBusy: Another thread had the lock for too long.
        """
        if not self._acquired():
            raise StoreBusy(path=self.path, seconds=self.lock_timeout)

    def _acquired(self) -> bool:
        try:
            return self._lock.acquire(timeout=self.lock_timeout)
        except BaseException:
            with suppress(RuntimeError):  # it was interrupted while it waited: it has none
                self._lock.release()
            raise

    def _leave(self) -> None:
        self._owner = None
        self._lock.release()

    @property
    def _is_ended(self) -> bool:
        """Whether this thread is in no transaction any more: whoever ended one may do so again."""
        return self._owner != threading.get_ident()

    def hold_for_fork(self) -> None:
        """Let a transaction of another thread end: a child cannot."""
        self._held_for_fork = self._acquired()

    def go_on_after_fork(self) -> None:
        """Let other threads write again."""
        held, self._held_for_fork = self._held_for_fork, False
        if held:
            self._lock.release()
