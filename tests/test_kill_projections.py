"""Runners and rebuilds that are killed at any moment skip no event, and fold none twice."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from projections import Projection, Runner, StoredProjection, rebuild, verify
from projections.rebuilding import catching_up
from sessions import CloseSession, OpenSession, RebuildRunning, SessionStore, SetProfile
from sessions.sql import inserting
from sessions.views.installed import installed
from tests.conftest import add
from tests.counting import CARTS, PROFILES, named, wrong
from tests.processes import processes
from tests.waiting import SOON, patiently, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from projections.comparing import Compared

pytestmark = pytest.mark.no_cover

KILLS = 12
FOLLOWED: tuple[Projection[Any], ...] = (CARTS, PROFILES)
KNOWN = (*installed(), *FOLLOWED, named(CARTS, "kept_carts", "inline"))


def _store(url: str) -> SessionStore:
    return SessionStore.open(url, projections=KNOWN, lock_timeout=SOON)


def write(url: str, name: str) -> None:
    with _store(url) as store:
        for number in count():
            session_id, profile = f"{name}-{number}", f"p{number % 40}"
            store.execute_many(session_id, [OpenSession(profile_id=profile), add("a")])
            for command in (SetProfile(profile_id=f"q{number % 7}-{number % 30}"), CloseSession()):
                store.execute(session_id, command)
                time.sleep(0.002)


def follow(url: str, _: str) -> None:
    with _store(url) as store:
        Runner(store, page=30).run()


def build(url: str, _: str) -> None:
    catching_up._PAGE, catching_up._LEFT_FOR_SWITCH = 40, 10
    inserting._MANY = 1
    with _store(url) as store:
        while True:
            with suppress(RebuildRunning):  # until the server sees that the other is gone
                done = rebuild(store, names=[each.name for each in FOLLOWED])
                assert [each for each in done.compared if each.differing] == []
            time.sleep(0.3)


class Crew:
    """Processes of which any is killed, and another takes its place."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._context = processes()
        self.alive: list[tuple[Callable[[str, str], None], BaseProcess]] = []

    def start(self, work: Callable[[str, str], None], name: str = "") -> None:
        process = self._context.Process(target=work, args=(self._url, name), daemon=True)
        process.start()
        self.alive.append((work, process))

    def kill(self, work: Callable[[str, str], None], number: int) -> None:
        """Kill one of those that do a work: the first of them does it longest."""
        entry = [each for each in self.alive if each[0] is work][number]
        self.alive.remove(entry)
        _, process = entry
        assert process.is_alive(), process.exitcode
        process.kill()
        process.join()

    def kill_all(self, *works: Callable[[str, str], None]) -> None:
        for work in works:
            while work in [each for each, _ in self.alive]:
                self.kill(work, 0)


def _come(store: SessionStore, position: int) -> None:
    """Wait until all views have come to a position: a standby takes over within seconds."""
    until(lambda: all(StoredProjection(store, each).position >= position for each in FOLLOWED))


def _end(store: SessionStore) -> int:
    """Where the log ends once a server is done with what those who were killed had sent to it."""
    position, before = store.position, -1
    while position != before:
        time.sleep(0.5)
        position, before = store.position, position
    return position


def _wrong(store: SessionStore) -> list[object]:
    log = list(store.log())
    return [found for each in KNOWN[-3:] if (found := wrong(store, each, log))]


def test_no_event_is_skipped_or_folded_twice_whoever_is_killed(
    url: str,
) -> None:
    chosen = random.Random(4711)
    crew = Crew(url)
    with _store(url) as store:
        store.execute("first", OpenSession(profile_id="p"))
        for work, name in ((follow, ""), (follow, ""), (write, "a"), (write, "b"), (build, "")):
            crew.start(work, name)
        try:
            _come(store, 50)
            for kill in range(KILLS):
                time.sleep(chosen.random() / 3)
                victim, number = chosen.choice([(follow, 0), (follow, 0), (follow, 1), (build, 0)])
                crew.kill(victim, number)
                if victim is follow:
                    _come(store, store.position)
                crew.start(victim, f"{kill}")
            crew.kill_all(build, write)
            _come(store, _end(store))
        finally:
            crew.kill_all(build, write, follow)

        assert _wrong(store) == []
        assert verify(store) == []
        assert [each for each in _finished(store) if each.differing] == []
        assert _wrong(store) == []


def _finished(store: SessionStore) -> list[Compared]:
    """Go on with the rebuild that was killed."""
    return patiently(lambda: rebuild(store, names=[each.name for each in FOLLOWED])).compared
