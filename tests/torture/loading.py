"""Bulk loads beside everything else: whole batches, through the store that other threads use too.

Each command makes one event. If another process of the same store has just written as well, a batch
has exactly as many events as that process catches up with, or one more or less.
"""

from __future__ import annotations

import time
from time import monotonic

from sessions import OpenSession
from sessions.commits import batch
from sessions.sql import dialect
from tests.torture import asking
from tests.torture.asking import Wanted
from tests.torture.caller import Caller

WHOLE = (40, 40, 1000)
"""How many commands a batch has, and how many events a writer catches up with: as many as in the
library, or fewer, so that a round has more batches."""

_LOADS = {40: 20, 1000: 2}
"""How many loads a process makes in a round."""


def set_whole(whole: int) -> None:
    """Set after how many a batch commits, and a writer catches up; before a store is open."""
    batch.COMMANDS = whole
    vars(dialect)["CATCH_UP"] = whole


class Loader(Caller):
    """A caller that loads."""

    def load(self, whole: int, until: float) -> None:
        """Load one batch after the other, with some time between them."""
        for session in asking.loaded_into(self._round):
            self._ask(Wanted("one", [(session, OpenSession())]))
        pause = max(0.0, until - monotonic()) / _LOADS[whole]
        for load in range(_LOADS[whole]):
            if monotonic() > until:
                break
            size = self._random.choice([1, whole // 3, whole, whole, whole, whole + 1])
            loaded = (f"{self._name}-{load}-{n}" for n in range(size))
            all_wanted = [asking.one_event(self._random, self._round, each) for each in loaded]
            self._batch(all_wanted, pauses=False)
            time.sleep(self._random.random() * pause)
        self._journal.close()
