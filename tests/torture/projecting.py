"""Projections that run meanwhile, and whether they are the fold of the log at the end."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from projections import Runner, rebuild
from projections.rebuilding import catching_up
from sessions import RebuildRunning, SessionStore, StoreClosed
from sessions.errors import SessionsError
from sessions.views.installed import installed
from tests.counting import CARTS, PROFILES, named, wrong

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from sessions import Recorded

COUNTING = (CARTS, PROFILES, named(CARTS, "kept_carts", "inline"))
KNOWN = (*installed(), *COUNTING)
RUNNERS = 2
"""How many of the processes run them: one works, and the other stands by."""

REBUILDS = 0.3
"""How often a process rebuilds."""


def open_store(url: str, application_id: int = 1, **options: Any) -> SessionStore:
    """A store that keeps them."""
    return SessionStore.open(url, application_id, projections=KNOWN, **options)


def beside(store: SessionStore, application_id: int) -> SessionStore:
    """The store of another application on the same connections."""
    return SessionStore(store.recorder.database, application_id, projections=KNOWN)


def runner(store: SessionStore, random: Random) -> Runner:
    """A runner with short pages, or with long ones."""
    return Runner(store, page=random.choice([1, 20, 1000]))


def rebuild_now_and_then(store: SessionStore, random: Random, until: float) -> None:
    """Rebuild views in small batches; some rebuilds are left for the next process to resume."""
    catching_up._PAGE, catching_up._LEFT_FOR_SWITCH = 500, 50
    names = random.choice([[], [each.name for each in COUNTING], ["carts"], ["kept_carts"]])
    ends = random.choice([monotonic() + random.random(), inf, inf])
    while monotonic() < until:
        try:
            with suppress(RebuildRunning):
                done = rebuild(store, names=names, stop=lambda: monotonic() > ends)
                different = [each for each in done.compared if each.differing]
                assert not different, different
                if done.switched:
                    return
        except StoreClosed:
            return
        except SessionsError as error:
            if not error.retry:
                raise


def wrong_views(store: SessionStore, log: Sequence[Recorded]) -> list[str]:
    """Follow to the log's end; the answer is what is then not the fold of the log."""
    Runner(store).run(until=store.position)
    found = [(each.name, wrong(store, each, log)) for each in COUNTING]
    return [f"{name}: {sorted(map(str, what))[:5]}" for name, what in found if what]
