"""A follower in a thread of its own that writes down every event that it sees."""

from __future__ import annotations

import threading
import traceback
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from sessions.errors import SessionsError
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sessions import Recorded, SessionStore

_PAUSE = 0.01


class Watched(NamedTuple):
    """What a follower wrote down: what it follows, and the position and command of each event."""

    name: str
    after: int
    types: Sequence[str]
    seen: list[tuple[int, str]]
    failures: list[str]

    def wrong(self, log: Sequence[Recorded]) -> str:
        """What is wrong with it; "" if it saw every event once and in order."""
        if self.failures:
            return f"{self.name}: {self.failures}"
        until = self.seen[-1][0] if self.seen else self.after
        expected = [
            (recorded.position, recorded.command_id)
            for recorded in log[self.after : until]
            if not self.types or recorded.type in self.types
        ]
        if self.seen == expected:
            return ""
        different = [pair for pair in zip(self.seen, expected, strict=False) if pair[0] != pair[1]]
        where = different[0] if different else (len(self.seen), len(expected))
        return f"{self.name} followed from {self.after} to {until}, and differs first at {where}"


class Watcher:
    """A follower in a thread."""

    def __init__(
        self, store: SessionStore, path: Path, after: int, types: Sequence[str] = ()
    ) -> None:
        self._store = store
        self._file = path.open("ab", buffering=0)
        self._note("from", str(after), *types)
        self.follower = store.follow(after, types=types)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def _note(self, *words: str) -> None:
        self._file.write(f"{' '.join(words)}\n".encode())

    def _run(self) -> None:
        while True:
            try:
                for recorded in self.follower:
                    self._note(str(recorded.position), recorded.command_id)
            except SessionsError as error:
                if not error.retry:
                    self._note("failed", repr(error))
                    return
            except Exception:  # noqa: BLE001  whatever it is, the round fails by it
                self._note("failed", repr(traceback.format_exc()))
                return
            else:
                return

    def wait(self, position: int, seconds: float) -> None:
        """Wait until it has reached a position."""
        deadline = monotonic() + seconds
        while self.follower.position < position and self._thread.is_alive():
            if monotonic() > deadline:
                self._note("failed", f"to come from {self.follower.position} to {position} in time")
                return
            sleep(_PAUSE)

    def stop(self, seconds: float = SOON) -> None:
        """Stop it, and check that it ends."""
        self.follower.stop()
        self.join(seconds)

    def join(self, seconds: float = SOON) -> None:
        """Check that it ends."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._note("failed", "to stop")
        self._file.close()


def read(path: Path) -> Watched | None:
    """What a follower wrote down; None if it was killed before its first word."""
    whole, _, _ = path.read_text().rpartition("\n")
    lines = [line.split() for line in whole.splitlines()]
    if not lines:
        return None
    (_, after, *types), *rest = lines
    failures = [" ".join(words) for words in rest if words[0] == "failed"]
    seen = [(int(words[0]), words[1]) for words in rest if words[0] != "failed"]
    return Watched(path.name, int(after), types, seen, failures)
