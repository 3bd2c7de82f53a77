"""Output on a terminal with Rich: colours, tables, progress."""

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

if not os.environ.get("COLUMNS", "").strip("0"):  # Rich would believe 0 columns
    os.environ.pop("COLUMNS", None)

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def say(text: str, *, title: str) -> None:
    """Write a line to standard error, after a title in red."""
    _err.print(Text.assemble((title, "red"), text), soft_wrap=True)


def print_text(title: str, text: str) -> None:
    """Print a line after a title in bold; markup is printed as it is."""
    _out.print(Text.assemble((title, "bold"), text), soft_wrap=True)


def print_heading(text: str) -> None:
    """Print a heading for the lines that follow."""
    _out.print(Text(f"\n{text}\n", "bold cyan"), soft_wrap=True)


def show(columns: Sequence[Sequence[str]]) -> None:
    """Print a table of columns (each its name and its cells)."""
    _out.print(for_people(columns, _out.width))


class _RateColumn(ProgressColumn):
    """The rate per second."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, with rate and time left."""
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
