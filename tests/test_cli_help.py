"""What `--help` says is whole on a terminal of 80 columns, in paragraphs, and not misleading."""

from __future__ import annotations

from itertools import pairwise

import pytest
import typer

from sessions.cli import app
from tests.test_cli_maintain import run

WIDTH = 80


def _names() -> list[str]:
    root = typer.main.get_command(app)
    found = [""]
    for name, command in getattr(root, "commands", {}).items():
        found.append(name)
        found += [f"{name} {each}" for each in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("name", _names())
def test_help_is_whole_and_its_lines_are_full(name: str) -> None:
    ran = run(*name.split(), "--help", columns=WIDTH)

    assert (ran.code, ran.err) == (0, "")
    assert "\N{HORIZONTAL ELLIPSIS}" not in ran.out
    assert all(len(row) <= WIDTH for row in ran.rows)
    said = ran.out.split("\N{BOX DRAWINGS LIGHT ARC DOWN AND RIGHT}")[0].split("\n")
    for row, after in pairwise(said):
        if row.strip() and after.strip():
            first_word = after.split()[0]
            assert len(f" {row.strip()} {first_word}") > WIDTH - 2, row


@pytest.mark.parametrize("name", _names())
def test_a_flag_is_not_shown_as_if_it_took_a_value(name: str) -> None:
    flags = [row.split()[1] for row in run(*name.split(), "--help").rows if "<bool>" in row]

    assert set(flags) <= {"--help", "--install-completion", "--show-completion"}  # typer's own
