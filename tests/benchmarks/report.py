"""The table, for people at a terminal and for the documentation."""

import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.measuring import Row

HEADINGS = ("what", "against", "ours", "other", "ratio", "target", "reached")
NOTE = (
    "Figures are medians of rounds in which the sides take turns; a ratio is the median of the "
    "rounds' ratios. `>=` asks how many times as fast as the other ours is, `<=` how many times "
    "as much it costs. Every side commits durably (SQLite: WAL, `synchronous=FULL`; PostgreSQL: "
    "`fsync` and `synchronous_commit` on). Of a whole log, ours keeps its views where the other "
    "side keeps what it makes."
)


def show(rows: Sequence[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for row in rows:
        table.add_row(*_cells(row), style="red" if row.reached == "no" else "")
    # A pipe has no width to fit into.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def made(server: str) -> str:
    """When the table was made, and with which versions."""
    with psycopg.connect(server) as connection:
        postgres = connection.info.parameter_status("server_version")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, SQLite "
        f"{sqlite3.sqlite_version}, PostgreSQL {postgres}, eventsourcing "
        f"{version('eventsourcing')}, {os.cpu_count()} CPUs."
    )


def write(rows: Sequence[Row], when: str, path: Path) -> None:
    lines = ["# Benchmarks", "", when, "", *_markdown(rows), "", NOTE]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _markdown(rows: Sequence[Row]) -> list[str]:
    lines = [HEADINGS, ("---", "---", *["---:"] * 5), *map(_cells, rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cells(row: Row) -> tuple[str, ...]:
    ours, other = (
        "" if value is None else f"{value:,.1f} {row.unit}" for value in (row.ours, row.other)
    )
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return row.what, row.against, ours, other, ratio, row.target, row.reached
