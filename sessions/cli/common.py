"""What the commands share: opening a store to read it, output, and progress."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from projections.pages import applications_of
from sessions import clock
from sessions.documents import to_json
from sessions.sql.shown_url import without_password
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from types import ModuleType

    from sessions.errors import SessionsError

_URL = re.compile(r"\w+:/.*", re.DOTALL)

_ROWS_OF_A_TABLE = 500
"""Rows that are read before the first is shown: they decide how wide the table is."""


@contextmanager
def reading(url: str, application: int, *, says: bool = True) -> Iterator[SessionStore]:
    """Open a store for reading; if the application has no events, say which ones have."""
    with SessionStore.open(url, application, read_only=True) as opened:
        if says and opened.exists and not opened.position:
            others = ", ".join(map(str, applications_of(opened.rows)))
            if others:
                remark(
                    f"application {application} has no events; applications with events: {others}"
                )
        yield opened


def time_text(moment: datetime) -> str:
    """A UTC time for people: to the second on a terminal, with all digits elsewhere."""
    whole = clock.text(moment)
    return f"{whole.partition('.')[0]}Z" if is_terminal() else whole


def is_terminal() -> bool:
    """Whether a person reads the output; asking for colours does not make a pipe a terminal."""
    return sys.stdout.isatty()


def complain(error: SessionsError | str) -> None:
    """Report an error on standard error."""
    _say(_harmless(without_passwords(str(error))), title="error: ")


def without_passwords(text: str) -> str:
    """A text without the passwords of the URLs that are anywhere on the command line."""
    for argument in sys.argv:
        for url in _URL.findall(argument):
            text = text.replace(repr(url)[1:-1], without_password(url))
            text = text.replace(url, without_password(url))
    return text


def counted(number: int, noun: str) -> str:
    """A number of things: "1 event", "2 events"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def remark(text: str) -> None:
    """Write a note for people to standard error."""
    _say(_harmless(text))


def _say(text: str, *, title: str = "") -> None:
    if sys.stderr.isatty():
        _terminal().say(text, title=title)
    else:
        sys.stderr.write(f"{title}{text}\n")


def print_line(line: str) -> None:
    """Print a line for programs, and flush it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_json(value: object) -> None:
    """Print a value as one line of JSON, with its keys in their order."""
    print_line(to_json(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as tables on a terminal, and elsewhere as tab-separated lines as they come.

    If reading the first row raises an error, nothing has been printed yet.
    """
    shown = (["" if cell is None else _harmless(str(cell)) for cell in row] for row in rows)
    if is_terminal():
        part = list(islice(shown, _ROWS_OF_A_TABLE))
        while True:
            _terminal().show(list(zip(columns, *part, strict=True)))
            part = list(islice(shown, _ROWS_OF_A_TABLE))
            if not part:
                return
            print_text("")
    first = list(islice(shown, 1))
    for line in chain([list(columns)], first, shown):
        sys.stdout.write("\t".join(line) + "\n")


def print_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as tab-separated lines, and flush each."""
    for row in chain([columns], rows):
        print_line("\t".join(_harmless(str(cell)) for cell in row))


def print_text(text: str, *, title: str = "") -> None:
    """Print a line for people, after a title in bold; markup is printed as it is."""
    shown = _harmless(title), "  " * bool(title) + _harmless(text)
    if is_terminal():
        _terminal().print_text(*shown)
    else:
        sys.stdout.write("".join(shown) + "\n")


def print_heading(text: str) -> None:
    """Print a heading for the lines that follow."""
    if is_terminal():
        _terminal().print_heading(text)
    else:
        sys.stdout.write(f"\n{text}\n\n")


def _harmless(text: str) -> str:
    """A text with whatever could break a line or control a terminal escaped."""
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])


@contextmanager
def resumable() -> Iterator[None]:
    """Say, if the command is stopped, that it can be resumed."""
    try:
        yield
    except KeyboardInterrupt:
        remark("stopped: run the same command again to resume")
        raise click.Abort from None


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, with rate and time left, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _, __: None
        return
    with _terminal().progress(what) as told:
        yield told


def _terminal() -> ModuleType:
    """The module that uses Rich, whose import takes a fifth of the time of a short command."""
    from sessions.cli import terminal  # noqa: PLC0415  only people need it

    return terminal
