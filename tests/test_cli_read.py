"""`sessions show`, `timeline`, `history` and `log`: for people, for pipes and for programs."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import CustomerHistories, CustomerSessions
from sessions import (
    CloseSession,
    OpenSession,
    ReturnItem,
    ReturnItems,
    SessionStore,
    SetAttributes,
    SetDiscount,
)
from tests.conftest import Clock, add
from tests.tampering import unguarded
from tests.test_cli_maintain import run

if TYPE_CHECKING:
    from pathlib import Path

ODD = ["[red]", "[/bold]", "a\\", "\\[red]", ":smile:", "köln 🛒", "[", "{}", "%s"]


@pytest.fixture
def store_url(url: str, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> str:
    """Two sessions of p, at 10:00 and 10:01, and one of another application."""
    monkeypatch.setenv("SESSIONS_STORE", url)
    with SessionStore.open(url, now=clock) as store:
        actor = {"actor": "till 3"}
        store.execute("a", OpenSession(profile_id="p", coupon="C"), metadata=actor)
        store.execute("a", add("x", "59.90", quantity=2, name="shoes"))
        store.execute("a", SetDiscount(label="d", value=Decimal(20)))
        clock.move(minutes=1)
        store.execute("b", OpenSession(profile_id="p"))
        store.execute("a", CloseSession())
        store.execute("a", ReturnItems(items=[ReturnItem(sku="x", quantity=1)]))
    with SessionStore.open(url, 7, now=clock) as store:
        store.execute("seven", OpenSession())
    return url


def shown(url: str, session_id: str, **moment: Any) -> str:
    """The CustomerSession object of a session."""
    with SessionStore.open(url, read_only=True) as store:
        return CustomerSessions(store).get(session_id, **moment).to_json()


@pytest.mark.usefixtures("store_url")
def test_a_session_is_shown_in_a_pipe_as_plain_text() -> None:
    ran = run("show", "a")

    assert (ran.code, ran.err) == (0, "")
    assert ran.rows == [
        "a  partially_returned, first session",
        "  profile      p",
        "  coupon       C",
        "  discounts    d: 20",
        "  total        119.8",
        "  created      2026-11-23T10:00:00.000000Z",
        "  updated      2026-11-23T10:01:00.000000Z (update 5)",
        "position\tsku\tname\tprice\tquantity\treturned",
        "0\tx\tshoes\t59.9\t2\t1",
    ]


@pytest.mark.parametrize(
    ("option", "moment"),
    [
        ((), {}),
        (("--version", "3"), {"version": 3}),
        (("--position", "4"), {"position": 4}),
        (("--as-of", "2026-11-23T11:00:59+01:00"), {"version": 4}),
        (("--as-of", "2026-11-23t10:00:59z"), {"version": 4}),
        (("--as-of", "2026-11-23T10:00Z"), {"version": 4}),
    ],
)
def test_json_is_exactly_the_customer_session_at_that_moment(
    store_url: str, option: tuple[str, ...], moment: dict[str, int]
) -> None:
    ran = run("show", "a", "--json", *option)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == shown(store_url, "a", **moment) + "\n"
    assert len(ran.json[0]) == 15


@pytest.mark.parametrize(
    ("option", "moment", "ids"),
    [
        ((), {}, "ab"),
        (("--position", "4"), {"position": 4}, "a"),
        (("--as-of", "2026-11-23T11:01:00+01:00"), {}, "ab"),
        (("--as-of", "2026-11-23T09:59:00Z"), {}, ""),
    ],
)
def test_an_export_is_every_session_at_that_moment(
    store_url: str, option: tuple[str, ...], moment: dict[str, int], ids: str
) -> None:
    ran = run("export", *option)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [shown(store_url, session_id, **moment) for session_id in ids]


def test_a_time_is_read_as_at_is_whatever_is_finer_than_a_microsecond(store_url: str) -> None:
    at = "2016-12-31T23:59:59.1234569Z"
    command = msgspec.json.decode(f'{{"command":"open","at":"{at}"}}', type=OpenSession)
    with SessionStore.open(store_url) as store:
        store.execute("fine", command)

    assert run("show", "fine", "--as-of", at).code == 0


@pytest.mark.parametrize("command", ["show a", "timeline a", "history p", "log", "export"])
@pytest.mark.usefixtures("store_url")
def test_who_asks_an_application_without_events_is_told_which_have_some(command: str) -> None:
    ran = run(*command.split(), "--application", "9")

    assert ran.err.startswith("application 9 has no events; applications with events: 1, 7\n")


FOUND = [
    ((), "ab"),
    (("--state", "open"), "b"),
    (("--profile", "p"), "ab"),
    (("--coupon", "C"), "a"),
    (("--updated-before", "2026-11-23T10:01:00Z"), ""),
    (("--updated-before", "2026-11-23T10:01:01Z"), "ab"),
    (("--updated-since", "2026-11-23T10:01:00Z"), "ab"),
    (("--updated-since", "2026-11-23T10:01:01Z"), ""),
    (("--referral", "R"), ""),
    (("--limit", "1"), "a"),
    (("--limit", "9" * 30), "ab"),
]


@pytest.mark.parametrize(("options", "ids"), FOUND)
def test_sessions_are_found_by_what_they_are_now(
    store_url: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], ids: str
) -> None:
    monkeypatch.setattr("sessions.cli.find.MAX_PAGE", 1)

    plain, json = run("find", *options), run("find", *options, "--json")

    assert [row.split("\t")[0] for row in plain.rows] == ["session", *ids]
    assert json.rows == [shown(store_url, each) for each in ids]
    more = "stopped after 1 session; there are more (--limit)\n"
    assert {plain.err, json.err} == {more if options == ("--limit", "1") else ""}


def test_what_is_found_is_read_page_by_page(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.cli.find.MAX_PAGE", 2)
    with SessionStore.open(store_url) as store:
        for session in "cde":
            store.execute(session, OpenSession())

    assert [row.split("\t")[0] for row in run("find").rows] == ["session", *"abcde"]


def test_what_is_found_is_shown_though_what_comes_after_it_cannot_be_read(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.cli.find.MAX_PAGE", 1)
    with SessionStore.open(store_url) as store, unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE customer_sessions SET document = '{}' WHERE session_id = 'b'")

    ran = run("find", "--limit", "1")

    assert (ran.code, len(ran.rows), ran.err.count("there are more")) == (0, 2, 1)


def test_a_state_that_there_is_not_is_wrong_usage() -> None:
    assert run("find", "--state", "lost").code == 2


def test_the_command_line_says_which_version_it_is() -> None:
    library = version("customer-sessions")
    ran = subprocess.run(
        [sys.executable, "-m", "sessions", "--version"], capture_output=True, check=True
    )

    assert ran.stdout.decode() == run("--version").out == f"customer-sessions {library}\n"


def test_what_the_command_line_prints_as_json_the_api_has_too(store_url: str) -> None:
    with SessionStore.open(store_url, read_only=True) as store:
        histories = CustomerHistories(store)
        printed = {
            "log": [recorded.to_json() for recorded in store.log()],
            "timeline a": [step.to_json() for step in CustomerSessions(store).timeline("a")],
            "history p --events": [step.to_json() for step in histories.replay("p")],
            "history p --figures": [histories.get("p").to_json()],
            "history p --figures --session b": [histories.get("p").to_json(session_id="b")],
        }

    for command, rows in printed.items():
        assert run(*command.split(), "--json").rows == rows
    (first, *_), (whole,) = printed["log"], printed["history p --figures"]
    assert msgspec.json.decode(first)["type"] == "SessionOpened"
    assert len(msgspec.json.decode(whole)["sessions"]) == 2


def test_an_answer_has_its_events_as_the_log_has_them(store_url: str) -> None:
    with SessionStore.open(store_url) as store:
        done = store.execute("new", OpenSession())

        assert msgspec.json.decode(done.to_json()) == {
            "integrationId": "new",
            "version": 1,
            "position": done.position,
            "events": [msgspec.json.decode(next(store.events("new")).to_json())],
        }


def test_an_export_is_of_one_moment() -> None:
    ran = run("export", "--position", "1", "--as-of", "2026-11-23T10:00:00Z")

    assert (ran.code, ran.out) == (2, "")
    assert "give only one of --as-of and --position" in ran.err


@pytest.mark.usefixtures("store_url")
def test_a_timeline_says_when_by_whom_and_what_changed() -> None:
    ran = run("timeline", "a")

    head, opened, coupon, *_, closed, returned = [row.split("\t") for row in ran.rows]
    assert head == ["version", "at", "by", "event", "changed"]
    assert opened[:4] == ["1", "2026-11-23T10:00:00.000000Z", "till 3", "SessionOpened"]
    assert 'profileId: (none) -> "p"' in opened[4]
    assert "updated: (none) -> " in opened[4]
    assert "referral" not in opened[4]
    assert coupon[3:] == ["CouponApplied", 'coupon: "" -> "C"']
    assert closed[3:] == ["SessionClosed", 'state: "open" -> "closed"']
    assert returned[:4] == ["6", "2026-11-23T10:01:00.000000Z", "", "ItemsReturned"]
    assert "cartItems[0].returnedQuantity: 0 -> 1" in returned[4]
    step = run("timeline", "a", "--json").json[1]
    assert (step["version"], step["metadata"]) == (2, {"actor": "till 3"})
    assert step["changes"] == [{"path": "coupon", "before": "", "after": "C"}]


@pytest.mark.parametrize(
    ("actor", "shown"), [({"id": 7, "on": True}, '{"id":7,"on":true}'), (7, "7"), (None, "")]
)
def test_a_timeline_shows_an_actor_that_is_no_text_as_json(
    store_url: str, actor: object, shown: str
) -> None:
    with SessionStore.open(store_url) as store:
        store.execute("acted", OpenSession(), metadata={"actor": actor})

    (row,) = run("timeline", "acted").rows[1:]

    assert row.split("\t")[2] == shown


def test_a_timeline_tells_a_null_from_what_is_missing(store_url: str) -> None:
    with SessionStore.open(store_url) as store:
        store.execute("nulls", OpenSession())
        for value in ([], [None], [1]):
            store.execute("nulls", SetAttributes(attributes={"o": value}))

    *_, added, changed = [row.split("\t")[4] for row in run("timeline", "nulls").rows]
    assert (added, changed) == ("attributes.o[0]: (none) -> null", "attributes.o[0]: null -> 1")
    change = {"path": "attributes.o[0]", "before": None, "after": None, "added": True}
    assert change in run("timeline", "nulls", "--json").json[-2]["changes"]


def test_a_timeline_quotes_a_name_that_could_be_taken_for_a_path(store_url: str) -> None:
    value = {"b": {"c": 1}, "b.c": 1, "": 1, 'x"]': 1, "é": 1}
    with SessionStore.open(store_url) as store:
        store.execute("named", OpenSession(attributes={"a": {}}))
        store.execute("named", SetAttributes(attributes={"a": value}))
        store.execute("named", SetDiscount(label="spring sale", value=1))

    changes = [step["changes"] for step in run("timeline", "named", "--json").json]
    paths = [change["path"] for step in changes[2:] for change in step if change.get("added")]
    names = (".b", '["b.c"]', '[""]', r'["x\"]"]', ".é")
    expected = {*(f"attributes.a{name}" for name in names), 'discounts["spring sale"]'}
    assert set(paths) == expected


@pytest.mark.usefixtures("store_url")
def test_the_log_is_shown_after_a_position_and_up_to_a_number() -> None:
    whole, part = run("log"), run("log", "--after", "4", "--limit", "2")

    assert len(whole.rows) == 8
    assert [row.split("\t")[:3] for row in part.rows] == [
        ["position", "session", "version"],
        ["5", "b", "1"],
        ["6", "a", "5"],
    ]
    assert (part.rows[0], part.rows[2]) == (whole.rows[0], whole.rows[6])
    (event,) = run("log", "--json", "--after", "5", "--limit", "1").json
    assert (event["position"], event["streamId"], event["type"]) == (6, "a", "SessionClosed")
    assert (event["at"], event["data"]["coupon"]) == ("2026-11-23T10:01:00Z", "C")
    assert run("log", "--after", "99", "--json").out == ""


@pytest.mark.usefixtures("store_url")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show none", "session 'none' does not exist"),
        ("show seven", "session 'seven' does not exist"),
        ("history none", "no session ever came to profile 'none'"),
        ("history p --as-of 2020-01-01T00:00:00Z", "no session had come to profile 'p' by 2020"),
        ("show a --version 7", "has no version 7: its newest is 6"),
        ("show a --position 99", "no position 99"),
        ("show b --position 4", "did not exist at position 4"),
        ("show a --as-of 2020-01-01T00:00:00Z", "did not exist at 2020-01-01"),
        ("show a --store sqlite:///none.db", "there is no store at"),
        ("log --store sqlite:///none.db", "there is no store at"),
    ],
)
def test_what_is_not_there_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = run(*arguments.split())

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert message in ran.err
    there = {file.name for file in tmp_path.iterdir()}
    assert there <= {"store.db", "store.db-wal", "store.db-shm"}


WRONG = (
    "show|show a b|show a --version 0|show a --version x|show a --position -1|show a --as-of now|"
    "show a --as-of 2026-11-23T10:00:00|show a --as-of 0001-01-01T00:00+14:00|"
    "show a --version 1 --position 1|history p --as-of x|"
    "log --after -1|log --limit 0|log --colour|log --type Nothing|timeline|"
    "show a --version 99999999999999999999|log --after 9223372036854775808|"
    "log --application 0|log --application x|log --store shop.db|log --store mysql:///x|nothing"
)


@pytest.mark.parametrize("arguments", WRONG.split("|"))
@pytest.mark.usefixtures("store_url")
def test_wrong_usage_exits_with_2(arguments: str) -> None:
    ran = run(*arguments.split())
    assert (ran.code, ran.out, ran.err != "") == (2, "", True)


@pytest.mark.parametrize("number", ["9223372036854775807", "9223372036854775808", "1" + "0" * 30])
@pytest.mark.parametrize("option", ["--after", "--limit"])
@pytest.mark.usefixtures("store_url")
def test_a_huge_number_is_no_accident(option: str, number: str) -> None:
    assert run("log", option, number).code in {0, 1, 2}


def test_the_environment_names_store_and_application_and_options_win(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONS_APPLICATION", "7")
    assert run("log", "--json").json[0]["streamId"] == "seven"
    assert run("log", "--json", "--application", "1").json[0]["streamId"] == "a"

    monkeypatch.setenv("SESSIONS_STORE", "sqlite:////none/none.db")
    assert run("log").code == 2
    assert run("log", "--store", store_url).code == 0


@pytest.mark.parametrize("text", ODD)
def test_texts_are_shown_literally(url: str, text: str) -> None:
    with SessionStore.open(url) as store:
        store.execute(text, OpenSession(profile_id=text, coupon=text))
        store.execute(text, add(text, name=text))

    title, profile, coupon, *_, line = run("show", text, "--store", url).rows

    assert title == f"{text}  open, first session"
    assert (profile, coupon) == (f"  profile      {text}", f"  coupon       {text}")
    assert line.split("\t")[1:3] == [text, text]
    assert run("history", text, "--store", url).rows[1].split("\t")[0] == text
    assert run("show", text + "x", "--store", url).err.count(repr(text + "x")) == 1


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\x1b[31mb"])
def test_texts_do_not_break_the_lines_of_a_pipe_or_steer_a_terminal(url: str, text: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession(profile_id="p"))
        store.execute("s", add(text))

    for arguments in ("show s", "log", "timeline s", "history p", "history p --events"):
        ran = run(*arguments.split(), "--store", url)
        assert len({row.count("\t") for row in ran.rows if "\t" in row}) == 1
        assert "\x1b" not in ran.out


@pytest.mark.parametrize("command", ["show", "history", "timeline"])
@pytest.mark.usefixtures("store_url")
def test_an_argument_that_is_no_text_is_not_found(command: str) -> None:
    assert run(command, "\udcff").code in {1, 2}
