"""Whatever happens to processes and servers, the log is exactly what was asked and answered.

A short `python -m tests.torture`, which says more and goes on for longer.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING

import psycopg
import pytest

from sessions import BatchFailed, OpenSession, SessionStore
from tests.torture import journal
from tests.torture.asking import Wanted
from tests.torture.disturbed import Disturbed
from tests.torture.faults import OwnServer
from tests.torture.interrupting import Alarmed, Signals
from tests.torture.journal import Ended
from tests.torture.rounds import Rounds, Torture

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.no_cover

ROUNDS = 3
SQLITE_SEED = 25
POSTGRES_SEED = 0


class _Alarms:
    """Cuts the connection of a batch, and hides the error that comes of it."""

    def __init__(self, store: SessionStore, postgres: str) -> None:
        self._store, self._postgres = store, postgres
        self.entered, self.came = 0, False

    def __enter__(self) -> None:
        self.entered += 1
        if self.entered == 2:  # before the first command the batch has no connection yet
            ((pid,),) = self._store.query("SELECT pg_backend_pid()")
            with psycopg.connect(self._postgres, autocommit=True) as connection:
                connection.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, BatchFailed):
            self.came = True
            raise Alarmed from error


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


def test_an_alarm_that_hides_what_a_batch_was_lost_with_makes_its_end_nothing_unexpected(
    tmp_path: Path, postgres: str, postgres_url: str
) -> None:
    with SessionStore.open(postgres_url) as store:
        caller = Disturbed(
            store, "1.0.main", tmp_path, 0, signals=Signals(Random(0)), url=postgres_url
        )
        alarms = _Alarms(store, postgres)
        caller._within_each = alarms

        while not alarms.came:  # some batches are interrupted as a whole
            new = [f"{alarms.entered}-{number}" for number in range(3)]
            caller._batch([Wanted("one", [(each, OpenSession())]) for each in new], pauses=False)

        caller._journal.close()

    lines = list(journal.read(list(tmp_path.iterdir())))
    ended = [line for line in lines if isinstance(line, Ended)]
    assert [(end.expected, "StoreUnavailable" in end.text) for end in ended[-3:]] == [
        (True, True)
    ] * 3


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
