"""A process that is killed at any moment loses no command that it answered."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import pytest

from projections import CustomerSessions, verify
from sessions import CloseSession, OpenSession, SessionStore
from tests.conftest import add

if TYPE_CHECKING:
    from sessions.commands import Command

pytestmark = pytest.mark.no_cover

KILLS = 6
CALL = "import sys; from tests.test_kill import work; work(*sys.argv[1:])"


def work(url: str, name: str) -> None:
    """Execute commands for ever, and say each answer once it is given."""
    with SessionStore.open(url) as store:
        for number in count():
            session_id = f"{name}-{number}"
            opening: list[Command] = [OpenSession(profile_id="p", coupon="C"), add("a")]
            for done in store.execute_many(session_id, opening, idempotency_key=session_id):
                _say(session_id, done.version, done.position)
            for command in (add("b"), CloseSession()):
                done = store.execute(session_id, command)
                _say(session_id, done.version, done.position)


def _say(*answer: object) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


def _killed_after(url: str, name: str, answers: int, seconds: float) -> list[tuple[str, int, int]]:
    command = [sys.executable, "-c", CALL, url, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        said = [process.stdout.readline() for _ in range(answers)]
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read().splitlines(keepends=True)
    assert process.returncode == -signal.SIGKILL
    whole = [line for line in said if line.endswith(b"\n")]
    return [msgspec.json.decode(line, type=tuple[str, int, int]) for line in whole]


def test_no_answered_command_is_lost_and_the_views_are_whole(
    url: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)
    chosen = random.Random(4711)
    answers: list[tuple[str, int, int]] = []
    for kill in range(KILLS):
        after, seconds = chosen.randrange(1, 60), chosen.random() / 50
        answers += _killed_after(url, f"k{kill}", after, seconds)

    with SessionStore.open(url) as store:
        log = list(store.log())
        assert [recorded.position for recorded in log] == list(range(1, len(log) + 1))
        assert set(answers) <= {(r.stream_id, r.version, r.position) for r in log}
        assert verify(store) == []
        views = CustomerSessions(store).of_profile("p")
        assert [view.first_session for view in views] == [True] + [False] * (len(views) - 1)
        for view in views:
            newest = len(list(store.events(view.integration_id)))
            assert newest >= 3
            assert CustomerSessions(store).get(view.integration_id, version=newest) == view
