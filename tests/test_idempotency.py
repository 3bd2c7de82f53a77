"""The same key gives the first answer again, and a second effect never."""

from __future__ import annotations

from collections import UserDict, deque
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from sessions import (
    AddItem,
    ApplyCoupon,
    CartItem,
    CloseSession,
    Executed,
    IdempotencyKeyReused,
    InvalidValue,
    LimitExceeded,
    OpenSession,
    Refused,
    RemoveCoupon,
    ReplaceCart,
    SessionNotOpen,
    SessionStore,
    SetAttributes,
    SetDiscount,
    SetProfile,
    StorageFailed,
)
from sessions.log.recorder import SessionRecorder
from tests.conftest import add, in_threads
from tests.processes import in_processes
from tests.tampering import change, opened, unguarded

if TYPE_CHECKING:
    from sessions.commands import Command
    from tests.conftest import Clock, OpenStore

BERLIN = timezone(timedelta(hours=1))
DEEP: list[Any] = reduce(lambda inner, _: [inner], range(5000), [])
RICH = add(weight=Decimal("0.50"), attributes={"a": [1, 1.0, 2**70, None, {"ü": True}]})


@pytest.mark.parametrize("command", [RICH, RemoveCoupon(), CloseSession()])
def test_the_same_again_gives_the_first_answer_and_writes_nothing(
    store: SessionStore, open_store: OpenStore, clock: Clock, command: Command
) -> None:
    store.execute("s", OpenSession())
    first = store.execute("s", command, idempotency_key="k", metadata={"actor": "ada"})
    store.execute("other", OpenSession())
    clock.move(days=1000)

    again = store.execute("s", command, idempotency_key="k")
    reopened = open_store().execute("s", command, idempotency_key="k")

    assert first == again == reopened
    assert store.answered("k") == [first]
    assert store.position == first.position + 1


ANOTHERS = '[["t", 1, 1, 1]]'


@pytest.mark.parametrize("kept", ["[]", "{}", '[["s", 1]]', '[["s", 1, 1, -1]]', "null", ANOTHERS])
def test_a_kept_answer_that_is_damaged_is_an_error_that_names_the_key(url: str, kept: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession(), idempotency_key="pay-4711")
    change(url, f"UPDATE answers SET answer = '{kept}'")

    with SessionStore.open(url) as store:
        with pytest.raises(StorageFailed, match="idempotency key 'pay-4711' is damaged"):
            store.execute("s", OpenSession(), idempotency_key="pay-4711")
        if kept != "[]":  # which is an answer, if to no command
            with pytest.raises(StorageFailed, match="idempotency key 'pay-4711' is damaged"):
                store.answered("pay-4711")
        assert store.execute("s", CloseSession(), idempotency_key="other").version == 2


@pytest.mark.parametrize("count", [3, 9])
def test_a_kept_answer_of_events_that_the_log_does_not_have_is_damaged(
    url: str, count: int
) -> None:
    with SessionStore.open(url) as store:
        store.execute("other", OpenSession())
        store.execute_many("s", [OpenSession(), add()], idempotency_key="k")
    change(url, f"""UPDATE answers SET answer = '[["s", 1, 2, 1], ["s", 2, 3, {count}]]'""")

    with SessionStore.open(url) as store:
        with pytest.raises(StorageFailed, match="no event of session 's' at position"):
            store.answered("k")
        with pytest.raises(StorageFailed, match="no event of session 's' at position"):
            store.execute_many("s", [OpenSession(), add()], idempotency_key="k")


def test_the_answers_of_one_key_are_dealt_out_to_their_own_sessions_or_not_at_all(url: str) -> None:
    pairs: list[tuple[str, Command]] = [(name, OpenSession()) for name in "abc"]
    with SessionStore.open(url) as store:
        store.execute_all(pairs, idempotency_key="k")
    with opened(url) as database, unguarded(database) as connection:
        connection.execute("DELETE FROM events WHERE position = 1")

    with (
        SessionStore.open(url) as store,
        pytest.raises(StorageFailed, match="no event of session 'a' at position 1"),
    ):
        store.execute_all(pairs, idempotency_key="k")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL keeps JSON only
def test_a_kept_answer_that_is_no_json_is_damaged_too(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession(), idempotency_key="k")
        change(url, "UPDATE answers SET answer = 'x'")

        with pytest.raises(StorageFailed, match="idempotency key 'k' is damaged"):
            store.answered("k")


def test_the_first_answer_is_given_whatever_happened_since(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    first = store.execute("s", add(), idempotency_key="k", expected_version=1)
    store.execute("s", CloseSession())

    assert store.execute("s", add(), idempotency_key="k", expected_version=1) == first
    assert store.execute("s", add(), idempotency_key="k", metadata={"actor": "bob"}) == first


def test_an_answer_says_whether_it_was_given_before(store: SessionStore) -> None:
    first = store.execute("s", OpenSession(), idempotency_key="k")
    again = store.execute("s", OpenSession(), idempotency_key="k")
    with store.batch():
        inside = [store.execute("s", add(), idempotency_key="l") for _ in range(2)]

    assert [each.replayed for each in (first, again, *inside)] == [False, True, False, True]
    assert [each.replayed for each in store.answered("k") or ()] == [True]
    assert (again, hash(again), again.to_json()) == (first, hash(first), first.to_json())
    assert not again != first  # noqa: SIM202  both are asked by people
    assert inside[0] != first
    assert again != inside[0]
    assert first != "s"


def test_a_key_holds_for_all_commands_of_one_go(store: SessionStore) -> None:
    opening: list[Command] = [OpenSession(coupon="C"), RemoveCoupon(), RemoveCoupon(), add()]
    pair: list[tuple[str, Command]] = [("t", OpenSession()), ("s", CloseSession())]

    many = store.execute_many("s", opening, idempotency_key="many")
    everything = store.execute_all(pair, idempotency_key="all")

    assert store.execute_many("s", opening, idempotency_key="many") == many
    assert store.execute_all(pair, idempotency_key="all") == everything
    assert [len(done.events) for done in many + everything] == [2, 1, 0, 1, 1, 1]
    assert store.position == 6


def test_what_was_answered_to_many_commands_is_read_at_once(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Command] = [OpenSession(), RemoveCoupon(), *[add() for _ in range(40)]]
    first = store.execute_many("s", commands, idempotency_key="k")
    store.execute("t", OpenSession())
    reads: list[object] = []
    log_rows = SessionRecorder.log_rows

    def counted(*asked: Any) -> Any:
        reads.append(asked)
        return log_rows(*asked)

    monkeypatch.setattr(SessionRecorder, "log_rows", counted)

    assert store.execute_many("s", commands, idempotency_key="k") == first
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("session_id", "command"),
    [("t", add()), ("s", add(quantity=2)), ("s", add("other")), ("s", CloseSession())],
    ids=["another session", "another field", "another value", "another command"],
)
def test_a_key_of_another_session_or_other_fields_is_an_error(
    store: SessionStore, session_id: str, command: Command
) -> None:
    store.execute("s", OpenSession())
    store.execute("t", OpenSession())
    store.execute("s", add(), idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused) as reused:
        store.execute(session_id, command, idempotency_key="k")

    assert (reused.value.key, reused.value.retry, store.position) == ("k", False, 3)


def test_many_are_not_the_same_as_the_first_of_them(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add()], idempotency_key="k")

    others: list[list[Command]] = [[OpenSession()], [OpenSession(), add(), add()], []]
    for commands in others:
        with pytest.raises(IdempotencyKeyReused):
            store.execute_many("s", commands, idempotency_key="k")


def _cart(price: str) -> list[CartItem]:
    return [CartItem(sku="a", price=Decimal(price))]


NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
A_WHOLE_PRICE: Any = 60
SAME: dict[str, tuple[Command, Command]] = {
    "zeros at the end": (add(price="59.90"), add(price="59.9")),
    "an exponent": (add(price="1E+2"), add(price="100")),
    "a whole number": (add(price="60"), AddItem(sku="9696", price=A_WHOLE_PRICE)),
    "a timezone": (OpenSession(at=NOON), OpenSession(at=NOON.astimezone(BERLIN))),
    "a default": (add(quantity=1, name=""), add()),
    "an empty list": (OpenSession(cart_items=[], identifiers=[]), OpenSession()),
    "order": (
        SetAttributes(attributes={"a": 1, "b": 2}),
        SetAttributes(attributes={"b": 2, "a": 1}),
    ),
    "a zero": (
        SetDiscount(label="d", value=Decimal("-0.0")),
        SetDiscount(label="d", value=Decimal(0)),
    ),
    "a tuple": (ReplaceCart(cart_items=_cart("5")), ReplaceCart(cart_items=tuple(_cart("5")))),
    "a price inside": (ReplaceCart(cart_items=_cart("5.0")), ReplaceCart(cart_items=_cart("5"))),
}


@pytest.mark.parametrize(("given", "again"), SAME.values(), ids=SAME)
def test_another_notation_of_the_same_is_the_same(
    store: SessionStore, given: Command, again: Command
) -> None:
    session_id = "s" if isinstance(given, OpenSession) else "t"
    store.execute("t", OpenSession())

    first = store.execute(session_id, given, idempotency_key="k")

    assert store.execute(session_id, again, idempotency_key="k") == first


def test_another_instant_is_not_the_same(store: SessionStore, clock: Clock) -> None:
    store.execute("s", OpenSession())
    store.execute("s", add(at=clock()), idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        store.execute("s", add(at=clock().replace(tzinfo=BERLIN)), idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        store.execute("s", add(), idempotency_key="k")


def test_a_refusal_keeps_no_key_and_is_decided_again(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), CloseSession()])
    with pytest.raises(SessionNotOpen):
        store.execute("s", add(), idempotency_key="k")
    with pytest.raises(SessionNotOpen):
        store.execute_all([("t", OpenSession()), ("s", add())], idempotency_key="k")

    assert store.answered("k") is None
    assert store.execute("t", OpenSession(), idempotency_key="k").version == 1


def test_a_key_is_of_one_application(open_store: OpenStore) -> None:
    one, two = open_store(1), open_store(2)
    one.execute("s", OpenSession(), idempotency_key="k")

    assert two.answered("k") is None
    assert two.execute("t", OpenSession(), idempotency_key="k").position == 1


@pytest.mark.parametrize(
    ("key", "error"),
    [("", InvalidValue), ("a\0", InvalidValue), ("k" * 256, LimitExceeded)],
)
def test_a_key_is_a_text_of_1_to_255_characters(
    store: SessionStore, key: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="idempotencyKey"):
        store.execute("s", OpenSession(), idempotency_key=key)

    store.execute("s", OpenSession(), idempotency_key="ü" * 255)


@pytest.mark.parametrize(
    "command",
    [
        SetAttributes(attributes={"a": object()}),
        SetAttributes(attributes={"a": "\ud800"}),
        SetAttributes(attributes={"a": DEEP}),
        SetProfile(profile_id="\ud800"),
        ApplyCoupon(coupon="C", at=datetime.min.replace(tzinfo=BERLIN)),
    ],
    ids=["no JSON", "no Unicode", "too deep", "no profile", "before year 1"],
)
def test_a_value_that_has_no_stored_form_is_refused_with_a_key_as_without(
    store: SessionStore, command: Command
) -> None:
    store.execute("s", OpenSession())
    store.execute("closed", OpenSession(state="closed"), idempotency_key="used")

    with pytest.raises(Refused) as without:
        store.execute("s", command)
    with pytest.raises(type(without.value)) as refused:
        store.execute("s", command, idempotency_key="k")
    assert (str(refused.value), refused.value.fields) == (str(without.value), without.value.fields)
    with pytest.raises(SessionNotOpen):
        store.execute("closed", command, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        store.execute("s", command, idempotency_key="used")
    assert (store.answered("k"), store.position) == (None, 3)


class Moment(datetime):
    """A time of a kind of its own, as libraries of times have them."""


class Amount(Decimal):
    """An amount of a kind of its own."""


MAPPING: Any = MappingProxyType({"a": UserDict(b=[1])})
OF_THEIR_OWN: dict[str, Command] = {
    "a time": OpenSession(at=Moment(2026, 1, 1, tzinfo=UTC)),
    "an amount": OpenSession(total=Amount("59.90")),
    "attributes": OpenSession(attributes=MAPPING),
    "a list": OpenSession(attributes={"a": deque([range(2)])}),
}


@pytest.mark.parametrize("command", OF_THEIR_OWN.values(), ids=OF_THEIR_OWN)
def test_a_value_of_a_kind_of_its_own_is_taken_with_a_key_as_without(
    store: SessionStore, command: Command
) -> None:
    without = store.execute("without", command)
    with_key = store.execute("with", command, idempotency_key="k")

    assert [r.event for r in with_key.events] == [r.event for r in without.events]
    assert store.execute("with", command, idempotency_key="k") == with_key


def test_what_is_ignored_must_be_json_all_the_same_where_a_key_keeps_it(
    store: SessionStore,
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(InvalidValue, match="command: JSON values"):
        store.execute("s", add(position=object()), idempotency_key="k")
    assert (store.answered("k"), store.position) == (None, 1)


def test_one_key_from_16_threads_at_the_same_moment_gives_one_answer(
    store: SessionStore,
) -> None:
    store.execute("s", OpenSession())

    def pay(_: int) -> Executed:
        return store.execute("s", add(), idempotency_key="k")

    first, *others = in_threads(16, pay)

    assert others == [first] * 15
    assert store.position == 2


def _pay(url: str, _: int) -> list[Executed]:
    with SessionStore.open(url) as store:
        keys = [f"k{number}" for number in range(20)]
        return [store.execute("s", add(), idempotency_key=key) for key in keys]


def test_one_key_from_4_processes_at_the_same_moment_gives_one_answer(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession())

        first, *others = in_processes(4, _pay, url)

        assert others == [first] * 3
        assert store.position == 21
