"""What people look at: the CustomerSession to the letter, and the table that SQL can ask."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import (
    CustomerHistories,
    CustomerSession,
    CustomerSessions,
    Projection,
    StoredProjection,
    attachments,
    rebuild,
)
from projections.customer_session import PROJECTION, TABLE, SessionView, from_row, to_row
from sessions import (
    CancelSession,
    CartItem,
    CloseSession,
    InvalidValue,
    Item,
    OpenSession,
    Product,
    ProjectionNotKept,
    ReplaceCart,
    ReturnItem,
    ReturnItems,
    SessionStore,
    SetAttributes,
    SetDiscount,
    ViewsDiffer,
    ViewUnreadable,
)
from sessions.views.installed import installed
from sessions.views.storage import Storage
from tests.conftest import add
from tests.tampering import unguarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.keys import Key
    from tests.conftest import Clock, OpenStore

AT = datetime(2026, 11, 23, 12, 0, 0, 120, tzinfo=timezone(timedelta(hours=2)))
FIELDS = {
    "integrationId", "created", "applicationId", "profileId", "coupon", "referral", "state",
    "cartItems", "identifiers", "total", "attributes", "firstSession", "discounts", "updateCount",
    "updated",
}  # fmt: skip
WORTH = "SELECT session_id FROM customer_sessions WHERE total > 100 ORDER BY total"


def test_a_new_session_has_exactly_the_15_fields_and_none_of_them_is_null(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("order-1", OpenSession(at=AT))

    view = msgspec.json.decode(views.get("order-1").to_json())

    assert view == {
        "integrationId": "order-1",
        "created": "2026-11-23T10:00:00.000120Z",
        "applicationId": 1,
        "profileId": "",
        "coupon": "",
        "referral": "",
        "state": "open",
        "cartItems": [],
        "identifiers": [],
        "total": 0,
        "attributes": {},
        "firstSession": True,
        "discounts": {},
        "updateCount": 1,
        "updated": "2026-11-23T10:00:00.000120Z",
    }


def test_a_full_session_is_the_entity_to_the_letter(open_store: OpenStore) -> None:
    store = open_store(322)
    cart = [
        CartItem(sku="9696", price=Decimal(60), name="shoes1", category="shoes"),
        CartItem(sku="6478", price=Decimal("20.50"), quantity=2, product=Product("shirts"),
                 weight=Decimal(200), attributes={"size": "M", "none": None}),
    ]  # fmt: skip
    store.execute("s", OpenSession(profile_id="cust-7", cart_items=cart, identifiers=["d413"]))
    store.execute("s", SetDiscount(label="20% promo", value=Decimal("20.20")))
    store.execute("s", CloseSession())
    store.execute("s", ReturnItems(items=[ReturnItem(position=1, quantity=1)]))

    view = msgspec.json.decode(CustomerSessions(store).get("s").to_json())

    assert view.keys() == FIELDS
    assert view["cartItems"] == [
        {"sku": "9696", "quantity": 1, "price": 60, "name": "shoes1", "category": "shoes",
         "position": 0, "returnedQuantity": 0, "remainingQuantity": 1},
        {"sku": "6478", "quantity": 2, "price": 20.5, "product": {"name": "shirts"}, "weight": 200,
         "attributes": {"size": "M", "none": None}, "position": 1, "returnedQuantity": 1,
         "remainingQuantity": 1},
    ]  # fmt: skip
    assert (view["total"], view["discounts"], view["state"]) == (
        101,
        {"20% promo": 20.2},
        "partially_returned",
    )
    assert (view["applicationId"], view["updateCount"], view["firstSession"]) == (322, 4, True)


@pytest.mark.parametrize(
    ("price", "quantity", "price_text", "total_text"),
    [
        ("0.1", 3, "0.1", "0.3"),
        ("12345678.901", 1, "12345678.901", "12345678.901"),
        ("59.90", 10, "59.9", "599"),
        ("1E+2", 1, "100", "100"),
        ("0.000001", 1, "0.000001", "0.000001"),
        ("-0", 1, "0", "0"),
        ("999999999999.999999", 10_000, "999999999999.999999", "9999999999999999.99"),
    ],
)
def test_money_is_a_json_number_with_every_digit(
    store: SessionStore, price: str, quantity: int, price_text: str, total_text: str
) -> None:
    views = CustomerSessions(store)
    store.execute("s", OpenSession())
    store.execute("s", add("a", price, quantity=quantity))

    for view in (views.get("s"), views.get("s", version=2)):
        text = view.to_json()
        assert re.findall(r'"price":([^,}]*)', text) == [price_text]
        assert re.findall(r'"total":([^,}]*)', text) == [total_text]
        assert CustomerSession.from_json(text) == view


def test_the_rows_are_asked_by_sql_as_numbers_and_states(store: SessionStore, clock: Clock) -> None:
    for name, price in (("a", "99.99"), ("b", "100"), ("c", "100.01"), ("d", "1000"), ("e", "20")):
        store.execute(name, OpenSession(profile_id="p"))
        store.execute(name, add("x", price))
        store.execute(name, add("y", "0", quantity=4))
    clock.move(seconds=1)
    store.execute("c", CloseSession())
    store.execute("c", ReturnItems(items=[ReturnItem(sku="y", quantity=3)]))
    store.execute("d", CancelSession())

    assert store.query(WORTH) == [("c",), ("d",)]
    columns = "state, line_count, unit_count, returned_count, first_session"
    sql = f"SELECT {columns} FROM customer_sessions WHERE session_id = ?"
    assert store.query(sql, ["c"]) == [("partially_returned", 2, 5, 3, False)]
    assert store.query(sql, ["d"]) == [("cancelled", 2, 5, 0, False)]
    assert store.query(sql, ["a"]) == [("open", 2, 5, 0, True)]
    sql = "SELECT closed, updated FROM customer_sessions WHERE session_id = ?"
    now, before = clock(), clock() - timedelta(seconds=1)
    for session_id, times in (("c", [now, now]), ("d", [None, now]), ("a", [None, before])):
        ((closed, updated),) = store.query(sql, [session_id])
        assert [closed and datetime.fromisoformat(closed), datetime.fromisoformat(updated)] == times
    assert store.query("SELECT sum(total) FROM customer_sessions") == [(1320.0,)]


def test_the_stored_view_goes_on_where_another_writer_left_it(
    open_store: OpenStore, views: CustomerSessions
) -> None:
    attributes: dict[str, Any] = {"f": 1.0, "big": 2**70, "e": 1e300, "n": [None, {"ü": -0.0}]}
    one, other = open_store(), open_store()
    one.execute("s", OpenSession(attributes=attributes, total=Decimal("7.50")))
    other.execute("s", SetDiscount(label="d", value=Decimal("0.10")))
    one.execute("s", ReplaceCart(cart_items=[CartItem(sku="a", price=Decimal(2))]))
    other.execute("s", add("a", "2"))
    one.execute("s", SetAttributes(attributes={"f": None}))

    view = views.get("s")

    assert view == views.get("s", version=len(list(one.events("s"))))
    assert view.attributes == {name: attributes[name] for name in ("big", "e", "n")}
    assert (view.total, view.update_count) == (Decimal(4), 5)


def test_a_declared_total_is_shown_until_the_cart_changes(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("s", OpenSession(total=Decimal("100.33")))
    assert views.get("s").total == Decimal("100.33")

    store.execute("s", add("a", "5"))

    assert views.get("s").total == 5


def test_a_process_that_imports_only_sessions_keeps_the_views(url: str) -> None:
    script = (
        "import sys, sessions\n"
        "assert not [name for name in sys.modules if name.startswith('projections')]\n"
        "with sessions.SessionStore.open(sys.argv[1]) as store:\n"
        "    store.execute('s', sessions.OpenSession(profile_id='p'))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script, url], check=True)

    with SessionStore.open(url) as store:
        (view,) = CustomerSessions(store).of_profile("p")
    assert (view.integration_id, view.created.tzinfo) == ("s", UTC)


def test_a_store_with_other_views_is_refused_at_open_and_at_the_next_command(
    open_store: OpenStore,
) -> None:
    store = open_store()
    store.execute("s", OpenSession())
    with store.recorder.database.writing() as connection:
        connection.execute("UPDATE projections SET version = 9 WHERE name = 'attachments'")

    with pytest.raises(ViewsDiffer, match=r"attachments 9.*: upgrade this process"):
        store.execute("s", add())
    if not store.recorder.database.in_memory:
        with pytest.raises(ViewsDiffer):
            open_store()
        assert open_store(read_only=True).position == 1


def test_a_writer_that_lacks_a_view_is_refused(url: str) -> None:
    projections = installed()
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())

    for found in (projections[:1], (), (projections[0], replace(projections[1], version=2))):
        with pytest.raises(ViewsDiffer):
            SessionStore.open(url, projections=found)


def test_commands_and_answers_may_be_changed_without_harm_to_the_store(
    store: SessionStore, views: CustomerSessions
) -> None:
    given: dict[str, Any] = {"a": {"deep": [1]}}
    kept: dict[str, Any] = {"a": {"deep": [1]}}
    with store.batch():
        opened = store.execute("s", OpenSession(attributes=given), metadata=given)
        added = store.execute("s", add(attributes=given))
        given["a"]["deep"].append(2)
        opened.events[0].metadata["a"]["deep"].append(3)
        opened.events[1].event.values["a"]["deep"].append(4)  # type: ignore[union-attr]  # which events they are is known
        added.events[0].event.item.attributes["a"]["deep"].append(5)  # type: ignore[union-attr]  # which events they are is known
    again = store.execute("s", SetAttributes(attributes=kept))

    assert again.events == []
    for view in (views.get("s"), views.get("s", version=3)):
        assert (view.attributes, view.cart_items[0].attributes) == (kept, kept)
    assert next(store.events("s")).metadata == kept


NO_VIEWS = ["'abc'", "''", "'{}'", "x'ff'", "7"]


@pytest.mark.parametrize("document", NO_VIEWS)
@pytest.mark.parametrize("open_store", ["memory", "sqlite"], indirect=True)
def test_a_view_that_is_damaged_is_named_and_what_to_do(
    store: SessionStore, views: CustomerSessions, document: str
) -> None:
    store.execute("order-1", OpenSession(profile_id="p"))
    with unguarded(store.recorder.database) as connection:
        connection.execute(f"UPDATE customer_sessions SET document = {document}")

    stored = StoredProjection(store, PROJECTION)
    asks = (
        lambda: views.get("order-1"),
        lambda: views.of_profile("p"),
        views.find,
        lambda: stored.get("order-1"),
    )
    advice = "run `sessions projections rebuild customer_sessions`"
    for ask in asks:
        with pytest.raises(ViewUnreadable, match=f"'order-1' is damaged: {advice}: "):
            ask()

    rebuild(store)
    assert views.get("order-1") == views.get("order-1", version=1)


def test_a_view_whose_json_is_none_of_a_session_is_named(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("order-1", OpenSession())
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE customer_sessions SET document = '{}'")

    with pytest.raises(ViewUnreadable) as unreadable:
        views.get("order-1")

    assert (unreadable.value.key, unreadable.value.retry) == ("order-1", False)


def test_a_view_of_a_newer_version_is_not_said_to_be_damaged(
    store: SessionStore, views: CustomerSessions
) -> None:
    def other_row(key: Key, view: SessionView) -> list[object]:
        return [*to_row(key, view)[:-1], '{"shown":1}']

    store.execute("order-1", OpenSession(profile_id="p"))
    storage = Storage(TABLE, other_row, from_row)
    newer = replace(PROJECTION, version=2, kept=storage)
    database = store.recorder.database
    rebuild(SessionStore(database, 1, read_only=True, projections=[newer]), names=[newer.name])

    for ask in (lambda: views.get("order-1"), lambda: views.of_profile("p"), views.find):
        with pytest.raises(ProjectionNotKept, match="upgrade this process"):
            ask()


@pytest.mark.parametrize("newer", [PROJECTION, attachments.PROJECTION])
def test_what_is_read_is_never_another_versions_even_if_it_can_be_read(
    store: SessionStore, views: CustomerSessions, newer: Projection[Any]
) -> None:
    store.execute("order-1", OpenSession(profile_id="p"))
    later, database = replace(newer, version=2), store.recorder.database
    rebuild(SessionStore(database, 1, read_only=True, projections=[later]), names=[newer.name])

    asks: list[Callable[[], object]] = [lambda: views.of_profile("p")]
    if newer is PROJECTION:
        asks += [lambda: views.get("order-1"), lambda: views.get_with_version("order-1")]
        asks += [views.find, lambda: views.find(state="closed")]
    else:
        asks += [lambda: views.of_profile("p", as_of=store.now())]
        asks += [lambda: CustomerHistories(store).get("p")]
        assert views.get("order-1") == views.find()[0]
    for ask in asks:
        with pytest.raises(ProjectionNotKept, match=f"{newer.name} 1: upgrade this process"):
            ask()


def test_another_version_that_was_kept_before_is_nothing_to_who_reads(
    store: SessionStore, views: CustomerSessions
) -> None:
    database = store.recorder.database
    store.execute("order-1", OpenSession(profile_id="p"))
    newer = [replace(each, version=2) for each in store.projections]
    rebuild(SessionStore(database, 1, read_only=True, projections=newer))
    assert rebuild(store, allow_older=True).switched

    session = views.get("order-1")

    assert views.find() == views.of_profile("p") == [session]
    assert len(CustomerHistories(store).get("p").sessions) == 1


def test_the_lines_of_a_view_can_be_given_back_as_a_cart(
    store: SessionStore, views: CustomerSessions
) -> None:
    item = add("a", "1.50", name="A", product=Product("P"), weight=Decimal(5), attributes={"x": 1})
    store.execute("s", OpenSession(total=Decimal(9)))
    store.execute("s", item)
    lines: list[Any] = [*views.get("s").cart_items]

    for _ in range(2):
        replaced = store.execute("s", ReplaceCart(cart_items=lines), idempotency_key="k")
        opened = store.execute("t", OpenSession(cart_items=lines), idempotency_key="l")

    assert replaced.events == []
    assert [recorded.type for recorded in opened.events] == ["SessionOpened", "CartReplaced"]
    assert views.get("t").cart_items == lines


def test_an_item_of_an_event_has_no_quantity_and_is_refused(store: SessionStore) -> None:
    items: list[Any] = [Item("a", Decimal(1))]

    with pytest.raises(InvalidValue, match=r"^cartItems\[0\].quantity: a whole number >= 1"):
        store.execute("s", OpenSession(cart_items=items))
