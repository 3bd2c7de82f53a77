"""Inline views: what is kept in the transaction that appends the events."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import Projection, rebuild, verify
from sessions import (
    CancelSession,
    CartItem,
    CloseSession,
    OpenSession,
    ReopenSession,
    ReplaceCart,
    SessionStore,
    SetAttributes,
    SetDiscount,
    SetProfile,
    ViewsDiffer,
)
from sessions.events import ProfileChanged, SessionOpened
from sessions.sql.head import CATCH_UP
from sessions.sql.tables import Column
from sessions.views.installed import installed
from tests.conftest import add
from tests.sample_projections import profiles
from tests.tampering import unguarded

if TYPE_CHECKING:
    from sessions import Command
    from sessions.recorded import Recorded
    from tests.conftest import OpenStore


class Traffic(msgspec.Struct, frozen=True):
    """How many sessions came to a profile and left it."""

    came: int = 0
    gone: int = 0


def _fold(view: Traffic | None, recorded: Recorded) -> Traffic:
    before = view or Traffic()
    match recorded.event:
        case SessionOpened():
            return Traffic(before.came + 1, before.gone)
        case _:
            message = "only openings are expected"
            raise RuntimeError(message)


TRAFFIC = Projection(
    name="traffic",
    version=1,
    view=Traffic,
    fold=_fold,
    keys=profiles,
    key=Column("profile_id", "id"),
    types=(SessionOpened, ProfileChanged),
    columns=(Column("came", "integer"), Column("gone", "integer")),
    mode="inline",
)
WITH_TRAFFIC = (*installed(), TRAFFIC)


def rows(store: SessionStore) -> list[Any]:
    return store.query("SELECT profile_id, came, gone FROM traffic ORDER BY profile_id")


def test_fault_4_views_are_kept_on_sqlite_without_a_subscription(store: SessionStore) -> None:
    store.execute("s", OpenSession(profile_id="p"))

    assert store.query("SELECT session_id, version FROM customer_sessions") == [("s", 1)]


def test_fault_5_projections_of_one_database_do_not_share_how_far_they_came(
    store: SessionStore,
) -> None:
    for session_id in ("s", "t"):
        store.execute(session_id, OpenSession(profile_id="p"))

    assert store.query("SELECT count(*) FROM customer_sessions") == [(2,)]
    assert store.query("SELECT count(*) FROM attachments") == [(2,)]


def test_a_view_may_be_keyed_by_what_several_streams_share(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.views.inline.HELD", 1)
    store = open_store(projections=WITH_TRAFFIC)

    for number in range(5):
        store.execute(f"a{number}", OpenSession(profile_id="p"))
        store.execute(f"b{number}", OpenSession(profile_id="q"))

    assert rows(store) == [("p", 5, 0), ("q", 5, 0)]
    assert verify(store) == []
    assert rebuild(store).events == 10
    assert rows(store) == [("p", 5, 0), ("q", 5, 0)]


def test_a_process_with_one_more_projection_is_told_to_rebuild(open_store: OpenStore) -> None:
    store = open_store()
    store.execute("s", OpenSession(profile_id="p"))
    if store.recorder.database.in_memory:
        other = SessionStore(store.recorder.database, 1, read_only=True, projections=WITH_TRAFFIC)
    else:
        with pytest.raises(ViewsDiffer, match="run `sessions projections rebuild traffic`"):
            open_store(projections=WITH_TRAFFIC)
        other = open_store(read_only=True, projections=WITH_TRAFFIC)

    rebuild(other)

    assert rows(store) == [("p", 1, 0)]
    with pytest.raises(ViewsDiffer):
        store.execute("s", CloseSession())


def test_a_key_whose_fold_fails_is_parked_and_the_command_succeeds(open_store: OpenStore) -> None:
    store = open_store(projections=WITH_TRAFFIC)
    store.execute("s", OpenSession(profile_id="p"))

    executed = store.execute("s", SetProfile(profile_id="q"))
    store.execute("t", OpenSession(profile_id="p"))
    store.execute("u", OpenSession(profile_id="r"))

    assert executed.position == 2
    assert rows(store) == [("p", 1, 0), ("r", 1, 0)]
    assert store.query("SELECT key, position FROM parked ORDER BY key") == [("p", 2), ("q", 2)]
    assert verify(store) == []


class Seen(msgspec.Struct, frozen=True):
    """All that a fold can see, in the order in which it sees it."""

    what: tuple[str, ...] = ()


SEEN = Projection(
    name="seen",
    version=1,
    view=Seen,
    fold=lambda view, recorded: Seen((*(view or Seen()).what, repr(recorded))),
    mode="inline",
)


def test_a_fold_sees_in_the_transaction_what_it_sees_in_the_log(open_store: OpenStore) -> None:
    store = open_store(projections=(*installed(), SEEN))
    unordered = {"z": {"b": 1, "a": [{"d": 1, "c": 2}]}, "\U0001f600": 3, "\uffff": 4}
    named: dict[str, Any] = {"b": unordered, "a": 1}
    commands: list[Command] = [
        OpenSession(attributes=named, identifiers=["b", "a"]),
        add(attributes=named),
        ReplaceCart(
            cart_items=[CartItem(sku="s", price=Decimal(5), attributes=named)], total=Decimal("1.0")
        ),
        SetAttributes(attributes={"d": 1, "c": 2}),
        SetAttributes(attributes={"d": None, "c": None}),
        *[SetDiscount(label=label, value=Decimal("1.50")) for label in "ba"],
        CloseSession(),
        ReopenSession(),
        *[SetDiscount(label=label, value=Decimal(2)) for label in "dc"],
        CancelSession(),
    ]

    for command in commands:
        store.execute("s", command, metadata=named)

    (inline,) = store.query("SELECT document FROM seen")
    assert verify(store) == []
    rebuild(store, names=["seen"], mode="followed")
    assert store.query("SELECT document FROM seen") == [inline]


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_what_another_writer_makes_of_a_view_that_is_held_is_taken_in(
    open_store: OpenStore,
) -> None:
    one, other = (open_store(projections=WITH_TRAFFIC) for _ in range(2))
    one.execute("a", OpenSession(profile_id="p"))  # it holds the session, and the traffic of p
    other.execute("a", CloseSession())
    other.execute("b", OpenSession(profile_id="p"))
    other.execute("c", OpenSession(profile_id="q"))

    one.execute("a", ReopenSession())
    one.execute("d", OpenSession(profile_id="p"))

    assert rows(one) == [("p", 3, 0), ("q", 1, 0)]
    assert one.query("SELECT session_id, version FROM customer_sessions ORDER BY 1") == [
        ("a", 3),
        ("b", 1),
        ("c", 1),
        ("d", 1),
    ]
    assert verify(one) == []


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_what_another_writer_makes_of_a_view_that_is_held_no_longer_is_replaced(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.views.inline.HELD", 1)
    one, other = (open_store() for _ in range(2))
    one.execute("a", OpenSession())
    one.execute("b", OpenSession())  # it holds this view alone
    other.execute("a", CloseSession())

    one.execute("a", ReopenSession())

    found = one.query("SELECT state FROM customer_sessions WHERE session_id = 'a'")
    assert found == [("open",)]
    assert verify(one) == []


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_what_a_newer_writer_makes_of_a_view_that_is_held_is_read(open_store: OpenStore) -> None:
    one, newer = (open_store(projections=WITH_TRAFFIC) for _ in range(2))
    one.execute("a", OpenSession(profile_id="p"))  # it holds the traffic of p
    newer.execute("b", OpenSession(profile_id="p"))
    with unguarded(newer.recorder.database) as connection:  # an event that `one` does not know
        connection.execute("UPDATE events SET type = 'SessionSpawned' WHERE position = 2")

    one.execute("c", OpenSession(profile_id="p"))

    assert rows(one) == [("p", 3, 0)]


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("by_others", [CATCH_UP, CATCH_UP + 1])
def test_however_much_others_wrote_a_writer_goes_on_from_there(
    open_store: OpenStore, by_others: int
) -> None:
    one, other = (open_store() for _ in range(2))
    one.execute("a", OpenSession(profile_id="p"))
    with other.batch():
        for number in range(by_others - 1):
            other.execute(f"b{number}", OpenSession(profile_id="p"))
        other.execute("a", CloseSession())

    done = one.execute("a", ReopenSession())

    assert (done.version, done.position) == (3, by_others + 2)
    assert verify(one) == []
