"""How the followers in a process hear at once that something was committed in it."""

from __future__ import annotations

import threading
import weakref

from sessions import forks


def is_exiting() -> bool:
    """Whether the interpreter is exiting, and waits for its threads.

    While it waits for those of executors, the main thread is still alive: only `threading` knows.
    """
    known: bool | None = getattr(threading, "_SHUTTING_DOWN", None)
    return not threading.main_thread().is_alive() if known is None else known


class Signal:
    """Tells the followers of a database, in this process, that something was committed.

    A handler of a signal of the operating system may give it, whatever it interrupts.
    """

    def __init__(self) -> None:
        self.begin_again_in_child()
        forks.watch(self)

    def begin_again_in_child(self) -> None:
        """Leave the parent's waiting threads to the parent."""
        self._lock = threading.RLock()  # the thread that a handler interrupts may have it
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self.count: int = 0

    def give(self) -> None:
        """Wake the followers that wait."""
        with self._lock:
            self.count += 1
            if self._waiting:
                self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Wait for a signal after the `seen` ones, for `seconds` at most."""
        with self._changed:
            self._waiting += 1
            try:
                if self.count == seen:
                    self._changed.wait(seconds)
            finally:
                self._waiting -= 1


class _Signals:
    """The signals of the databases that are open."""

    def __init__(self) -> None:
        self._of: weakref.WeakValueDictionary[str, Signal] = weakref.WeakValueDictionary()
        self.begin_again_in_child()
        forks.watch(self)

    def begin_again_in_child(self) -> None:
        """Leave the parent's lock to the parent."""
        self._mutex = threading.Lock()

    def of(self, path: str) -> Signal:
        """The signal of a database; threads that open it at the same time get the same one."""
        with self._mutex:
            return self._of.setdefault(path, Signal())


_signals = _Signals()


def signal_of(path: str) -> Signal:
    """The signal of a database, which all stores share that a process has open on it."""
    return _signals.of(path)
