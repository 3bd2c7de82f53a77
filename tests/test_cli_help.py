"""`--help` fits 80 columns, in paragraphs; it explains every option, and its examples are valid."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise

import click
import pytest

from sessions.cli import app
from tests.test_cli_maintain import run
from tests.test_docs import commands_of

WIDTH = 80
COMMANDS = {"": app, **dict(commands_of(app))}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole_and_its_lines_are_full(name: str) -> None:
    ran = run(*name.split(), "--help", columns=WIDTH)

    assert (ran.code, ran.err) == (0, "")
    assert not any(row.endswith("...") for row in ran.rows[1:])
    assert all(len(row) <= WIDTH for row in ran.rows)
    said = ran.out.partition("\n\n")[2].partition("\nOptions:")[0].split("\n")
    for row, after in pairwise(said):
        if row.strip() and after.strip():
            first_word = after.split()[0]
            assert len(f"{row} {first_word}") > WIDTH - 2, row


@pytest.mark.parametrize("name", COMMANDS)
def test_each_argument_and_option_of_a_command_is_named_and_explained(name: str) -> None:
    said = run(*name.split(), "--help").out.partition("\n")[2]

    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert f"  {parameter.opts[0]} " in said
        else:
            assert re.search(rf"\b{(parameter.metavar or '').strip('[].')}\b", said)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_calls_of_the_command_that_it_can_parse(name: str) -> None:
    command = COMMANDS[name]
    for line in re.findall(r"^  (sessions .*)", command.epilog or "", re.MULTILINE):
        program, *given = shlex.split(line.partition(" > ")[0])
        called = name.split()

        assert [program, *given[: len(called)]] == ["sessions", *called]
        command.make_context(name, given[len(called) :])
