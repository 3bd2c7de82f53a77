"""The command line where a standard stream is closed, or takes no more."""

import os
import subprocess
from pathlib import Path

import pytest

from sessions import OpenSession, SessionStore
from tests.conftest import add
from tests.test_cli_maintain import SESSIONS


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("execute <&-", 0), ("show nobody 2>&-", 1)],
)
def test_a_closed_stream_is_read_and_written_without_a_complaint(
    url: str, arguments: str, code: int
) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())

    assert ended(url, arguments) == (code, b"")


CLOSED = b"error: the output cannot be written: Bad file descriptor\n"


@pytest.mark.parametrize("arguments", ["log", "log --json", "show s", "find", "--help"])
def test_an_output_that_is_closed_is_one_line_of_complaint(url: str, arguments: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())

    assert ended(url, f"{arguments} >&-") == (1, CLOSED)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="the system has no such file")
@pytest.mark.parametrize("command", ["execute", "import-retail"])
def test_an_input_that_cannot_be_read_is_one_line_of_complaint(
    sqlite_url: str, command: str
) -> None:
    complaint = b"error: /proc/self/mem cannot be read: Input/output error\n"

    assert ended(sqlite_url, f"{command} /proc/self/mem") == (1, complaint)


FULL = b"error: the output cannot be written: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["show s", "show s --json", "log", "log --json", "--help"])
def test_an_output_that_takes_no_more_is_one_line_of_complaint(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, command: str, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with SessionStore.open(sqlite_url) as store:
        store.execute("s", OpenSession())
        store.execute_many("s", [add(f"{i}") for i in range(100)])

    assert ended(sqlite_url, f"{command} >/dev/full") == (1, FULL)


@pytest.mark.parametrize("command", ["show s", "log", "log --json"])
def test_a_pipe_that_nobody_reads_is_left_without_a_complaint(
    sqlite_url: str, command: str
) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("s", OpenSession())

    assert ended(sqlite_url, f"{command} | true") == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("command", ["show köln-€", "show köln-€ --json", "log", "log --json"])
def test_what_is_written_is_utf_8_whatever_the_locale_is(
    sqlite_url: str, command: str, encoding: str
) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("köln-€", OpenSession())
    environment = {**os.environ, "SESSIONS_STORE": sqlite_url, "PYTHONIOENCODING": encoding}

    ran = subprocess.run(
        [SESSIONS, *command.split()], env=environment, capture_output=True, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert "köln-€" in ran.stdout.decode()


def ended(url: str, arguments: str) -> tuple[int, bytes]:
    """The exit code of the command line in a shell, and what it complained about."""
    environment = {**os.environ, "SESSIONS_STORE": url}
    shell = ["sh", "-c", f"{SESSIONS} {arguments}"]
    ran = subprocess.run(shell, env=environment, capture_output=True, check=False)
    return ran.returncode, ran.stderr
