"""`sessions projections`: list, status, run, rebuild, verify, parked, retry, skip, drop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import Column, Projection, Runner, StoredProjection, rebuild, verify
from projections.customer_session import PROJECTION
from sessions import CloseSession, OpenSession, SessionStore
from sessions.views.installed import installed
from tests.conftest import add
from tests.sample_projections import BAD, SALES, SPEND, followed
from tests.tampering import change
from tests.test_cli_maintain import run
from tests.test_runner import is_held
from tests.waiting import SOON, come, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = """
import importlib.metadata
from sessions.views.installed import GROUP
from tests.sample_projections import SALES, SPEND
class Entry:
    def __init__(self, projection): self.projection = projection
    def load(self): return self.projection
found = importlib.metadata.entry_points(group=GROUP)
from sessions.views import installed
installed.entry_points = lambda **_: [*found, Entry(SALES), Entry(SPEND)]
from sessions.cli import main
main()
"""
"""The command line where two more projections are installed."""


class Entry:
    """A projection that is installed."""

    def __init__(self, projection: Projection[Any]) -> None:
        self._projection = projection

    def load(self) -> Projection[Any]:
        return self._projection


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two more projections are installed: sales and spend."""

    entries = [Entry(each) for each in followed(SALES, SPEND)]
    installed.cache_clear()
    monkeypatch.setattr("sessions.views.installed.entry_points", lambda **_: entries)
    yield
    installed.cache_clear()


@pytest.fixture
def store(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStore]:
    """A store whose session "a" waits in sales, once it is followed."""
    monkeypatch.setenv("SESSIONS_STORE", url)
    with SessionStore.open(url) as store:
        store.execute("a", OpenSession(profile_id="p"))
        store.execute("a", add(BAD))
        store.execute("a", add("x"))
        store.execute("b", OpenSession(profile_id="p"))
        yield store


def projections(*arguments: str) -> Any:
    return run("projections", *arguments)


# --- list and status


@pytest.mark.usefixtures("store")
def test_list_shows_how_each_is_run() -> None:
    shown = projections("list")

    assert (shown.code, shown.err) == (0, "")
    assert next(row.split("\t") for row in shown.rows) == [
        "name",
        "version",
        "installed",
        "mode",
        "status",
        "build",
    ]
    assert [row.split("\t")[:5] for row in shown.rows[1:]] == [
        ["attachments", "1", "1", "inline", "current"],
        ["customer_sessions", "1", "1", "inline", "current"],
        ["sales", "1", "1", "followed", "current"],
        ["spend", "1", "1", "followed", "current"],
    ]
    assert [row["name"] for row in projections("list", "--json").json] == [
        "attachments",
        "customer_sessions",
        "sales",
        "spend",
    ]


def test_status_shows_how_far_each_has_come(store: SessionStore) -> None:
    assert projections("run", "--once").code == 0
    store.execute("c", OpenSession())

    shown = {row["name"]: row for row in projections("status", "--json").json}

    assert shown["customer_sessions"]["position"] == 5
    sales = shown["sales"]
    assert (sales["position"], sales["lagEvents"], sales["parked"]) == (4, 1, 1)
    assert 0 <= sales["lagSeconds"] < 600
    assert (sales["rate"], shown["spend"]["parked"]) == (0.0, 0)
    header, *rows = [row.split("\t") for row in projections("status").rows]
    assert header[-5:] == ["position", "lagEvents", "lagSeconds", "rate", "parked"]
    assert [row[-1] for row in rows] == ["0", "0", "1", "0"]
    position, lag_events, lag_seconds, rate, _ = rows[2][-5:]
    assert (position, lag_events, rate) == ("4", "1", "0.0")
    assert re.fullmatch(r"\d+\.\d", lag_seconds)


# --- run


def test_run_once_ends_when_all_have_come_to_the_end(store: SessionStore) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    ran = projections("run", "--once")

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert StoredProjection(store, SALES).position == 4
    assert StoredProjection(store, SPEND).position == 4
    assert projections("run", "--once", "spend").code == 0
    assert verify(store) == []


def test_run_follows_only_what_it_is_named(store: SessionStore) -> None:
    assert projections("run", "--once", "spend").code == 0

    assert (StoredProjection(store, SALES).position, StoredProjection(store, SPEND).position) == (
        0,
        4,
    )


def test_run_once_ends_with_an_event_that_it_cannot_read(store: SessionStore, url: str) -> None:
    change(url, "UPDATE events SET type = 'Unheard' WHERE position = 3")

    ran = projections("run", "--once")

    assert (ran.code, "Unheard (version 1) at position 3" in ran.err) == (1, True)
    assert StoredProjection(store, SALES).position == 2


def test_run_says_as_json_how_far_each_has_come_at_its_end(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 18.0, 20.0, 24.0])
    timed = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("sessions.cli.projections.time", timed)

    ran = projections("run", "--once", "--json")

    assert (ran.code, ran.err) == (0, "")
    sales, spend = ran.json
    (as_status,) = (row for row in projections("status", "--json").json if row["name"] == "sales")
    assert sales | {"rate": 0.0} == as_status
    assert (sales["position"], sales["parked"], sales["rate"]) == (4, 1, 0.5)
    assert spend["name"] == "spend"
    store.execute("c", OpenSession())
    (again,) = projections("run", "spend", "--once", "--json").json
    assert (again["position"], again["lagEvents"], again["rate"]) == (5, 0, 0.25)


NONE = "no projection to follow here: see `sessions projections list`\n"


def test_run_once_where_nothing_is_followed_says_so(store: SessionStore) -> None:
    rebuild(store, mode="inline")

    assert projections("run", "--once") == (0, "", NONE)


@pytest.mark.usefixtures("store")
def test_run_says_so_too_where_what_is_followed_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = tuple(each for each in installed() if each.mode == "inline")
    monkeypatch.setattr("sessions.store.installed", lambda: ours)

    assert projections("run", "--once", "--json") == (0, "", NONE)


@contextmanager
def running(url: str, directory: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that follows, as a process manager starts it."""
    command = [sys.executable, "-c", SITE, "projections", "run", *names, "--store", url]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it says to people."""
    assert process.stderr is not None
    return process.stderr.readline()


def ended(
    process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM
) -> tuple[int, str, str]:
    """What it leaves when it is asked to end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)
    return process.returncode, out, err


def test_run_waits_where_nothing_is_followed_until_something_is(
    store: SessionStore, url: str, pytestconfig: pytest.Config
) -> None:
    rebuild(store, mode="inline")

    with running(url, pytestconfig.rootpath, "customer_sessions") as process:
        assert said(process) == NONE.replace("see", "waiting for one; see")
        rebuild(store, names=["customer_sessions"], mode="followed")
        last = store.execute("c", OpenSession()).position
        until(lambda: StoredProjection(store, PROJECTION).position == last)
        assert ended(process) == (0, "", "")


def test_run_waits_for_a_store_that_nobody_has_made_yet(
    sqlite_url: str, pytestconfig: pytest.Config
) -> None:
    with running(sqlite_url, pytestconfig.rootpath) as process:
        assert said(process).startswith("there is no store yet: waiting for the first command")
        with SessionStore.open(sqlite_url) as store:  # which knows it already, as fixtures have it
            done = store.execute("a", OpenSession(profile_id="p"))
            come(StoredProjection(store, SPEND), done.position)
        assert ended(process)[0] == 0


def test_run_says_why_it_does_not_follow_and_when_that_changes(
    store: SessionStore, url: str, pytestconfig: pytest.Config
) -> None:
    Runner(store).run(until=4)
    database = store.recorder.database
    others = [each for each in installed() if each.name != "spend"]
    newer = SessionStore(
        database, 1, read_only=True, projections=[*others, replace(SPEND, version=2)]
    )

    with running(url, pytestconfig.rootpath, "spend") as process:
        come(StoredProjection(store, SPEND), 4)
        until(lambda: is_held(store))
        rebuild(newer, names=["spend"], mode="followed")
        because = "the store keeps spend 2, but this process has spend 1"
        assert said(process) == f"spend is not followed by this process: {because}\n"
        rebuild(store, names=["spend"], mode="inline", allow_older=True)
        because = "its mode in the store is inline"
        assert said(process) == f"spend is not followed by this process: {because}\n"
        rebuild(store, names=["spend"], mode="followed")
        assert said(process) == "spend can be followed by this process again\n"
        until(lambda: is_held(store))
        assert ended(process) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_when_what_is_at_work_is_committed(
    store: SessionStore, url: str, pytestconfig: pytest.Config, number: signal.Signals
) -> None:
    with running(url, pytestconfig.rootpath) as process:
        come(StoredProjection(store, SPEND), 4)
        last = store.execute("c", OpenSession()).position
        come(StoredProjection(store, SPEND), last)
        parked = "sales of 'a' is parked at position 2 (ItemAdded): ValueError('a bad item')\n"
        assert ended(process, number) == (0, "", parked)
    Runner(store).run(until=last)
    assert verify(store) == []


def test_run_says_at_its_end_what_it_has_left_to_a_newer_process(
    store: SessionStore, url: str, pytestconfig: pytest.Config
) -> None:
    change(url, "UPDATE events SET type = 'Unheard' WHERE position = 3")
    because = "event Unheard (version 1) at position 3 is from a newer library: upgrade"

    with running(url, pytestconfig.rootpath, "spend") as process:
        assert said(process) == f"this process leaves spend to a newer one: {because}\n"
        assert ended(process) == (0, "", f"spend: {because}\n")
    assert StoredProjection(store, SPEND).position == 2


# --- rebuild and drop


def test_rebuild_builds_what_it_is_named_in_a_mode(store: SessionStore) -> None:
    plain = projections("rebuild", "spend", "--mode", "inline")
    json = projections("rebuild", "spend", "--json")

    assert (plain.code, plain.out) == (0, "rebuilt from 4 events: spend 1\n")
    (done,) = json.json
    assert (done["projections"], done["events"], done["switched"]) == (["spend 1"], 4, True)
    assert done["compared"] == [
        {"projection": "spend 1", "applicationId": 1, "views": 1, "differing": []}
    ]
    store.execute("c", OpenSession(profile_id="p"))
    assert store.query("SELECT profile_id, opened FROM spend") == [("p", 3)]


def test_rebuild_says_by_which_option_an_older_version_is_allowed(store: SessionStore) -> None:
    newer = [replace(SPEND, version=2)]
    newer_process = SessionStore(store.recorder.database, 1, read_only=True, projections=newer)
    rebuild(newer_process, names=["spend"])

    refused = projections("rebuild", "spend")

    assert (refused.code, refused.out) == (1, "")
    option = "run `sessions projections rebuild --allow-older` (in Python: `allow_older`)"
    assert refused.err == (
        "error: the store keeps spend 2, but this process has spend 1: "
        f"upgrade this process, or {option}\n"
    )
    assert projections("rebuild", "spend", "--allow-older").code == 0


@pytest.mark.usefixtures("store")
def test_rebuild_says_what_waits_and_what_differed(url: str) -> None:
    projections("run", "--once")
    change(url, "UPDATE spend SET opened = 9")

    ran = projections("rebuild")

    assert ran.rows == [
        "rebuilt from 4 events: attachments 1, customer_sessions 1, sales 1, spend 1",
        "spend 1  1 view differed from the log, which makes 1",
        "1 key parked: see `sessions projections parked`",
    ]


def test_a_rebuild_that_is_interrupted_says_that_it_can_be_gone_on_with(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("projections.rebuilding.catching_up.count_of_events", interrupted)
        ran = projections("rebuild", "spend")

    assert (ran.out, ran.err) == ("", "stopped: run the same command again to resume\n")
    building = [
        row["build"] for row in projections("list", "--json").json if row["status"] == "building"
    ]
    assert projections("rebuild", "spend").code == 0
    assert store.query(
        "SELECT build FROM projections WHERE name = 'spend' AND status = 'current'"
    ) == [tuple(building)]


def test_a_rebuild_that_goes_on_with_an_earlier_attempt_says_so(store: SessionStore) -> None:
    assert not rebuild(store, names=["spend"], stop=lambda: True).switched

    assert projections("rebuild", "spend").rows == [
        "rebuilt from 4 events, 4 of them by an earlier attempt: spend 1"
    ]


def test_drop_removes_what_a_rebuild_has_left(store: SessionStore) -> None:
    rebuild(store, names=["spend"])

    assert projections("drop", "spend").out == "dropped spend 1\n"
    assert projections("drop", "spend").out == "there is nothing to drop\n"


def test_what_is_uninstalled_is_taken_out(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(store, names=["spend"], mode="inline")
    without = tuple(each for each in installed() if each.name != "spend")
    monkeypatch.setattr("sessions.store.installed", lambda: without)
    opening = b'{"command":"open","integrationId":"c"}\n'
    assert "run `sessions rebuild`" in run("execute", stdin=opening).err

    ran = run("rebuild")

    assert ran.rows[1] == "spend 1  not installed here, so no longer kept"
    assert "spend\t1\t\tinline\told\t" in projections("list").out
    assert run("execute", stdin=opening).code == 0
    assert projections("drop", "spend").rows == ["dropped spend 1"]
    assert "spend" not in projections("list").out
    assert projections("verify").code == 0


# --- parked, retry, skip


def test_what_waits_is_shown_and_skipped(store: SessionStore) -> None:
    projections("run", "--once")

    ran = projections("parked")
    assert ran.rows[0] == "projection\tkey\tposition\ttype\terror\tparkedAt"
    assert re.search(r"\t[\d-]{10}T[\d:]{8}\.\d{6}Z$", ran.rows[1])
    assert [row.split("\t")[:5] for row in ran.rows[1:]] == [
        ["sales", "a", "2", "ItemAdded", "ValueError('a bad item')"]
    ]
    (shown,) = projections("parked", "--json").json
    assert (shown["projection"], shown["key"], shown["position"]) == ("sales", "a", 2)

    again = projections("retry", "sales", "a")
    assert (again.code, again.err) == (1, "")
    assert again.out == "sales of 'a' is parked again: see `sessions projections parked`\n"
    assert projections("skip", "sales", "a") == (0, "sales of 'a' is no longer parked\n", "")
    assert projections("parked", "--json").out == ""
    refused = projections("skip", "sales", "a")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "error: sales of 'a' is not parked\n"
    assert StoredProjection(store, SALES).get("a") is not None
    assert verify(store) == []


@pytest.mark.usefixtures("store")
def test_a_key_that_is_none_of_its_column_is_named_as_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbered = replace(SPEND, name="numbered", key=Column("number", "integer"))
    monkeypatch.setattr("sessions.store.installed", lambda: [*followed(), numbered])
    assert projections("run", "--once").code == 0
    assert projections("parked").rows[1].split("\t")[:2] == ["numbered", "(str) 'p'"]

    again = projections("retry", "numbered", "(str) 'p'")
    skipped = projections("skip", "numbered", "(str) 'p'")

    assert again.rows == [
        """numbered of "(str) 'p'" is parked again: see `sessions projections parked`"""
    ]
    assert skipped.out == again.out
    assert projections("retry", "numbered", "p").code == 1


@pytest.mark.usefixtures("store")
def test_verify_names_the_first_event(url: str) -> None:
    projections("run", "--once")
    assert projections("verify").out == "4 events: every view matches the log\n"
    change(url, "UPDATE spend SET opened = 1")

    ran = projections("verify")

    assert ran.code == 1
    assert ran.rows[1:] == ["1\t4\tspend\tp\topened\t1\t2"]


@pytest.mark.parametrize("command", [("verify",), ("projections", "verify")])
@pytest.mark.usefixtures("store")
def test_what_is_live_has_no_rows_to_be_verified(command: tuple[str, ...]) -> None:
    assert projections("rebuild", "sales", "--mode", "live").code == 0

    ran = run(*command)

    assert (ran.code, ran.out) == (0, "4 events: every view matches the log\n")


@pytest.mark.usefixtures("store")
def test_verify_asks_no_relation_of_a_version_that_is_not_built_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = (*SALES.rows, msgspec.structs.replace(SALES.rows[0], name="more_lines"))
    newer = {"sales": replace(SALES, version=2, mode="followed", rows=rows)}
    entries = [Entry(newer.get(each.name, each)) for each in installed()]
    monkeypatch.setattr("sessions.views.installed.entry_points", lambda **_: entries)
    installed.cache_clear()

    ran = projections("verify")

    assert ran.code == 1
    assert ran.rows[1:] == ["1\t\tprojections\tsales\tversion\t1\t2"]
    assert "the store keeps sales 1, but sales 2 is installed here" in ran.err


# --- wrong input

WRONG = [
    (["rebuild", "spent"], 1, "there is no projection 'spent'"),
    (["run", "--once", "spent"], 1, "there is no projection 'spent'"),
    (["retry", "spent", "a"], 1, "there is no projection 'spent'"),
    (["skip", "spent", "a"], 1, "there is no projection 'spent'"),
    (["drop", "spent"], 1, "there is no projection 'spent'"),
    (["retry", "sales", "z"], 1, "sales of 'z' is not parked"),
    (["retry", "sales", "-59"], 1, "sales of '-59' is not parked"),
    (["skip", "sales", "-hello"], 1, "sales of '-hello' is not parked"),
    (["skip", "sales", "-59"], 1, "sales of '-59' is not parked"),
    (["retry", "attachments", "7"], 1, "attachments of 7 is not parked"),
    (["retry", "attachments", "z"], 1, "attachments of 'z' is not parked"),
    (["rebuild", "--mode", "lively"], 2, "lively"),
    (["rebuild", "customer_sessions", "--mode", "live"], 1, "since queries in SQL need"),
    (["retry", "sales"], 2, "KEY"),
    (["nothing"], 2, "nothing"),
]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("arguments", "code", "said"), WRONG, ids=str)
def test_what_it_cannot_mean_is_refused(arguments: list[str], code: int, said: str) -> None:
    ran = projections(*arguments)

    assert (ran.code, ran.out, said in ran.err) == (code, "", True)


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "status",
        "run --once",
        "rebuild",
        "verify",
        "parked",
        "retry sales a",
        "skip sales a",
        "drop sales",
    ],
)
def test_where_no_store_is_none_is_made(
    command: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONS_STORE", url)

    ran = projections(*command.split())

    assert (ran.code, ran.out, "there is no store" in ran.err) == (1, "", True)
    assert list(tmp_path.iterdir()) == []


def test_another_application_is_asked_for(store: SessionStore, url: str) -> None:
    assert store.position == 4
    with SessionStore.open(url, 7) as other:
        other.execute("a", OpenSession())
        other.execute("a", CloseSession())
        assert projections("run", "--once", "--application", "7").code == 0
        assert StoredProjection(other, SALES).position == 2
        shown = projections("status", "--application", "7", "--json").json
        assert [row["position"] for row in shown] == [2, 2, 2, 2]
        assert StoredProjection(store, SALES).position == 0
