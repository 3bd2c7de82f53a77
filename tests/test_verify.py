"""Verify folds the log afresh: it is silent about a good store, and names all that differs."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import (
    Column,
    Projection,
    Rows,
    Runner,
    StoredProjection,
    drop,
    rebuild,
    verify,
)
from projections.verifying.first_event import with_first_events
from sessions import (
    CancelSession,
    CloseSession,
    InvalidValue,
    OpenSession,
    RemoveItem,
    ReopenSession,
    ReturnItem,
    ReturnItems,
    SessionsError,
    SessionStore,
    SetProfile,
)
from sessions.events import ItemAdded
from tests.conftest import add
from tests.sample_projections import BAD, MENDED, SALES, SPEND, Sales, in_mode
from tests.tampering import unguarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from projections import Difference
    from sessions.commands import Command
    from sessions.kinds import Kind
    from sessions.recorded import Recorded
    from sessions.sql.connection import Connection
    from sessions.sql.head import Mode
    from tests.conftest import Clock, OpenStore

HISTORY: list[tuple[str, Command]] = [
    ("a", OpenSession(profile_id="p", coupon="C")),
    ("a", add("x", quantity=3)),
    ("a", add("y", price="0.1")),
    ("a", RemoveItem(position=0)),
    ("a", CloseSession()),
    ("a", ReturnItems(items=[ReturnItem(sku="y")])),
    ("b", OpenSession(profile_id="p")),
    ("b", SetProfile(profile_id="q")),
    ("b", SetProfile(profile_id="p")),
    ("c", OpenSession(referral="R")),
    ("c", CloseSession()),
    ("c", ReopenSession()),
    ("d", OpenSession(coupon="C", state="closed")),
    ("d", CancelSession()),
]


@pytest.fixture
def store(open_store: OpenStore) -> SessionStore:
    """A store with a history of every claim and attachment."""
    store = open_store()
    for session_id, command in HISTORY:
        store.execute(session_id, command)
    assert store.position == 18
    return store


def change(store: SessionStore, statement: str, *parameters: object) -> None:
    """Tamper with one row of a store."""
    with unguarded(store.recorder.database) as connection:
        assert connection.execute(statement, parameters).rowcount == 1


def differs(store: SessionStore) -> list[str]:
    """What differs: relation, key and column."""
    return sorted([" ".join(map(str, (d.relation, *d.key, d.column))) for d in verify(store)])


# --- good stores


def test_a_good_store_is_clean_also_read_only_and_after_a_rebuild(
    store: SessionStore, open_store: OpenStore
) -> None:
    told: list[tuple[int, int]] = []

    assert verify(store, lambda done, total: told.append((done, total))) == []
    assert told[-1] == (18, 18)

    assert (rebuild(store).events, verify(store)) == (18, [])
    assert verify(open_store(read_only=True)) == []


def test_several_applications_are_each_compared_with_their_own_log(open_store: OpenStore) -> None:
    stores = [open_store(application) for application in (1, 2, 3)]
    for number, store in enumerate(stores):
        for session_id, command in HISTORY[number * 3 :]:
            with suppress(SessionsError):
                store.execute(session_id, command)

    assert [verify(store) for store in stores] == [[], [], []]
    rebuild(stores[0])
    assert [verify(store) for store in stores] == [[], [], []]


def test_a_store_is_clean_while_another_thread_writes(store: SessionStore) -> None:
    def write() -> None:
        for number in range(60):
            store.execute(f"w{number}", OpenSession(profile_id="p", coupon="C", state="closed"))
            store.execute(f"w{number}", CancelSession())

    writer = threading.Thread(target=write)
    writer.start()
    found = [verify(store)]
    while writer.is_alive():
        found.append(verify(store))
    writer.join()

    assert [*found, verify(store)] == [[]] * (len(found) + 1)


# --- tampering with what is derived

ONE = "application_id = 1 AND session_id = 'a'"
COLUMNS = (
    "version=6 state='closed' profile_id='z' coupon='' referral='z' first_session=false "
    "created='2020-01-01T00:00:00.000000Z' updated='2020-01-01T00:00:00.000000Z' total=0.10001 "
    "update_count=7 line_count=2 unit_count=2 returned_count=0 command_id='z' document='{}' "
    "closed=NULL"
)


@pytest.mark.parametrize("changed", COLUMNS.split())
def test_a_changed_column_of_a_view_is_found(store: SessionStore, changed: str) -> None:
    change(store, f"UPDATE customer_sessions SET {changed} WHERE {ONE}")

    assert differs(store) == [f"customer_sessions a {changed.partition('=')[0]}"]


def test_both_values_are_shown(store: SessionStore) -> None:
    change(store, f"UPDATE customer_sessions SET document = '{{}}' WHERE {ONE}")

    (difference,) = verify(store)
    assert difference.stored == "{}"
    assert '"integrationId":"a"' in difference.expected


UNREADABLE = {
    "sqlite": [
        ("customer_sessions SET updated='yesterday'", "yesterday", 7),
        ("customer_sessions SET updated=x'ff00'", b"\xff\x00", 7),
        ("customer_sessions SET updated=CAST(x'ff00' AS TEXT)", b"\xff\x00", 7),
        ("customer_sessions SET document=CAST(x'ff' AS TEXT)", b"\xff", 7),
        ("customer_sessions SET created='x'", "x", 1),
        ("customer_sessions SET closed='x'", "x", 6),
        ("customer_sessions SET total='abc'", "abc", 5),
        ("customer_sessions SET total='snan'", "snan", 5),
        ("customer_sessions SET total=9e999", float("inf"), 5),
        ("customer_sessions SET version='x'", "x", 7),
        ("attachments SET at='x'", "x", 1),
    ],
    "postgres": [
        ("customer_sessions SET updated='infinity'", "infinity", 7),
        ("customer_sessions SET created='-infinity'", "-infinity", 1),
        ("customer_sessions SET total='Infinity'", Decimal("Infinity"), 5),
        ("attachments SET at='infinity'", "infinity", 1),
    ],
}
UNREADABLE["memory"] = UNREADABLE["sqlite"]


@pytest.mark.parametrize(
    ("open_store", "changed", "stored", "first"),
    [(backend, *each) for backend, values in UNREADABLE.items() for each in values],
    indirect=["open_store"],
)
def test_a_value_that_cannot_be_read_is_a_difference_and_shown_as_it_is(
    store: SessionStore, changed: str, stored: object, first: int
) -> None:
    relation, _, setting = changed.split(" ", 2)
    where = ONE if relation == "customer_sessions" else "position = 1"
    change(store, f"UPDATE {changed} WHERE {where}")
    change(store, "UPDATE customer_sessions SET state = 'open' WHERE session_id = 'd'")

    found = [(d.relation, d.column, d.stored, d.position) for d in verify(store)]
    assert found == [
        (relation, setting.partition("=")[0], stored, first),
        ("customer_sessions", "state", "open", 17),
    ]


@pytest.mark.parametrize("open_store", ["memory", "sqlite"], indirect=True)
@pytest.mark.parametrize("key", ["x'ff'", "CAST(x'ff' AS TEXT)"])
def test_a_key_that_cannot_be_read_is_a_row_too_many(store: SessionStore, key: str) -> None:
    change(store, f"UPDATE customer_sessions SET session_id = {key} WHERE {ONE}")

    found = [(d.key, d.stored, d.expected, d.position) for d in verify(store)]
    assert found == [(("a",), None, "a row", 1), ((b"\xff",), "a row", None, None)]


AN_EXTRA_VIEW = (
    "INSERT INTO customer_sessions SELECT 1, 'x', version, state, profile_id, coupon, referral, "
    "first_session, total, created, updated, closed, update_count, line_count, unit_count, "
    "returned_count, command_id, document FROM customer_sessions LIMIT 1"
)
AN_ATTACHMENT = (
    "INSERT INTO attachments VALUES (1, 11, 'p', 'c', '2026-01-01T00:00:00.000000Z', false)"
)
FIRST_ATTACHMENT = "DELETE FROM attachments WHERE position = 1"
ANOTHER_PROFILE = "UPDATE attachments SET profile_id = 'z' WHERE position = 8"
ANOTHER_SESSION = "UPDATE attachments SET session_id = 'z' WHERE position = 9"
ROWS = {
    "a view is missing": (f"DELETE FROM customer_sessions WHERE {ONE}", "customer_sessions a "),
    "a view without events": (AN_EXTRA_VIEW, "customer_sessions x "),
    "a claim is missing": (
        "DELETE FROM claims WHERE limit_name LIKE '%p'",
        "claims first-session:p a ",
    ),
    "a claim that nobody took": ("INSERT INTO claims VALUES (1, 'x', 'd')", "claims x d "),
    "a limit is miscounted": (
        "UPDATE limits SET used = 9 WHERE limit_name LIKE '%q'",
        "limits first-session:q used",
    ),
    "a limit is missing": (
        "DELETE FROM limits WHERE limit_name LIKE '%q'",
        "limits first-session:q ",
    ),
    "a limit without claims": ("INSERT INTO limits VALUES (1, 'x', 0)", "limits x "),
    "an attachment is missing": ("DELETE FROM attachments WHERE position = 8", "attachments 8 "),
    "the first attachment is missing": (FIRST_ATTACHMENT, "attachments 1 "),
    "an attachment that never was": (AN_ATTACHMENT, "attachments 11 "),
    "an attachment to another profile": (ANOTHER_PROFILE, "attachments 8 profile_id"),
    "an attachment of another session": (ANOTHER_SESSION, "attachments 9 session_id"),
}


@pytest.mark.parametrize("tampering", ROWS)
def test_a_row_beside_the_log_that_differs_is_named_and_nothing_else(
    store: SessionStore, tampering: str
) -> None:
    statement, expected = ROWS[tampering]
    change(store, statement)
    assert differs(store) == [expected]

    rebuild(store)
    assert verify(store) == []


# --- tampering with the log


@pytest.mark.parametrize("position", range(1, 19))
def test_an_event_that_is_gone_is_found(store: SessionStore, position: int) -> None:
    change(store, "DELETE FROM events WHERE position = ?", position)

    assert differs(store) != []
    if position < store.position:  # else it looks as if it had never been
        first = verify(store)[0]
        assert (first.key, first.column, first.position) == ((position,), "position", position)


def test_the_first_event_behind_a_gap_in_a_stream_is_named(store: SessionStore) -> None:
    _, second, third, *_ = [recorded.position for recorded in store.events("a")]
    change(store, "DELETE FROM events WHERE position = ?", second)

    found = [each for each in verify(store) if each.column == "version"]

    assert [(each.key, each.position) for each in found] == [(("session", "a"), third)]


def test_positions_begin_with_1(store: SessionStore) -> None:
    change(store, "UPDATE events SET position = 0 WHERE position = 1")

    assert [(each.key, each.column, each.position) for each in verify(store)] == [
        ((1,), "position", 1)
    ]


@pytest.mark.parametrize(
    ("tampering", "column"),
    [
        ("UPDATE events SET at = '2999-01-01T00:00:00.000000Z' WHERE position = 2", "at"),
        ("UPDATE events SET at = '1999-01-01T00:00:00.000000Z' WHERE position = 3", "at"),
    ],
)
def test_a_time_that_goes_back_in_a_session_is_found(
    store: SessionStore, tampering: str, column: str
) -> None:
    change(store, tampering)

    assert [(d.relation, d.key, d.column) for d in verify(store)] == [
        ("events", ("session", "a"), column)
    ]


def test_events_that_have_changed_places_are_found(store: SessionStore) -> None:
    first, second, *_ = [recorded.position for recorded in store.events("a")]
    for old, new in ((first, 99), (second, first), (99, second)):
        change(store, "UPDATE events SET position = ? WHERE position = ?", new, old)

    found = verify(store)

    assert [(d.key, d.column, d.position) for d in found] == [(("session", "a"), "position", first)]


OTHER_DATA = [
    (2, '{"coupon":"D"}'),
    (4, '{"item":{"price":2,"sku":"y"},"lineQuantity":1,"position":1,"quantity":1}'),
    (5, '{"item":{"price":59.9,"sku":"x"},"position":1,"quantity":3}'),
    (5, '{"item":{"price":59.9,"sku":"x"},"position":7,"quantity":3}'),
    (6, '{"total":0.1}'),
    (3, "{}"),
]


@pytest.mark.parametrize(("position", "data"), OTHER_DATA)
def test_an_event_with_other_data_is_found(store: SessionStore, position: int, data: str) -> None:
    change(store, "UPDATE events SET data = ? WHERE position = ?", data, position)

    assert verify(store) != []


ENVELOPES = (
    "type=Unheard type_version=99 stream_id=z category=z version=7 version=0 metadata=[] "
    "at=2020-01-01T00:00:00.000000Z"
)


@pytest.mark.parametrize("envelope", ENVELOPES.split())
def test_an_event_with_another_envelope_is_found(store: SessionStore, envelope: str) -> None:
    column, value = envelope.split("=")
    change(store, f"UPDATE events SET {column} = ? WHERE position = 8", value)

    assert verify(store) != []


@pytest.mark.parametrize("open_store", ["memory", "sqlite"], indirect=True)
@pytest.mark.parametrize("column", ["data={", "data=", "metadata={", "at=2020", "at="])
def test_what_postgresql_would_not_even_take_is_found_in_sqlite(
    store: SessionStore, column: str
) -> None:
    name, value = column.split("=")
    change(store, f"UPDATE events SET {name} = ? WHERE position = 3", value)

    assert verify(store) != []


FIRST_SESSIONS = [
    (1, '{"firstSession":false,"profileId":"p"}'),
    (8, '{"firstSession":true,"profileId":"p"}'),
    (9, '{"firstSession":false,"oldProfileId":"p","profileId":"q"}'),
    (11, '{"firstSession":false}'),
]


@pytest.mark.parametrize(("position", "data"), FIRST_SESSIONS)
def test_an_event_with_a_wrong_first_session_is_named(
    store: SessionStore, position: int, data: str
) -> None:
    change(store, "UPDATE events SET data = ? WHERE position = ?", data, position)
    assert ("events", position) in [(d.relation, *d.key[:1]) for d in verify(store)]


@pytest.mark.parametrize(("position", "data"), FIRST_SESSIONS)
def test_a_wrong_first_session_is_named_where_all_views_are_as_wrong(
    store: SessionStore, position: int, data: str
) -> None:
    change(store, "UPDATE events SET data = ? WHERE position = ?", data, position)
    rebuild(store)
    assert ("events", position) in [(d.relation, *d.key[:1]) for d in verify(store)]


def test_an_event_that_makes_a_session_anonymous_and_no_first_one_is_named(
    store: SessionStore,
) -> None:
    moved = store.execute("b", SetProfile(profile_id="")).position
    data = '{"firstSession":false,"oldProfileId":"p","profileId":""}'
    change(store, "UPDATE events SET data = ? WHERE position = ?", data, moved)
    rebuild(store)

    assert named(store) == [(moved, "events", "firstSession")]


# --- the first event that is not reflected

MODES: tuple[Mode, ...] = ("inline", "followed")


@pytest.fixture(params=MODES)
def projected(request: pytest.FixtureRequest, open_store: OpenStore) -> SessionStore:
    """A store with projections in a mode, that have come to the end of three sessions."""
    store = open_store(projections=in_mode(request.param, MENDED, SPEND))
    store.execute("a", OpenSession(profile_id="p"))  # 1
    store.execute("a", add("x"))  # 2
    store.execute("b", OpenSession(profile_id="p"))  # 3
    store.execute("b", add("x"))  # 4
    store.execute("a", add("y"))  # 5
    store.execute("b", SetProfile(profile_id="q"))  # 6
    store.execute("b", CloseSession())  # 7
    Runner(store).run(until=7)
    return store


def named(store: SessionStore) -> list[tuple[int | None, str, str]]:
    """The first event of each difference, and what it is in."""
    return [(d.position, d.relation, d.column) for d in verify(store)]


@contextmanager
def as_before(store: SessionStore, relation: str) -> Iterator[None]:
    """At the end of the block a relation has the rows again that it has now."""
    rows = store.query(f"SELECT * FROM {relation}")
    try:
        yield
    finally:
        with unguarded(store.recorder.database) as connection:
            connection.execute(f"DELETE FROM {relation}")
            for row in rows:
                values = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {relation} VALUES ({values})", row)


EXTRA = "INSERT INTO sold_lines (application_id, session_id, sku, units)"
FIRST_EVENTS = [
    ("UPDATE sales SET total = 59.9 WHERE session_id = 'a'", 5, "sales", "total"),
    ("UPDATE sales SET total = 1 WHERE session_id = 'a'", 5, "sales", "total"),
    ("UPDATE sales SET total = 1 WHERE session_id = 'b'", 4, "sales", "total"),
    ("UPDATE sales SET total = 0 WHERE session_id = 'b'", 4, "sales", "total"),
    ("DELETE FROM sales WHERE session_id = 'b'", 3, "sales", ""),
    ("UPDATE spend SET opened = 1 WHERE profile_id = 'p'", 3, "spend", "opened"),
    ("UPDATE spend SET came = 0 WHERE profile_id = 'q'", 6, "spend", "came"),
    ("DELETE FROM sold_lines WHERE session_id = 'a' AND sku = 'x'", 2, "sold_lines", ""),
    ("DELETE FROM sold_lines WHERE session_id = 'a' AND sku = 'y'", 5, "sold_lines", ""),
    ("UPDATE sold_lines SET closed = NULL WHERE session_id = 'b'", 7, "sold_lines", "closed"),
    ("UPDATE sold_lines SET units = 9 WHERE sku = 'y'", 5, "sold_lines", "units"),
    (
        "UPDATE sold_lines SET closed = '2026-11-23T10:00:00.000000Z' WHERE sku = 'y'",
        5,
        "sold_lines",
        "closed",
    ),
    (f"{EXTRA} VALUES (1, 'a', 'z', 1)", None, "sold_lines", ""),
    (f"{EXTRA} VALUES (1, 'z', 'z', 1)", None, "sold_lines", ""),
    ("DELETE FROM claims WHERE holder = 'b'", 6, "claims", ""),
    ("INSERT INTO claims VALUES (1, 'first-session:p', 'z')", None, "claims", ""),
    ("DELETE FROM limits WHERE limit_name LIKE '%:q'", 6, "limits", ""),
    ("UPDATE limits SET used = 7 WHERE limit_name LIKE '%:p'", 1, "limits", "used"),
]


@pytest.mark.no_cover
def test_the_first_event_that_is_not_reflected_is_named(
    projected: SessionStore, subtests: pytest.Subtests
) -> None:
    for statement, first, relation, column in FIRST_EVENTS:
        with subtests.test(statement), as_before(projected, relation):
            change(projected, statement)

            assert named(projected) == [(first, relation, column)]

    assert verify(projected) == []
    with unguarded(projected.recorder.database) as connection:
        for statement, *_ in FIRST_EVENTS:
            connection.execute(statement)
    assert verify(projected) != []
    rebuild(projected)
    assert verify(projected) == []


def test_the_first_event_is_named_for_an_amount_of_many_digits_too(store: SessionStore) -> None:
    store.execute("rich", OpenSession())
    added = store.execute("rich", add("x", price="123456789012.123456"))
    change(store, "UPDATE customer_sessions SET total = 5 WHERE session_id = 'rich'")

    assert named(store) == [(added.position, "customer_sessions", "total")]


class Added(msgspec.Struct, frozen=True):
    lines: tuple[tuple[Decimal, datetime, str, int], ...] = ()


def added(view: Added | None, recorded: Recorded) -> Added:
    """The items of a session as they were added, each with the position of its event."""
    before, event = view or Added(), recorded.event
    if not isinstance(event, ItemAdded):
        return before
    line = (event.item.price, recorded.at, event.item.sku, recorded.position)
    return Added((*before.lines, line))


@pytest.mark.parametrize("key", ["price", "at", "sku", "position"])
def test_the_first_event_is_named_for_rows_by_any_key(
    open_store: OpenStore, clock: Clock, key: str
) -> None:
    kinds: dict[str, Kind] = {"price": "money", "at": "time", "sku": "text", "position": "integer"}
    columns = (*[Column(*each) for each in kinds.items()], Column("note"))
    rows: Rows[Added] = Rows(
        "added_items", columns, (key,), lambda view: [(*line, "as it was") for line in view.lines]
    )
    items = Projection(name="items", version=1, view=Added, fold=added, rows=(rows,))
    store = open_store(now=clock, projections=in_mode("inline", items))
    store.execute("a", OpenSession())
    for number, amount in enumerate(("1.10", "2", "59.90")):
        clock.move(seconds=0.5)
        store.execute("a", add(f"x{number}", amount))

    change(store, "DELETE FROM added_items WHERE sku = 'x0'")
    change(store, "UPDATE added_items SET note = 'changed' WHERE sku = 'x1'")

    assert named(store) == [(2, "added_items", ""), (3, "added_items", "note")]


def test_differences_come_in_the_order_of_the_log(projected: SessionStore) -> None:
    for statement in (
        "UPDATE sold_lines SET closed = NULL WHERE session_id = 'b'",
        "UPDATE limits SET used = 9 WHERE limit_name LIKE '%p'",
        "UPDATE spend SET opened = 1 WHERE profile_id = 'p'",
        "DELETE FROM customer_sessions WHERE session_id = 'a'",
    ):
        change(projected, statement)

    assert named(projected) == [
        (1, "limits", "used"),
        (1, "customer_sessions", ""),
        (3, "spend", "opened"),
        (7, "sold_lines", "closed"),
    ]


def test_a_follower_is_compared_only_as_far_as_it_has_come(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("followed", MENDED, SPEND))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add("x"))
    Runner(store, ["sales"]).run(until=2)
    store.execute("b", OpenSession(profile_id="p"))
    Runner(store, ["spend"]).run(until=3)
    store.execute("a", CloseSession())

    assert verify(store) == []
    change(store, "UPDATE customer_sessions SET state = 'open' WHERE session_id = 'a'")
    assert named(store) == [(4, "customer_sessions", "state")]


def test_the_first_event_of_a_follower_that_is_behind_is_named(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("followed", MENDED))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    Runner(store).run(until=2)
    store.execute("a", add("y"))
    change(store, "UPDATE sales SET total = 7 WHERE session_id = 'a'")

    assert named(store) == [(2, "sales", "total")]


def test_the_first_event_of_a_view_that_waits_is_named(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("inline", SALES))
    for command in (OpenSession(), add("x"), add(BAD), add("y")):
        store.execute("a", command)
    change(store, "UPDATE sales SET total = 7 WHERE session_id = 'a'")

    assert named(store) == [(2, "sales", "total")]


@pytest.mark.parametrize("mode", ["live", "inline"])
def test_a_projection_may_be_switched_meanwhile(url: str, mode: Mode) -> None:
    with SessionStore.open(url, projections=in_mode("followed", MENDED)) as store:
        store.execute("a", OpenSession())
        Runner(store).run(until=1)
        to_switch = ["sales"]

        def switch(*_: int) -> None:
            if to_switch:
                rebuild(store, names=[to_switch.pop()], mode=mode)

        assert verify(store, switch) == []
        assert to_switch == []


NEWER = replace(MENDED, version=2, fold=lambda view, _: view or Sales(total=Decimal(7)))
VERSION = ("projections", ("sales",), "version", 2, 1)


@pytest.mark.parametrize(("here", "found"), [(MENDED, [VERSION]), (NEWER, [])])
def test_a_version_with_other_views_may_take_its_place_meanwhile(
    open_store: OpenStore, here: Projection[Any], found: list[Any]
) -> None:
    older = open_store(projections=in_mode("inline", MENDED))
    older.execute("a", OpenSession())
    older.execute("a", add("x"))
    database = older.recorder.database
    newer, verifying = (
        SessionStore(database, 1, read_only=True, projections=in_mode("inline", each))
        for each in (NEWER, here)
    )
    to_switch = ["sales"]

    def switch(*_: int) -> None:
        if to_switch:
            assert rebuild(newer, names=[to_switch.pop()]).switched

    differences = [
        (each.relation, each.key, each.column, each.stored, each.expected)
        for each in verify(verifying, switch)
    ]

    assert (differences, to_switch) == (found, [])


def in_its_way(url: str) -> SessionStore:
    """A store whose session "bad" has an event that the fold of sales leaves out."""
    store = SessionStore.open(url, projections=in_mode("inline", SALES))
    store.execute("bad", OpenSession())
    store.execute("bad", add(BAD))
    StoredProjection(store, SALES).skip("bad")
    return store


def begin_another(store: SessionStore) -> None:
    rebuild(store, names=["sales"], stop=lambda: True)


def drop_the_old_one(store: SessionStore) -> None:
    drop(store, "sales")


@pytest.mark.parametrize("meanwhile", [begin_another, drop_the_old_one])
def test_builds_that_come_and_go_with_what_they_skip_are_no_difference(
    url: str, meanwhile: Callable[[SessionStore], None]
) -> None:
    with in_its_way(url) as store:
        rebuild(store, names=["sales"])
        to_do = [meanwhile]

        found = verify(store, lambda *_: to_do and to_do.pop()(store))

        assert (found, to_do, verify(store)) == ([], [], [])


def test_a_projection_that_goes_before_its_first_event_is_named_lets_it_begin_anew(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(url, projections=in_mode("followed", SPEND)) as store:
        store.execute("a", OpenSession(profile_id="p"))
        Runner(store).run(until=1)
        change(store, "UPDATE spend SET opened = 99")
        with SessionStore.open(url, read_only=True, projections=()) as other:

            def named_late(*found: Any) -> list[Difference]:
                drop(other, "spend")
                monkeypatch.undo()
                return with_first_events(*found)

            monkeypatch.setattr("projections.verifying.verify.with_first_events", named_late)
            found = verify(store)

    assert found == []  # it is not kept any more


def test_a_projection_that_is_dropped_and_begun_again_meanwhile_is_no_difference(url: str) -> None:
    with SessionStore.open(url, projections=in_mode("followed", SPEND)) as store:
        for number in range(3):
            store.execute(f"s{number}", OpenSession(profile_id=f"p{number}"))
        Runner(store).run(until=3)
        again = [store]

        def begin_again(*_: int) -> None:
            if again:
                known = again.pop()
                with SessionStore.open(url, read_only=True, projections=()) as other:
                    drop(other, "spend")
                Runner(known).run(until=1)

        found = verify(store, begin_again)

        assert (found, again, StoredProjection(store, SPEND).position) == ([], [], 1)


def test_keys_that_wait_meanwhile_do_not_let_it_begin_anew(url: str) -> None:
    with in_its_way(url) as store:
        told: list[int] = []

        def park_another(done: int, _: int) -> None:
            told.append(done)
            store.execute(f"bad {len(told)}", OpenSession())
            store.execute(f"bad {len(told)}", add(BAD))

        assert verify(store, park_another) == []
        assert len(told) == 1  # one page
        assert [each.key for each in StoredProjection(store, SALES).parked()] == ["bad 1"]


def test_what_is_skipped_meanwhile_lets_it_begin_anew(url: str) -> None:
    with in_its_way(url) as store:
        store.execute("worse", OpenSession())
        store.execute("worse", add(BAD))
        store.execute("worse", add("x"))
        to_skip = ["worse"]

        def skip(*_: int) -> None:
            if to_skip:
                StoredProjection(store, SALES).skip(to_skip.pop())

        assert verify(store, skip) == []
        assert to_skip == []


def test_what_an_interrupted_verification_has_left_is_in_nobodys_way(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with store.recorder.database.private() as connection:  # in memory all have the same one
        connection.execute("CREATE TEMPORARY TABLE claims_fresh (left_over text)")
        connection.execute("CREATE TEMPORARY TABLE parked_fresh (left_over text)")

    assert verify(store) == []


def test_an_interrupt_that_closes_its_connection_is_still_an_interrupt(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_its_way(postgres_url) as store:
        private = store.recorder.database.private
        seen: list[Any] = []

        @contextmanager
        def watched() -> Iterator[Connection]:
            with private() as connection:
                seen.append(connection)
                yield connection

        def interrupt(*_: int) -> None:
            seen[0].raw.close()  # as psycopg does where one comes as it waits
            raise KeyboardInterrupt

        monkeypatch.setattr(store.recorder.database, "private", watched)
        with pytest.raises(KeyboardInterrupt):
            verify(store, interrupt)


def test_a_follower_that_has_come_further_than_the_log_goes_is_found(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("followed", MENDED))
    store.execute("a", OpenSession())
    store.execute("b", OpenSession())
    Runner(store).run(until=2)
    change(store, "DELETE FROM events WHERE position = 2")

    found = {(each.relation, each.stored, each.expected) for each in verify(store)}

    assert {("positions", 2, 1), ("sales", "a row", None)} <= found


def test_an_event_that_cannot_be_read_is_named_where_a_follower_is_before_it(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("followed", MENDED))
    for number in range(3):
        store.execute(f"a{number}", OpenSession())
    Runner(store).run(until=3)
    for number in range(3):
        store.execute(f"b{number}", OpenSession(profile_id="p"))
    change(store, "UPDATE events SET type = 'Unheard' WHERE position = 5")

    assert [(d.relation, d.key, d.position) for d in verify(store)] == [("events", (5,), 5)]


def test_a_view_without_a_row_does_not_end_it(open_store: OpenStore) -> None:
    def unwritable(_: object, recorded: Recorded) -> object:
        return object() if recorded.version == 2 else recorded.version

    whole: Projection[object] = Projection(
        name="whole", version=1, view=object, fold=unwritable, key=MENDED.key
    )
    store = open_store(projections=in_mode("inline", whole))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    assert verify(store) == []
    change(store, "UPDATE whole SET document = '7' WHERE session_id = 'a'")

    assert [(d.relation, d.column) for d in verify(store)] == [("whole", "document")]


# --- keys that wait


@pytest.fixture
def waiting(open_store: OpenStore) -> SessionStore:
    """A store in which "a" waits for position 2, and position 4 of "b" is skipped."""
    store = open_store(projections=in_mode("inline", SALES))
    for session in ("a", "b"):
        store.execute(session, OpenSession())
        store.execute(session, add(BAD))
    store.execute("a", add("x"))
    assert StoredProjection(store, SALES).skip("b")
    assert verify(store) == []
    return store


WAITING = [
    ("DELETE FROM parked WHERE key = 'a'", [(2, "parked", "")]),
    ("UPDATE parked SET position = 5 WHERE key = 'a'", [(2, "parked", ""), (5, "parked", "")]),
    ("UPDATE parked SET key = 'c' WHERE key = 'a'", [(2, "parked", ""), (2, "parked", "")]),
    ("UPDATE parked SET type = 'ItemRemoved' WHERE key = 'a'", [(2, "parked", "type")]),
    ("UPDATE parked SET skipped = TRUE WHERE key = 'a'", []),
    ("UPDATE parked SET skipped = FALSE WHERE key = 'b'", []),
    ("UPDATE parked SET error = 'because' WHERE key = 'a'", []),
    (
        (
            "INSERT INTO parked SELECT 1, projection, build, 'z', 1, type, error, parked_at, "
            "skipped FROM parked WHERE key = 'a'"
        ),
        [(1, "parked", "")],
    ),
    (
        "UPDATE parked SET key = 'z', position = 77 WHERE key = 'b'",
        [(4, "parked", ""), (77, "parked", "")],
    ),
]


@pytest.mark.parametrize("open_store", ["memory", "sqlite"], indirect=True)
def test_a_key_that_waits_for_what_is_no_position_does_not_end_it(waiting: SessionStore) -> None:
    change(waiting, "UPDATE parked SET position = 'x' WHERE key = 'a'")
    change(waiting, "UPDATE sales SET total = 7 WHERE session_id = 'a'")

    assert (None, "parked", "") in named(waiting)


@pytest.mark.parametrize(("statement", "found"), WAITING)
def test_a_key_that_waits_otherwise_than_the_log_says_is_found(
    waiting: SessionStore, statement: str, found: list[tuple[int, str, str]]
) -> None:
    change(waiting, statement)

    differences = [each for each in named(waiting) if each[1] == "parked"]

    assert differences == found


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_an_event_that_is_skipped_has_no_part_in_which_is_the_first_though_it_could_be_folded_now(
    waiting: SessionStore, open_store: OpenStore
) -> None:
    waiting.close()
    store = open_store(projections=in_mode("inline", MENDED))
    added = store.execute("b", add("x"))

    change(store, "UPDATE sales SET total = 7 WHERE session_id = 'b'")

    assert (added.position, "sales", "total") in named(store)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1", None, True])
def test_what_is_no_number_of_differences_is_refused(
    store: SessionStore,
    limit: Any,
) -> None:
    with pytest.raises(InvalidValue, match=r"^limit: a whole number >= 1, not "):
        verify(store, limit=limit)
