"""The command line: `sessions`."""

from __future__ import annotations

import errno
import logging
import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sessions.cli import demo, execute, find, history, import_retail, maintain, projections, read
from sessions.cli.common import FLAG, complain, print_line, without_passwords
from sessions.errors import InvalidURL, SessionsError


class _Commands(TyperGroup):
    """All commands: what is wrong with their usage may repeat a URL, but not its password."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  typer has moved its class
        """Run a command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            wrong: Any = error
            if hasattr(wrong, "format_message"):
                wrong.message = without_passwords(wrong.message)
            raise


def _print_version(asked: bool) -> None:  # noqa: FBT001  as typer calls it
    if asked:
        print_line(f"customer-sessions {version('customer-sessions')}")
        raise typer.Exit


app = typer.Typer(
    name="sessions",
    cls=_Commands,
    help=(
        "Customer sessions, event-sourced: carts that become orders, with all their history.\n\n"
        "Begin with **sessions demo**. Everything else works on the store that --store "
        "or SESSIONS_STORE names (sqlite:///sessions.db) and on the application that "
        "--application or SESSIONS_APPLICATION names (1).\n\n"
        "Exit codes: 0 done, 1 refused, not found or different, 2 wrong usage, 130 stopped."
    ),
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _sessions(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar=FLAG,
            is_eager=True,
            callback=_print_version,
            help="Show the version of the library.",
        ),
    ] = False,
) -> None: ...


app.command("demo")(demo.demo)
app.command("execute", epilog=f"The commands: {execute.TAGS}.")(execute.execute)
app.command("show")(read.show)
app.command("timeline")(read.timeline)
app.command("history")(history.history)
app.command("find")(find.find)
app.command("export")(read.export)
app.command("log")(read.log)
app.command("init")(maintain.init)
app.command("verify")(maintain.verify)
app.command("rebuild")(maintain.rebuild)
app.command("copy")(maintain.copy)
app.add_typer(projections.app, name="projections")
app.command("import-retail")(import_retail.import_retail)


def main() -> None:
    """Run the command line; errors of the library become a line and an exit code."""
    _open_what_is_closed()
    _write_utf8()
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # our errors say what matters
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
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


def _stop_writing(error: OSError) -> None:
    """Standard output takes no more: who has closed a pipe knows, and all others are told."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # where the interpreter writes the rest when it ends
    os.close(nowhere)
    if error.errno != errno.EPIPE:
        complain(f"the output cannot be written: {error.strerror}")


def _write_utf8() -> None:
    """JSON is UTF-8 whatever the locale is, and nothing that is shown may end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _open_what_is_closed() -> None:
    """A standard stream that the caller has closed reads nothing, and fails where it is written.

    What would be said on standard error is lost.
    """
    for name, mode, flag in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, flag)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
