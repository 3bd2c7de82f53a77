"""`sessions history`: a customer's sessions and sums, at any moment, by session and by event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projections import CustomerSessions
from sessions import (
    CancelSession,
    CloseSession,
    OpenSession,
    ReturnItem,
    ReturnItems,
    SessionStore,
    SetProfile,
)
from tests.conftest import add
from tests.test_cli_maintain import run

if TYPE_CHECKING:
    from tests.conftest import Clock

COLUMNS = ["session", "state", "first", "created", "updated", "lines", "total", "returned"]


@pytest.fixture
def store_url(url: str, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> str:
    """Order a of p; order b, which was g's until p logged in a day later; and c, cancelled."""
    monkeypatch.setenv("SESSIONS_STORE", url)
    with SessionStore.open(url, now=clock) as store:
        store.execute("b", OpenSession(profile_id="g", coupon="C"))
        store.execute("a", OpenSession(profile_id="p"))
        store.execute("a", add("x", "59.90", quantity=2))
        store.execute("a", CloseSession())
        clock.move(days=1)
        store.execute("b", SetProfile(profile_id="p"))
        store.execute("b", add("y", "10"))
        store.execute("b", CloseSession())
        store.execute("a", ReturnItems(items=[ReturnItem(sku="x", quantity=1)]))
        store.execute("c", OpenSession(profile_id="p"))
        store.execute("c", CancelSession())
    return url


@pytest.mark.usefixtures("store_url")
def test_a_history_is_a_line_for_each_session_and_then_the_sums() -> None:
    ran = run("history", "p")

    assert (ran.code, ran.err) == (0, "")
    table = [row.split("\t") for row in ran.rows[:4]]
    assert table[0] == [*COLUMNS, "attached", "came from", "moved to"]
    assert [row[:3] + row[5:8] + row[9:] for row in table[1:]] == [
        ["a", "partially_returned", "first", "1", "119.8", "1", "", ""],
        ["b", "closed", "", "1", "10", "0", "g", ""],
        ["c", "cancelled", "", "0", "0", "0", "", ""],
    ]
    assert ran.rows[4:] == [
        "p  1 closed, 1 partially_returned, 1 cancelled",
        "  first        a",
        "  latest       c",
        "  orders       2",
        "  gross        129.8",
        "  discounts    0",
        "  returned     59.9",
        "  net          69.9",
        "  coupons      C: 1",
        "  time between 1 day, 0:00:00",
    ]


@pytest.mark.usefixtures("store_url")
def test_the_guests_history_says_where_the_session_went() -> None:
    ran = run("history", "g")

    assert ran.rows[1].split("\t")[:3] == ["b", "open", "first"]
    assert ran.rows[1].split("\t")[-1] == "p"
    assert ran.rows[2:] == ["g  no session; 1 moved away"]


@pytest.mark.parametrize(
    ("moment", "sessions"),
    [
        ([], ["a", "b", "c"]),
        (["--as-of", "2026-11-24T10:00:00Z"], ["a", "b", "c"]),
        (["--as-of", "2026-11-24T09:59:59Z"], ["a"]),
        (["--position", "4"], ["a"]),
        (["--position", "7"], ["a", "b"]),
    ],
)
@pytest.mark.usefixtures("store_url")
def test_json_is_a_line_for_each_session_just_as_it_is_shown_alone(
    moment: list[str], sessions: list[str]
) -> None:
    ran = run("history", "p", *moment, "--json")

    shown = [run("show", each, *moment, "--json").out for each in sessions]
    assert (ran.code, ran.err, ran.out) == (0, "", "".join(shown))
    assert [
        run("history", "p", *moment, "--json", "--session", each).out for each in sessions
    ] == shown
    assert {each["profileId"] for each in ran.json} == {"p"}


@pytest.mark.usefixtures("store_url")
def test_a_session_that_moved_away_is_a_line_of_the_other_customers_only() -> None:
    assert run("history", "g", "--json") == (0, "", "")
    assert run("history", "g", "--session", "b", "--json") == (0, "", "")
    before = run("history", "g", "--position", "5", "--json")
    assert [each["integrationId"] for each in before.json] == ["b"]


@pytest.mark.usefixtures("store_url")
def test_figures_alone_are_the_sums_without_the_sessions() -> None:
    whole = run("history", "p")

    ran = run("history", "p", "--figures")

    assert (ran.code, ran.err) == (0, "")
    assert ran.rows == whole.rows[4:]


def test_figures_in_json_are_one_object_with_everything(store_url: str) -> None:
    ran = run("history", "p", "--figures", "--json")
    with SessionStore.open(store_url, read_only=True) as store:
        views = CustomerSessions(store).of_profile("p")

    (history,) = ran.json
    sessions = history.pop("sessions")
    assert history == {
        "profileId": "p",
        "firstSessionId": "a",
        "latestSessionId": "c",
        "states": {"open": 0, "closed": 1, "partially_returned": 1, "cancelled": 1},
        "orders": 2,
        "gross": 129.8,
        "discounts": 0,
        "returned": 59.9,
        "net": 69.9,
        "coupons": {"C": 1},
        "referrals": {},
        "averageGapSeconds": 86400.0,
        "gapSeconds": [86400.0],
    }
    assert all(view.to_json() in ran.out for view in views)
    assert [each["sessionId"] for each in sessions] == ["a", "b", "c"]
    assert [(each["belongs"], each["cameFrom"]) for each in sessions] == [
        (True, None), (True, "g"), (True, None)
    ]  # fmt: skip
    assert sessions[1]["events"] == [e for e in run("log", "--json").json if e["streamId"] == "b"]
    (left,) = run("history", "g", "--figures", "--json").json[0]["sessions"]
    moved = {"profileId": "p", "at": "2026-11-24T10:00:00Z", "position": 6}
    assert (left["belongs"], left["movedTo"], left["stays"][0]["movedTo"]) == (False, moved, moved)


@pytest.mark.usefixtures("store_url")
def test_each_event_is_a_line_with_the_sums_after_it() -> None:
    ran = run("history", "p", "--events")

    assert ran.rows[0].split("\t") == [
        "position", "at", "session", "event", "state", "moved",
        "orders", "gross", "discounts", "returned", "net",
    ]  # fmt: skip
    rows = [row.split("\t") for row in ran.rows[1:]]
    assert [" ".join([row[0], *row[2:7], row[-1]]) for row in rows] == [
        "1 b SessionOpened  elsewhere 0 0",
        "2 b CouponApplied  elsewhere 0 0",
        "3 a SessionOpened open attached 0 0",
        "4 a ItemAdded open  0 0",
        "5 a SessionClosed closed  1 119.8",
        "6 b ProfileChanged open came from g 1 119.8",
        "7 b ItemAdded open  1 119.8",
        "8 b SessionClosed closed  2 129.8",
        "9 a ItemsReturned partially_returned  2 69.9",
        "10 c SessionOpened open attached 2 69.9",
        "11 c SessionCancelled cancelled  2 69.9",
    ]
    assert run("history", "g", "--events").rows[-1].split("\t")[3:6] == [
        "ProfileChanged", "", "moved to p"
    ]  # fmt: skip


@pytest.mark.usefixtures("store_url")
def test_each_event_is_an_object_of_its_own_in_json() -> None:
    log = run("log", "--json").json
    steps = run("history", "p", "--events", "--json").json

    assert [{name: step[name] for name in log[0]} for step in steps] == log
    assert (steps[0]["belongs"], steps[0]["state"]) == (False, None)
    assert (steps[-1]["belongs"], steps[-1]["state"]) == (True, "cancelled")
    *_, left = run("history", "g", "--events", "--json").json
    assert (left["belongs"], left["state"]) == (False, None)
    (whole,) = run("history", "p", "--figures", "--json").json
    assert steps[-1]["after"].items() <= whole.items()


@pytest.mark.usefixtures("store_url")
def test_a_history_may_be_that_of_one_session() -> None:
    plain, events = (
        run("history", "p", "--session", "b"),
        run("history", "p", "--session", "b", "--events"),
    )
    (json,) = run("history", "p", "--session", "b", "--figures", "--json").json

    assert [row.split("\t")[0] for row in plain.rows[:3]] == [
        "session", "b", "p  1 closed, 1 partially_returned, 1 cancelled"
    ]  # fmt: skip
    assert [row.split("\t")[0] for row in events.rows] == ["position", "1", "2", "6", "7", "8"]
    assert ([each["sessionId"] for each in json["sessions"]], json["gross"]) == (["b"], 129.8)


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [
        ("--as-of", "2026-11-24T09:59:59Z", ["p  1 closed", "  net          119.8"]),
        ("--position", "3", ["p  1 open", "  latest       a"]),
        ("--position", "6", ["p  1 open, 1 closed", "  net          119.8"]),
    ],
)
@pytest.mark.usefixtures("store_url")
def test_a_history_is_replayed_for_any_moment(option: str, value: str, shown: list[str]) -> None:
    ran = run("history", "p", option, value)
    events = run("history", "p", option, value, "--events")

    assert [row for row in ran.rows if row in shown] == shown
    assert (ran.code, events.code) == (0, 0)
    assert len(events.rows) < len(run("history", "p", "--events").rows)


@pytest.mark.usefixtures("store_url")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "no session ever came to profile 'none'"),
        ([""], "profileId: 1 to 1000 characters, not ''"),
        (["p", "--as-of", "2020-01-01T00:00:00Z"], "no session had come to profile 'p' by 2020"),
        (["p", "--position", "2"], "no session had come to profile 'p' by position 2"),
        (["p", "--position", "99", "--events"], "no position 99: its newest is 11"),
        (["g", "--session", "a"], "the history of profile 'g' has no session 'a'"),
        (["g", "--session", "", "--events"], "the history of profile 'g' has no session ''"),
    ],
)
def test_what_is_not_there_exits_with_1(arguments: list[str], message: str) -> None:
    ran = run("history", *arguments)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert message in ran.err


@pytest.mark.usefixtures("store_url")
@pytest.mark.parametrize(
    "options",
    [
        "--position -1",
        "--position x",
        "--as-of x",
        "--as-of 2026-11-24T10:00:00Z --position 1",
        "--events --figures",
    ],
)
def test_wrong_usage_exits_with_2(options: str) -> None:
    ran = run("history", "p", *options.split())
    assert (ran.code, ran.out, ran.err != "") == (2, "", True)
