"""The command line where the caller has closed a standard stream."""

import os
import subprocess

import pytest

from sessions import OpenSession, SessionStore
from tests.test_cli_maintain import SESSIONS


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("log >&-", 0), ("log --json >&-", 0), ("execute <&-", 0), ("show nobody 2>&-", 1)],
)
def test_a_closed_stream_is_read_and_written_without_a_complaint(
    url: str, arguments: str, code: int
) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())

    environment = {**os.environ, "SESSIONS_STORE": url}
    shell = ["sh", "-c", f"{SESSIONS} {arguments}"]
    ran = subprocess.run(shell, env=environment, capture_output=True, check=False)  # noqa: S603

    assert (ran.returncode, ran.stderr) == (code, b"")
