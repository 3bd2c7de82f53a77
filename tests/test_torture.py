"""Whatever happens to processes and servers, the log is exactly what was asked and answered.

A short `python -m tests.torture`, which says more and goes on for longer.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.torture.faults import OwnServer
from tests.torture.rounds import Rounds, Torture

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ROUNDS = 3
SQLITE_SEED = 25
POSTGRES_SEED = 0


def _run(torture: Torture) -> None:
    with ExitStack() as opened:
        rounds = Rounds(torture)
        opened.callback(rounds.close)
        for number in range(1, ROUNDS + 1):
            rounds.run(number)
        rounds.check_all()
        assert rounds.figures["answered"] > 0


def _torture(url: str, directory: Path, seed: int, server: OwnServer | None = None) -> Torture:
    return Torture(url, directory, seed, processes=3, threads=3, seconds=1, server=server)


def test_processes_that_are_killed_and_paused_leave_what_they_were_answered(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)

    _run(_torture(sqlite_url, tmp_path, SQLITE_SEED))


def test_a_server_that_stops_and_cuts_connections_loses_and_doubles_nothing(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    monkeypatch.chdir(pytestconfig.rootpath)
    if "SESSIONS_TEST_POSTGRES" in os.environ:  # it is not ours to stop
        _run(_torture(request.getfixturevalue("postgres_url"), tmp_path, POSTGRES_SEED))
        return
    server = OwnServer(tmp_path / "server")  # other tests need theirs
    with ExitStack() as finally_:
        finally_.callback(server.close)
        _run(_torture(f"{server.url}&schema=torture", tmp_path, POSTGRES_SEED, server))
