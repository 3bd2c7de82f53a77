"""Hearing from PostgreSQL that another process has committed."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.sql.signals import Signal

_SECONDS = 0.5
"""How long it listens before it checks whether it should go on."""


class Listener:
    """Gives a signal for each notification on a channel, in a thread of its own.

    Notifications may be lost, and the connection with them: so followers poll too.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], channel: str, signal: Signal
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._signal = signal
        self._listens = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(
            target=self._run, name="customer-sessions-listen", daemon=True
        )

    def begin(self) -> None:
        """Listen from now on, if it does not yet; whatever may call `stop` must know it by then."""
        if self._thread.ident is None:
            self._thread.start()

    def wait(self) -> None:
        """Wait until it listens, so that nothing that is committed from now on is missed."""
        self._listens.wait(_SECONDS)

    def stop(self) -> None:
        """Stop listening."""
        self._stopped = True
        if self._thread.ident is not None:  # it has begun
            self._thread.join(4 * _SECONDS)

    def _run(self) -> None:
        while not self._stopped:
            try:
                with closing(self._connect()) as raw:
                    self._listen(raw)
            except psycopg.NotSupportedError:  # a standby: followers poll
                self._listens.set()
                return
            except psycopg.Error:
                self._listens.set()
                time.sleep(_SECONDS)

    def _listen(self, raw: psycopg.Connection[Any]) -> None:
        raw.execute(cast("Any", f"LISTEN {self._channel}"))
        self._listens.set()
        self._signal.give()  # for what was committed before
        while not self._stopped:
            for _ in raw.notifies(timeout=_SECONDS, stop_after=1):
                self._signal.give()
