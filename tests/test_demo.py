"""`sessions demo`: a fresh store from a real shop's orders, and a tour that tells the truth."""

from __future__ import annotations

import gzip
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from projections import CustomerSessions, verify
from sessions import OpenSession, SessionStore
from sessions.cli import demo
from tests.retail_reference import figures
from tests.test_cli_maintain import run
from tests.test_retail import EXTRACT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SESSIONS_STORE", raising=False)
    monkeypatch.delenv("SESSIONS_APPLICATION", raising=False)
    return tmp_path


@pytest.fixture
def _few_orders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders of one customer, the one that the tour shows."""
    head, *lines = gzip.decompress(EXTRACT.read_bytes()).decode().splitlines()
    few = tmp_path_factory.mktemp("orders") / "few.csv"
    few.write_text("\n".join([head, *[each for each in lines if f",{demo.CUSTOMER}.0," in each]]))
    monkeypatch.setattr(demo, "EXTRACT", few)


def test_a_demo_shows_its_steps_and_leaves_a_store_that_verifies_clean(folder: Path) -> None:
    ran = run("demo")

    assert (ran.code, ran.err) == (0, "")
    titles = (
        "real shop's orders",
        "step by step",
        "The guest logged in",
        "shows where the session went",
        "The history of customer",
        "look into the past",
        "type next",
    )
    places = [ran.out.index(title) for title in titles]
    assert places == sorted(places)
    for shown in (
        "CC BY 4.0",
        'discounts["20% promo"]: (none) -> 20',
        'state: "closed" -> "partially_returned"',
        "\tfirst\t",
        "\tcame from guest-1\t0\t0\t0\t0\t0",
        "\tpartially_returned\t\t1\t100\t20\t20\t60",
        "guest-1  no session; 1 moved away",
    ):
        assert shown in ran.out
    expected = figures(EXTRACT)
    assert f"{expected['sessions']} sessions, {expected['firstSessions']} of them" in ran.out
    assert f"{expected['creditNotes']} credit notes brought" in ran.out
    with SessionStore.open(f"sqlite:///{folder}/demo.db") as store:
        assert verify(store) == []
        assert CustomerSessions(store).get("tour-1").state == "partially_returned"


@pytest.mark.no_cover
@pytest.mark.usefixtures("_few_orders")
def test_two_demos_in_one_folder_make_two_stores_and_say_what_to_type_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run("demo"), run("demo")

    assert (first.code, second.code) == (0, 0)
    assert {file.name for file in folder.glob("*.db")} == {"demo.db", "demo-2.db"}
    export, *commands = second.out.partition("What to type next")[2].strip().split("\n")
    assert export == "export SESSIONS_STORE=sqlite:///demo-2.db"
    monkeypatch.setenv("SESSIONS_STORE", export.partition("=")[2])
    for command in commands:
        done = run(*shlex.split(command, comments=True)[1:])
        assert (done.code, done.out != "") == (0, True), command


@pytest.mark.usefixtures("_few_orders")
def test_two_demos_that_begin_at_once_have_a_store_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SessionStore.open

    def another_begins(url: str, *asked: Any, **more: Any) -> SessionStore:
        monkeypatch.setattr(SessionStore, "open", opened)
        assert run("demo").code == 0
        return opened(url, *asked, **more)

    monkeypatch.setattr(SessionStore, "open", another_begins)

    assert run("demo").code == 0
    assert {file.name for file in folder.glob("*.db")} == {"demo.db", "demo-2.db"}


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [("7", []), (None, ["--application", "7"]), ("8", ["--application", "7"])],
)
@pytest.mark.no_cover
@pytest.mark.usefixtures("_few_orders")
def test_its_sessions_are_of_the_application_that_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, arguments: list[str]
) -> None:
    if variable:
        monkeypatch.setenv("SESSIONS_APPLICATION", variable)

    ran = run("demo", *arguments)

    assert ran.code == 0
    assert "  export SESSIONS_APPLICATION=7\n" in ran.out
    with SessionStore.open(f"sqlite:///{folder}/demo.db", 7, read_only=True) as store:
        assert CustomerSessions(store).get("tour-1").application_id == 7
        assert store.query("SELECT DISTINCT application_id FROM events") == [(7,)]


def test_a_store_that_exists_is_refused_and_left_alone(folder: Path) -> None:
    with SessionStore.open("sqlite:///mine.db", 7) as store:
        store.execute("s", OpenSession())
    before = (folder / "mine.db").read_bytes()

    ran = run("demo", "--store", "sqlite:///mine.db")

    assert (ran.code, ran.out) == (1, "")
    assert "already exists" in ran.err
    assert (folder / "mine.db").read_bytes() == before


def test_a_store_that_exists_is_named_without_its_password(postgres_url: str) -> None:
    SessionStore.open(postgres_url).close()
    url = f"{postgres_url}&password=hunter2"

    ran = run("demo", "--store", url)

    assert (ran.code, ran.out) == (1, "")
    assert "already exists" in ran.err
    assert "hunter2" not in ran.err


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("an app/sessions/__main__.py", "python -m sessions"),
        ("an app/bin/sessions", "'{}'"),
    ],
)
def test_what_to_type_next_can_be_typed_where_the_program_is_not_on_the_path(
    folder: Path, called: str, named: str
) -> None:
    program = folder / called
    program.parent.mkdir(parents=True)
    program.write_text("from sessions.cli import main\nmain()\n")
    command = [sys.executable, str(program), "demo", "--store", "memory:"]
    nowhere = {**os.environ, "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}

    ran = subprocess.run(command, env=nowhere, capture_output=True, text=True, check=True)

    assert f"\n  {named.format(program)} demo  # keeps its store" in ran.stdout


@pytest.mark.usefixtures("_few_orders")
def test_what_to_type_next_makes_a_store_where_that_of_the_demo_is_gone() -> None:
    ran = run("demo", "--store", "memory:")

    assert ran.code == 0
    (command,) = ran.out.partition("What to type next")[2].strip().split("\n")
    assert command.partition("  #")[0].endswith("sessions demo")


@pytest.mark.usefixtures("_few_orders")
def test_what_to_type_next_names_no_password(postgres_url: str) -> None:
    ran = run("demo", "--store", f"{postgres_url}&password=hunter2")

    assert ran.code == 0
    assert "hunter2" not in ran.out + ran.err
    assert "export SESSIONS_STORE=URL  # the one that you gave" in ran.out


def test_a_file_that_is_no_store_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "notes.db").write_text("hello")

    ran = run("demo", "--store", "sqlite:///notes.db")

    assert (ran.code, ran.out) == (1, "")
    assert (folder / "notes.db").read_text() == "hello"


@pytest.mark.usefixtures("_few_orders")
def test_the_name_of_the_store_is_shown_as_it_is(folder: Path) -> None:
    ran = run("demo", "--store", "sqlite:///my[red].db")

    assert ran.code == 0
    assert (folder / "my[red].db").exists()
    assert "SESSIONS_STORE=sqlite:///my[red].db" in ran.out.replace("'", "")


def test_where_no_file_can_be_made_it_says_so(folder: Path) -> None:
    gone = folder / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()

    ran = run("demo")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: cannot create demo.db here: No such file")
