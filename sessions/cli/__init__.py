"""The command line: `sessions`."""

from __future__ import annotations

import errno
import logging
import os
import sys
from io import StringIO, TextIOWrapper

import click

from sessions.cli import demo, execute, find, history, import_retail, maintain, projections, read
from sessions.cli.common import complain, without_passwords
from sessions.cli.options import Commands
from sessions.errors import InvalidURL, SessionsError


@click.group(
    cls=Commands, context_settings={"help_option_names": ["--help", "-h"], "show_default": True}
)
@click.version_option(package_name="customer-sessions", message="%(package)s %(version)s")
def app() -> None:
    """Customer sessions, event-sourced: carts that become orders, with all their history.

    Start with "sessions demo". The other commands work on the store that --store or SESSIONS_STORE
    names (default sqlite:///sessions.db), and most of them on one application in it, which
    --application or SESSIONS_APPLICATION names (default 1). Each command has --help.

    Exit codes: 0 done; 1 refused, not found or different; 2 wrong usage; 130 stopped by Ctrl-C (0
    for "projections run" and "log --follow").
    """


for command in (
    *(demo.demo, execute.execute, read.show, read.timeline, history.history, find.find),
    *(read.export, read.log, maintain.init, maintain.verify, maintain.rebuild, maintain.copy),
    *(import_retail.import_retail, projections.app),
):
    app.add_command(command)


_STOPPED = 130
"""The exit code that shells give for Ctrl-C."""


def main() -> None:
    """Run the command line, and turn each error of the library into a line and an exit code."""
    _open_what_is_closed()
    _write_utf8()
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # our errors say enough
    try:
        sys.exit(_ended())
    except InvalidURL as error:
        complain(error)
        sys.exit(2)
    except SessionsError as error:
        complain(error)
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            raise
        _stop_writing(error)
        sys.exit(1)


def _ended() -> int | None:
    """Run a command, write all its output, and return its exit code."""
    try:
        ended: int | None = app.main(standalone_mode=False)
    except click.Abort:
        return _STOPPED
    except click.ClickException as error:
        said = StringIO()
        error.show(said)
        sys.stderr.write(without_passwords(said.getvalue()))  # the bad value may be a URL
        return error.exit_code
    finally:
        sys.stdout.flush()
    return ended


def _stop_writing(error: OSError) -> None:
    """Give up on standard output, and complain, unless its reader has closed the pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # takes what the interpreter flushes at its end
    os.close(nowhere)
    if error.errno != errno.EPIPE:
        complain(f"the output cannot be written: {error.strerror}")


def _write_utf8() -> None:
    """Write UTF-8 whatever the locale says, and escape what cannot be encoded."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _open_what_is_closed() -> None:
    """Replace standard streams that the caller has closed.

    Standard input is then empty, writing to standard output fails, and what goes to standard error
    is lost.
    """
    for name, mode, flag in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, flag)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
