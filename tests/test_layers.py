"""Who may import whom."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import sessions
from sessions import commands, errors, events

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("sessions/**/*.py"), *ROOT.glob("projections/**/*.py")])
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
DECIDER = {"errors", "events", "commands", "claims", "money", "rules", "session"}
DECIDER |= {"cart", "details", "decide", "documents", "keys", "kinds", "clock"}
"""The rules, and the few words that they share with the rest: no database, no projection."""

PACKAGES = {
    "sessions.sql": set[str](),
    "sessions.sqlite": {"sessions.sql"},
    "sessions.postgres": {"sessions.sql"},
    "sessions.log": {"sessions.sql"},
    "sessions.views": {"sessions.sql"},
    "sessions.commits": {"sessions.sql", "sessions.log", "sessions.views"},
    "projections.running": set[str](),
    "projections.rebuilding": set[str](),
    "projections.verifying": set[str](),
    "projections.copying": {"projections.rebuilding", "projections.verifying"},
}
"""Which packages of the same side each knows."""

WORDS = {
    *DECIDER,
    *("cached", "command_json", "exits", "forks", "mutability", "news", "recorded", "tracing"),
}
"""What all may know, and what knows no package."""

DOORS = ("sessions.store", "sessions.execution", "sessions.batching", "sessions.infrastructure")
"""What no package of the write side knows."""

USERS = {
    "eventsourcing": {
        "sessions.log.foreign",
        "sessions.infrastructure",
        "sessions.log.recorder",
        "sessions.log.subscription",
    },
    "sqlite3": {"sessions.sqlite"},
    "psycopg": {"sessions.postgres"},
    "psycopg_pool": {"sessions.postgres"},
    "sessions.sqlite": {"sessions.sqlite", "sessions.url"},
    "sessions.postgres": {"sessions.postgres", "sessions.url"},
    "sessions.url": {"sessions.infrastructure", "sessions.store"},
    "sessions.commits.awaited_commits": {"sessions.execution"},
    "sessions.commits.shared_commits": {
        "sessions.commits.awaited_commits",
        "sessions.commits.group_commit",
    },
    "sessions.log.subscription": {"sessions.log.recorder"},
}
"""What only some modules may import."""


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        match node:
            case ast.Import():
                yield from (name.name for name in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"{module}: a relative import"
                assert node.module
                yield node.module
                yield from (f"{node.module}.{name.name}" for name in node.names)
            case _:
                pass


def _is_in(imported: str, module: str) -> bool:
    return f"{imported}.".startswith(f"{module}.")


def _is_decider(part: str) -> bool:
    return part.partition(".")[0] in DECIDER


def _allowed(module: str, imported: str) -> bool:
    room, _, name = module.partition(".")
    other, _, part = imported.partition(".")
    if module.startswith(("sessions.cli", "sessions.__main__")):
        return True
    return not (
        imported.startswith("sessions.cli")
        or (room == "sessions" and other == "projections")
        or (room == "projections" and imported.startswith(("sessions.commands", "sessions.decide")))
        or any(
            _is_in(imported, part) and not any(_is_in(module, user) for user in users)
            for part, users in USERS.items()
        )
        or (name in DECIDER and other == "sessions" and part and not _is_decider(part))
        or (name in {"errors", "events", "commands"} and imported.startswith("sessions.decide"))
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_knows_only_those_below_it(package: str) -> None:
    room, _, _ = package.partition(".")
    others = PACKAGES.keys() - {package} - PACKAGES[package]
    strangers = [other for other in others if other.startswith(room)]
    strangers += DOORS if room == "sessions" else []
    modules = [module for module in MODULES if _is_in(module, package)]

    assert len(modules) > 1
    assert [
        (module, imported)
        for module in modules
        for imported in _imported(module)
        if any(_is_in(imported, stranger) for stranger in strangers)
    ] == []


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_knows_no_package(word: str) -> None:
    packages = [*PACKAGES, *DOORS, "sessions.cli"]

    assert [
        imported
        for imported in _imported(f"sessions.{word}")
        if any(_is_in(imported, package) for package in packages)
    ] == []


def test_all_of_the_write_side_is_a_word_a_door_or_in_a_package() -> None:
    parts = [name for name in (*MODULES, *PACKAGES, *DOORS) if name.startswith("sessions.")]
    inner = {name.split(".")[1] for name in parts if name in MODULES}
    known = {name.split(".")[1] for name in parts if name not in MODULES or name in DOORS}

    assert inner == {*WORDS, *known, "__init__", "__main__", "cli", "url"}


def test_the_explanation_names_each_file_and_no_other() -> None:
    page = (ROOT / "docs" / "explanation.md").read_text()
    _, _, found = page.partition("Which file does what")
    section, _, _ = found.partition("\n## ")
    files = [path for path in FILES if "cli" not in path.parts and path.name[0] != "_"]

    assert set(re.findall(r"(\w+\.py)`", section)) == {path.name for path in files}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_it_may(module: str) -> None:
    assert [imported for imported in _imported(module) if not _allowed(module, imported)] == []


def test_no_module_needs_one_that_needs_it_not_even_for_its_types() -> None:
    needs = {module: {each for each in _imported(module) if each in MODULES} for module in MODULES}

    TopologicalSorter(needs).prepare()


@pytest.mark.parametrize(
    ("module", "base"),
    [
        (errors, errors.SessionsError),
        (commands, commands.BaseCommand),
        (commands, commands.CartItem),
        (events, events.Fact),
    ],
)
def test_sessions_exports_every_command_event_and_error(
    module: ModuleType, base: type[object]
) -> None:
    declared = {
        value.__name__
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
    } - {"BaseCommand", "Fact"}

    assert declared - vars(sessions).keys() == set()
