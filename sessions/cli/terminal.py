"""What people see on a terminal, by Rich: colours, tables, progress."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sessions.cli.tables import for_people

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

if not os.environ.get("COLUMNS", "").strip("0"):  # 0 columns would be taken at their word
    os.environ.pop("COLUMNS", None)

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def say(text: str, *, title: str) -> None:
    """Say something on standard error."""
    _err.print(Text.assemble((title, "red"), text), soft_wrap=True)


def print_text(title: str, text: str) -> None:
    """Print a line behind a title in bold; nothing in it is markup."""
    _out.print(Text.assemble((title, "bold"), text), soft_wrap=True)


def print_heading(text: str) -> None:
    """Print what the next lines are about."""
    _out.print(Text(f"\n{text}\n", "bold cyan"), soft_wrap=True)


def show(columns: Sequence[Sequence[str]]) -> None:
    """Print a table of columns, each its name and its cells."""
    _out.print(for_people(columns, _out.width))


class _RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, with rate and time left."""
    columns = (
        SpinnerColumn(),
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
