"""Scripts in processes of their own."""

from __future__ import annotations

import subprocess
import sys


def printed_by(script: str, *arguments: str) -> str:
    """What a script prints that leaves its store open, and must end with 0 and without a warning.

    Except one: SQLite's connections are closed with their objects, of which Python 3.13 warns.
    """
    strict = ["-W", "error", "-W", "ignore::ResourceWarning"]
    command = [sys.executable, *strict, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
