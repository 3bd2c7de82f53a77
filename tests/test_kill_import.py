"""An import that is killed at any moment leaves whole invoices, and goes on where it stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import CustomerSession, CustomerSessions, verify
from sessions import SessionStore, StoreNotFound
from sessions.cli.retail import import_invoices
from sessions.cli.retail_file import read_invoices
from tests.retail_reference import figures
from tests.test_cli_maintain import run
from tests.test_retail import beginning, summary

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.no_cover

KILLS = 3
CALL = "import sys; from tests.test_kill_import import work; work(*sys.argv[1:])"
_ANSWERS = "SELECT idempotency_key, request, answer FROM answers ORDER BY recorded_at"


def _end(store: SessionStore) -> int:
    """Where the log of a store ends that may not be there yet."""
    try:
        return store.position
    except StoreNotFound:
        return 0


def work(url: str, file: str, position: str, seconds: str) -> None:
    """Import a file until the log is longer than that, and then for some seconds."""
    imported = threading.Event()

    def kill() -> None:
        with SessionStore.open(url, read_only=True) as store:
            while _end(store) <= int(position) and not imported.is_set():
                time.sleep(0.002)
        time.sleep(float(seconds))
        os.kill(os.getpid(), signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    run("import-retail", file, "--store", url)
    imported.set()
    killing.join()


def _facts(store: SessionStore) -> tuple[list[Any], list[Any]]:
    log = [(r.stream_id, r.version, r.at, r.event) for r in store.log()]
    return log, store.query(_ANSWERS)


def _views(store: SessionStore) -> list[CustomerSession]:
    rows = store.query("SELECT session_id FROM customer_sessions ORDER BY session_id")
    return [CustomerSessions(store).get(session_id) for (session_id,) in rows]


def test_a_killed_import_leaves_whole_invoices_and_is_finished_by_the_next(
    url: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    file = beginning(tmp_path / "orders.csv", 4000)
    with SessionStore.open("memory:") as never_killed:
        import_invoices(never_killed, read_invoices(file), *2 * [lambda *_: None])
        log, answers = _facts(never_killed)
        views = _views(never_killed)
    chosen = random.Random(4711)
    ends = [0]

    for kill in range(KILLS):
        behind, seconds = max(ends[-1], kill * len(log) // (KILLS + 2)), chosen.random() / 10
        killed = subprocess.run(
            [sys.executable, "-c", CALL, url, str(file), str(behind), str(seconds)],
            cwd=pytestconfig.rootpath,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL

        with SessionStore.open(url) as store:
            assert verify(store) == []
            ends.append(store.position)
            there, answered = _facts(store)
        assert there == log[: ends[-1]]
        assert answered == answers[: len(answered)]
        last = [position for row in answered for _, _, position, _ in msgspec.json.decode(row[2])]
        assert max(last) == ends[-1]

    assert 0 < ends[1] < len(log)
    finished = run("import-retail", str(file), "--json", "--store", url)
    assert summary(finished) == figures(file)
    with SessionStore.open(url) as store:
        assert verify(store) == []
        assert _facts(store) == (log, answers)
        assert _views(store) == views
