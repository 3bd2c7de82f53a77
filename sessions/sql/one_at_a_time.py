"""One thread of a process at a time has a transaction, and a fork waits for it."""

from __future__ import annotations

import threading
from contextlib import suppress

from sessions.errors import BatchOpen, StoreBusy


class OneAtATime:
    """Something at which the threads of a process take turns.

    Attributes:
        path: What errors call it.
        lock_timeout: Seconds that a thread waits for other threads.
    """

    path: str
    lock_timeout: float
    _lock: threading.RLock
    _held_for_fork = False
    _owner: int | None

    def _begin_alone(self) -> None:
        """Begin with a free lock: at the start, and in a forked child."""
        self._lock = threading.RLock()
        self._owner = None

    def _enter(self) -> None:
        """Enter a transaction once no other thread is in one; `_leave` must follow in this thread.

        Raises:
            StoreBusy: Another thread was in one for too long.
            BatchOpen: This thread is in one: its batch must not lose what it has not committed.
        """
        me = threading.get_ident()
        self._take_lock()  # nothing is called from here on: a signal would be handled with the lock
        if self._owner is not None:
            self._lock.release()
            raise BatchOpen(what="another transaction")
        self._owner = me

    def check_outside(self, what: str) -> None:
        """Raise if the calling thread is in a transaction, beside which `what` is not possible.

        Raises:
            BatchOpen: It is.
        """
        if self._owner == threading.get_ident():
            raise BatchOpen(what=what)

    def _take_lock(self) -> None:
        """Keep other threads out; `_lock.release` must follow, in the same thread.

        Raises:
            StoreBusy: Another thread had the lock for too long.
        """
        if not self._acquired(self.lock_timeout):
            raise StoreBusy(path=self.path, seconds=self.lock_timeout)

    def _acquired(self, seconds: float) -> bool:
        try:
            return self._lock.acquire(timeout=seconds)
        except BaseException:
            with suppress(RuntimeError):  # it was interrupted while it waited: it has none
                self._lock.release()
            raise

    def _leave(self) -> None:
        self._owner = None
        self._lock.release()

    @property
    def _is_ended(self) -> bool:
        """Whether this thread is in no transaction any more: to end one twice does nothing."""
        return self._owner != threading.get_ident()

    def hold_for_fork(self, seconds: float) -> bool:
        """Wait until the transaction of another thread has ended, since a child cannot end it.

        After `lock_timeout` the fork does not wait any longer.
        """
        self._held_for_fork = self._acquired(min(seconds, self.lock_timeout))
        return self._held_for_fork or seconds >= self.lock_timeout

    def go_on_after_fork(self) -> None:
        """Let other threads write again."""
        held, self._held_for_fork = self._held_for_fork, False
        if held:
            self._lock.release()
