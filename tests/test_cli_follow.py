"""`sessions init`, and `sessions log` with `--follow` and `--type`."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import pytest

from projections import verify
from sessions import CloseSession, OpenSession, SessionStore
from sessions.events import EVENTS
from tests.conftest import add
from tests.postgres_line import Line
from tests.test_cli_maintain import SESSIONS, run
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    with SessionStore.open(url) as store:
        store.execute_many("order-1", [OpenSession(), add(), CloseSession()])
        yield store


@pytest.fixture
def _in_the_foreground() -> Iterator[None]:
    """Ctrl-C is for the processes that are started; a shell lets those behind it ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_init_makes_the_store_and_makes_it_once(url: str) -> None:
    for _ in range(2):
        assert run("init", "--store", url).out == "the store is ready\n"
    with SessionStore.open(url, read_only=True) as made:
        assert made.position == 0
        assert verify(made) == []


def test_log_shows_only_the_types_that_are_asked_for(store: SessionStore, url: str) -> None:
    assert store.position == 3
    shown = run("log", "--store", url, "--type", "SessionClosed", "--type", "ItemAdded", "--json")
    assert [line["type"] for line in shown.json] == ["ItemAdded", "SessionClosed"]


@pytest.mark.parametrize("follow", [[], ["--follow"]])
def test_a_type_that_does_not_exist_is_wrong_usage_and_those_that_there_are_are_named(
    store: SessionStore, url: str, follow: list[str]
) -> None:
    assert store.position == 3
    ran = run("log", "--store", url, "--type", "ItemAdded", "--type", "ItemAded", *follow)
    assert ran.code == 2
    assert f"'ItemAded' is not one of {', '.join(map(repr, EVENTS))}." in ran.err


@pytest.mark.usefixtures("_in_the_foreground")
def test_follow_shows_what_comes_as_it_comes(store: SessionStore, url: str) -> None:
    command = [SESSIONS, "log", "--store", url, "--follow", "--json", "--after", "2"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following,
        ExitStack() as finally_,
    ):
        finally_.callback(following.kill)
        assert following.stdout is not None
        assert msgspec.json.decode(following.stdout.readline())["position"] == 3
        for number in range(2):
            store.execute(f"new-{number}", OpenSession())
            assert msgspec.json.decode(following.stdout.readline())["streamId"] == f"new-{number}"
        following.send_signal(signal.SIGINT)
        assert following.wait(SOON) == 0
        assert following.stdout.read() == ""


def test_follow_ends_after_as_many_as_are_asked_for(store: SessionStore, url: str) -> None:
    assert store.position == 3
    ran = run("log", "--store", url, "--follow", "--limit", "2")
    assert [row.split("\t")[0] for row in ran.rows] == ["position", "1", "2"]

    ran = run("log", "--store", url, "--follow", "--limit", "1", "--type", "SessionClosed")
    assert [row.split("\t")[0] for row in ran.rows] == ["position", "3"]


@pytest.mark.parametrize("stdout", ["pipe", "socket"])
@pytest.mark.parametrize("form", [["--after", "3"], ["--after", "2", "--json"]])
def test_follow_ends_when_nobody_reads_it_any_more_though_nothing_comes(
    store: SessionStore, url: str, form: list[str], stdout: str
) -> None:
    assert store.position == 3
    ours, theirs = socket.socketpair()
    command = [SESSIONS, "log", "--store", url, "--follow", *form]
    with (
        ours,
        theirs,
        subprocess.Popen(
            command,
            stdout=theirs.fileno() if stdout == "socket" else subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as following,
        ExitStack() as finally_,
    ):
        finally_.callback(following.kill)
        theirs.close()
        read = following.stdout or ours.makefile("rb")
        assert read.readline()

        read.close()
        ours.close()

        assert following.wait(SOON) == 1
        assert following.stderr is not None
        assert following.stderr.read() == b""


@pytest.mark.usefixtures("_in_the_foreground")
def test_follow_says_nothing_of_a_server_that_comes_back(postgres_url: str) -> None:
    with (
        Line(postgres_url) as line,
        SessionStore.open(postgres_url) as store,
        ExitStack() as finally_,
    ):
        store.execute("a", OpenSession())
        command = [SESSIONS, "log", "--store", line.url, "--follow", "--json"]
        pipe = subprocess.PIPE
        following = finally_.enter_context(subprocess.Popen(command, stdout=pipe, stderr=pipe))
        finally_.callback(following.kill)
        assert following.stdout is not None
        assert b'"streamId":"a"' in following.stdout.readline()

        line.turn_away = 8
        line.cut()
        line.mend()
        until(lambda: not line.turn_away)

        store.execute("b", OpenSession())
        assert b'"streamId":"b"' in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.communicate(timeout=SOON) == (b"", b"")


def test_follow_complains_of_a_store_that_is_not_there(url: str) -> None:
    assert run("log", "--store", url, "--follow").code == 1
