"""What people see on a terminal: tables that fit it, whatever its width is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from sessions import (
    ApplyCoupon,
    CloseSession,
    OpenSession,
    ReturnItem,
    ReturnItems,
    SessionStore,
    SetDiscount,
    SetProfile,
)
from tests.conftest import add
from tests.test_cli_maintain import SESSIONS, run

if TYPE_CHECKING:
    from tests.conftest import Clock

pytestmark = pytest.mark.no_cover

STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TIME = re.compile(r"(\d\d:\d\d:\d\d)\.\d{6}Z")
NAME = "a cake stand of three tiers, white, with hearts"
pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
COMMANDS = ("show a", "timeline a", "history p", "history g", "history p --events", "log")


def terminal(*arguments: str, columns: int) -> str:
    """Run the command line on a terminal of a width, and read what it shows."""
    reading, writing = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": f"{columns}"}
    shown = b""
    with subprocess.Popen([SESSIONS, *arguments], stdout=writing, env=environment) as process:
        os.close(writing)
        try:
            while data := os.read(reading, 65536):
                shown += data
        except OSError:  # as Linux says that nobody writes any more
            pass
    os.close(reading)
    assert process.returncode == 0
    return shown.decode()


def lines(*arguments: str, columns: int) -> list[str]:
    """What it shows, without colours and blanks at the ends."""
    shown = STEERING.sub("", terminal(*arguments, columns=columns))
    return [line.rstrip() for line in shown.split("\r\n")[:-1]]


@pytest.fixture
def store_url(url: str, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> str:
    """Order a, which was g's until p logged in."""
    monkeypatch.setenv("SESSIONS_STORE", url)
    with SessionStore.open(url, now=clock) as store:
        store.execute("a", OpenSession(profile_id="g"))
        store.execute("a", add("x", "59.90", quantity=2, name=NAME))
        clock.move(microseconds=123_456)
        store.execute("a", SetProfile(profile_id="p"))
        store.execute("a", ApplyCoupon(coupon="SPRING-20"))
        store.execute("a", SetDiscount(label="promo", value=Decimal(20)))
        store.execute("a", CloseSession())
        store.execute("a", ReturnItems(items=[ReturnItem(sku="x", quantity=1)]))
    return url


@pytest.mark.usefixtures("store_url")
def test_people_get_tables_and_colours() -> None:
    shown = terminal("show", "a", columns=100)

    assert "\x1b[1ma\x1b[0m" in shown
    assert ("\t" in shown, NAME in shown) == (False, True)


@pytest.mark.usefixtures("store_url")
def test_a_terminal_that_says_0_columns_is_written_to() -> None:
    assert "SPRING-20" in terminal("show", "a", columns=0)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("store_url")
def test_no_word_is_broken_that_fits_into_a_line(command: str, columns: int) -> None:
    cells = "\n".join(row for row in run(*command.split()).rows[1:] if "\t" in row)
    words = {word for word in TIME.sub(r"\1Z", cells).split() if len(word) < columns - 2}

    shown = lines(*command.split(), columns=columns)

    assert words - {word for line in shown for word in line.split()} == set()
    assert max(map(len, shown)) <= columns


@pytest.mark.usefixtures("store_url")
def test_columns_that_do_not_fit_stand_below_each_row_and_texts_before_others() -> None:
    narrow, wide = (lines("history", "p", "--events", columns=columns) for columns in (80, 118))

    assert [narrow[0], *narrow[5:7], *narrow[-2:]] == [
        "position  at                    session  event           state",
        "3         2026-11-23T10:00:00Z  a        ProfileChanged  open",
        "  orders: 0  gross: 0  discounts: 0  returned: 0  net: 0  moved: came from g",
        "7         2026-11-23T10:00:00Z  a        ItemsReturned   partially_returned",
        "  orders: 1  gross: 119.8  discounts: 20  returned: 59.9  net: 39.9",
    ]
    assert wide[6:8] == ["  moved: came from g", f"4{wide[7][1:]}"]
    assert [row.split()[-5:] for row in (wide[0], wide[-1])] == [
        ["orders", "gross", "discounts", "returned", "net"],
        ["1", "119.8", "20", "59.9", "39.9"],
    ]


@pytest.mark.usefixtures("store_url")
def test_a_text_of_several_words_is_folded_between_them() -> None:
    assert lines("show", "a", columns=80)[-3:] == [
        "position  sku  name                                    price  quantity  returned",
        "0         x    a cake stand of three tiers, white,     59.9   2         1",
        "               with hearts",
    ]


@pytest.mark.usefixtures("store_url")
def test_a_column_that_says_nothing_is_left_out() -> None:
    heading = lines("history", "p", columns=200)[0]

    assert ("came from" in heading, "moved to" in heading) == (True, False)
    assert lines("log", "--after", "7", columns=80) == [
        "position  session  version  at  event  data"
    ]


@pytest.mark.usefixtures("store_url")
def test_times_are_to_the_second_and_in_a_pipe_whole() -> None:
    assert "  updated      2026-11-23T10:00:00Z (update 7)" in lines("show", "a", columns=80)
    assert "  updated      2026-11-23T10:00:00.123456Z (update 7)" in run("show", "a").rows


@pytest.mark.parametrize("columns", [30, 80])
def test_an_id_that_is_longer_than_a_line_is_shown_whole(
    url: str, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    name = "0123456789" * 20
    monkeypatch.setenv("SESSIONS_STORE", url)
    with SessionStore.open(url) as store:
        store.execute(name, OpenSession(profile_id="p"))

    for command in ("log", "history p --events"):
        shown = lines(*command.split(), columns=columns)
        assert name in "".join([line.strip() for line in shown])
        assert max(map(len, shown)) <= columns


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
@pytest.mark.usefixtures("store_url")
def test_what_asks_for_colours_makes_no_terminal_of_a_pipe(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = subprocess.run([SESSIONS, "log"], capture_output=True, check=True).stdout
    monkeypatch.setenv(variable, "1")
    ran = subprocess.run([SESSIONS, "log"], capture_output=True, check=True)

    assert ran.stdout == plain
    assert ran.stdout.count(b"\t") == 5 * (1 + 7)


def test_a_long_table_is_shown_part_by_part(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_STORE", url)
    with SessionStore.open(url) as store, store.batch():
        for number in range(501):
            store.execute(f"s{number}", OpenSession())

    shown = lines("log", columns=100)

    heads = [number for number, line in enumerate(shown) if line.startswith("position")]
    assert heads == [0, 502]
    assert len(shown) == 501 + 3


def test_who_types_commands_is_told_what_is_waited_for(url: str) -> None:
    reading, writing = pty.openpty()
    command = [SESSIONS, "execute", "--store", url]
    typed = b'{"command":"open","integrationId":"a"}\n\x04'
    with subprocess.Popen(
        command, stdin=writing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.write(reading, typed)
        answered, said = process.communicate(timeout=60)
    os.close(reading)
    os.close(writing)

    assert said == "type one command per line, as a JSON object; Ctrl-D ends the input\n"
    assert '"ok":true' in answered
