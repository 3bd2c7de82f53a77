"""The reference page names everything: who adds a name is led to the page."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from msgspec.structs import fields

import projections
import sessions
from projections import (
    CustomerHistories,
    CustomerSession,
    CustomerSessions,
    Projection,
    ProjectionStatus,
    Rows,
    Runner,
    StoredProjection,
    drop,
    parked,
    rebuild,
    status,
    testing,
    verify,
)
from sessions import Batch, Executed, Follower, errors
from sessions.cli import app
from sessions.commands import BaseCommand, Command
from sessions.decide import decide
from sessions.errors import SessionsError
from sessions.events import EVENTS
from sessions.recorded import Recorded
from sessions.session import evolve
from sessions.sql import schema
from sessions.store import SessionStore
from sessions.views.installed import installed
from sessions.views.parked import Parked
from tests.test_docs import commands_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sessions.sql.tables import Table

PAGE = (Path(__file__).parent.parent / "docs" / "reference.md").read_text("utf-8")
COMMANDS: list[Any] = [*get_args(Command)]
ERRORS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, SessionsError)
]
TABLES = [*schema.TABLES, *[table for projection in installed() for table in projection.tables]]
CLI = dict(commands_of(app))
OF_THE_LIBRARY = {"happened", "log_without", "rows", "streams"}
"""What a store has for `projections`."""
CLASSES = (
    *(SessionStore, Batch, Follower, Executed),
    *(CustomerSessions, CustomerHistories, StoredProjection, Runner),
    *(testing.Given, testing.Folded),
)


def methods(kind: type) -> list[str]:
    """The public methods and properties of a class, inherited ones too."""
    found = {name: inspect.getattr_static(kind, name) for name in dir(kind) if name[0] != "_"}
    callable_ones = (classmethod, staticmethod, property)
    return [
        name
        for name, value in found.items()
        if inspect.isfunction(value) or isinstance(value, callable_ones)
    ]


PUBLIC = [
    *[(kind, name) for kind in CLASSES for name in methods(kind) if name not in OF_THE_LIBRARY],
    *[(sessions, function.__name__) for function in (decide, evolve)],
    *[
        (projections, function.__name__)
        for function in (verify, rebuild, drop, status, parked, installed)
    ],
    (testing, testing.given.__name__),
]
STATED = [
    *[(Projection, field.name) for field in dataclasses.fields(Projection)],
    *[(kind, name) for kind in (Rows, Parked) for name in kind.__struct_fields__],
]


def row(section: str, name: str) -> list[str]:
    """The cells of a section's table row that begins with a name."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"the section {section!r} of docs/reference.md has no row for {name}"
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[0])[1:-1]]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def encoded(kind: Any) -> set[str]:
    return {field.encode_name for field in fields(kind)}


@pytest.mark.parametrize("kind", COMMANDS)
def test_it_has_every_command_with_its_fields(kind: Any) -> None:
    _, name, described = row("Commands", kind.__struct_config__.tag)
    assert name == f"`{kind.__name__}`"
    assert encoded(kind) - encoded(BaseCommand) <= named(described)


@pytest.mark.parametrize("name", EVENTS)
def test_it_has_every_event_with_its_fields(name: str) -> None:
    assert encoded(EVENTS[name]) <= named(row("Events", name)[1])


@pytest.mark.parametrize("error", ERRORS)
def test_it_has_every_error_with_its_message(error: type[SessionsError]) -> None:
    _, message, _, retry = row("Errors", error.__name__)
    assert message.strip("` ") == inspect.cleandoc(error.__doc__ or "").replace("!r", "").strip("`")
    assert retry == ("yes" if error.retry else "no")


@pytest.mark.parametrize("error", ERRORS)
def test_each_field_of_an_error_has_a_type(error: type[SessionsError]) -> None:
    typed = {name for kind in error.__mro__ for name in inspect.get_annotations(kind)}
    assert set(re.findall(r"{(\w+)", error.__doc__ or "")) <= typed


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_it_has_every_relation_with_its_columns(table: Table) -> None:
    assert [f"`{column.name}`" for column in table.columns] == row("Relations", table.name)[
        1
    ].split(", ")


@pytest.mark.parametrize("name", CLI)
def test_it_has_every_command_of_the_command_line_with_its_options(name: str) -> None:
    options = {
        option for parameter in CLI[name].params for option in parameter.opts if "--" in option
    }
    if hasattr(CLI[name], "commands"):
        return
    shared = {"--store", "--application"}
    assert options - shared <= named(row("Command line", f"sessions {name}")[1])


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("The envelope", encoded(Recorded)),
        ("CustomerSession", encoded(CustomerSession)),
        ("Projections", encoded(ProjectionStatus)),
    ],
)
def test_it_has_every_field_of_what_is_read(section: str, names: Iterable[str]) -> None:
    for name in names:
        head, *tail = name.split("_")
        row(section, head + "".join([part.title() for part in tail]))


def test_every_type_that_it_names_can_be_imported() -> None:
    named = {
        node.id for scope in scopes() for node in ast.walk(scope) if isinstance(node, ast.Name)
    }
    public = {*sessions.__all__, *projections.__all__, *vars(testing), *vars(typing), "View"}
    public |= vars(builtins).keys()
    assert {name for name in named if name[0].isupper()} - public == set()


def test_it_states_each_class_once() -> None:
    stated_ones = [scope.name for scope in scopes() if isinstance(scope, ast.ClassDef)]
    assert sorted(stated_ones) == sorted(set(stated_ones))


def test_it_has_every_public_name() -> None:
    public = {*sessions.__all__, *projections.__all__}
    assert public - set(re.findall(r"\w+", PAGE)) == set()


@pytest.mark.parametrize(("owner", "name"), PUBLIC)
def test_it_has_every_signature(owner: object, name: str) -> None:
    stub = stubs()[owner.__name__ if inspect.isclass(owner) else "", name]
    function = inspect.getattr_static(owner, name)
    function = getattr(function, "fget", getattr(function, "__func__", function))
    any_number = [stub.args.vararg] if stub.args.vararg else []
    written = [arg.arg for arg in (*stub.args.args, *any_number, *stub.args.kwonlyargs)]
    parameters = inspect.signature(function).parameters
    assert written == list(parameters)
    assert isinstance(stub, ast.AsyncFunctionDef) is inspect.iscoroutinefunction(function)
    optional = [name for name, each in parameters.items() if each.default is not each.empty]
    by_name = zip(stub.args.kwonlyargs, stub.args.kw_defaults, strict=True)
    by_place = stub.args.args[len(stub.args.args) - len(stub.args.defaults) :]
    assert optional == [a.arg for a in by_place] + [a.arg for a, default in by_name if default]


@pytest.mark.parametrize(("owner", "name"), STATED)
def test_it_has_every_attribute_of_what_people_write_or_are_shown(owner: type, name: str) -> None:
    assert name in stated()[owner.__name__]


def scopes() -> list[ast.ClassDef | ast.Module]:
    return [
        scope
        for code in re.findall(r"^```py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        for scope in ast.walk(ast.parse(code))
        if isinstance(scope, ast.ClassDef | ast.Module)
    ]


def stated() -> dict[str, set[str]]:
    """The attributes of each class that the page states."""
    return {
        scope.name: {
            stub.target.id
            for stub in scope.body
            if isinstance(stub, ast.AnnAssign) and isinstance(stub.target, ast.Name)
        }
        for scope in scopes()
        if isinstance(scope, ast.ClassDef)
    }


def stubs() -> dict[tuple[str, str], ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions and methods that the page states."""
    return {
        (scope.name if isinstance(scope, ast.ClassDef) else "", stub.name): stub
        for scope in scopes()
        for stub in scope.body
        if isinstance(stub, ast.FunctionDef | ast.AsyncFunctionDef)
    }
