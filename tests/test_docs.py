"""The README and the documentation run: their Python, their shell, and every option they name."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from sessions.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"(?:^|[`|$] ?)sessions ([a-z][a-z-]*)([^`\n|#]*)", re.MULTILINE)
TURN = re.compile(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n?)*)", re.MULTILINE)


def _bash(script: str) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603  the documentation's own lines
        ["/usr/bin/env", "bash", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def run_script(example: Example) -> str | None:
    """Run a `sh` fence that begins with the command itself; it must succeed."""
    if not example.parsed.startswith("sessions "):
        return None
    code, output = _bash(f"set -euo pipefail\n{example.parsed}")
    return f"exit {code}: {output}" if code else None


def run_dialogue(example: Example) -> str | None:
    """Run a `console` fence that shows answers, and compare them; `...` stands for anything."""
    turns = TURN.findall(example.parsed)
    if not any(answer for _, answer in turns):
        return None
    for typed, answer in turns:
        _, output = _bash(typed.replace("\n> ", "\n"))
        if not doctest.OutputChecker().check_output(answer, output, doctest.ELLIPSIS):
            return f"{typed}\nanswers\n{output}\nnot\n{answer}"
    return None


SYBIL = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("sh", run_script),
        CodeBlockParser("console", run_dialogue),
    ]
)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("SESSIONS_STORE", "SESSIONS_APPLICATION", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    for example in SYBIL.parse(page):
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined] # it is a group
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands.items()
    }
    for code in CODE.findall(page.read_text("utf-8")):
        for name, rest in CALL.findall(code):
            assert name in options
            assert set(re.findall(r"--[a-z-]+", rest)) <= options[name] | {"--help"}


def test_a_page_that_names_an_option_is_seen() -> None:
    named = [CALL.findall(code) for code in CODE.findall("`sessions show ID --json`, sessions are")]
    assert named == [[("show", " ID --json")]]
