"""What an attribute may be: any JSON, and nothing else."""

from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from projections import CustomerSessions
from sessions import (
    AddItem,
    AttributesChanged,
    CartItem,
    InvalidValue,
    Item,
    ItemAdded,
    LimitExceeded,
    OpenSession,
    ReplaceCart,
    SessionStore,
    SetAttributes,
    rules,
)
from sessions.commands import Command
from tests.scenario import OPENED, given


def with_attributes(attributes: Any) -> list[tuple[str, Command]]:
    said: dict[str, Any] = {"sku": "a", "price": Decimal(1), "attributes": attributes}
    return [
        ("attributes", SetAttributes(attributes=attributes)),
        ("attributes", AddItem(**said)),
        ("cartItems[0].attributes", ReplaceCart(cart_items=[CartItem(**said)])),
    ]


def nested(levels: int, *, inner: object = 1) -> object:
    value = inner
    for _ in range(levels):
        value = [value]
    return value


JSON: list[Any] = [
    True,
    0,
    -1,
    2**63,
    -(2**64),
    2**4096 - 1,
    0.1,
    -0.0,
    1e300,
    5e-324,
    "",
    "\U0001f600\u2028",
    [],
    {},
    [None, [True, {"a": [None]}]],
    {"": 1, "any name": {"-": None}, "\U0001f600": 2},
    nested(100),
    nested(99, inner={}),
]


@pytest.mark.parametrize("value", JSON, ids=lambda value: ascii(value)[:40])
def test_an_attribute_is_any_json(value: object) -> None:
    setting = given(OPENED).when(SetAttributes(attributes={"a": value}))
    setting.then(AttributesChanged({"a": value}, replaced={}))
    adding = AddItem(sku="a", price=Decimal(1), attributes={"a": value})
    item = Item("a", Decimal(1), attributes={"a": value})
    given(OPENED).when(adding).then(ItemAdded(0, item, 1, 1))


def test_a_null_inside_a_value_or_on_a_line_is_kept() -> None:
    item = Item("a", Decimal(1), attributes={"a": None})
    adding = AddItem(sku="a", price=Decimal(1), attributes={"a": None})
    given(OPENED).when(adding).then(ItemAdded(0, item, 1, 1))
    deep = {"a": {"b": None, "c": [None]}}
    setting = given(OPENED).when(SetAttributes(attributes=deep))
    setting.then(AttributesChanged(deep, replaced={}))


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [
        ((1, 2), [1, 2]),
        (OrderedDict(a=(1,)), {"a": [1]}),
        (MappingProxyType({"a": 1}), {"a": 1}),
    ],
)
def test_other_lists_and_objects_are_kept_as_json_has_them(given_value: Any, kept: Any) -> None:
    setting = given(OPENED).when(SetAttributes(attributes={"a": given_value}))
    setting.then(AttributesChanged({"a": kept}, replaced={}))
    assert type(setting.after().attributes["a"]) is type(kept)


NOT_JSON: list[Any] = [
    float("nan"),
    float("inf"),
    -float("inf"),
    Decimal(1),
    1j,
    b"a",
    bytearray(b"a"),
    {1, 2},
    datetime(2026, 1, 1, tzinfo=UTC),
    object(),
    print,
    {1: 2},
    {None: 2},
    {b"a": 2},
    {("a",): 2},
    "\0",
    "\ud800",
    {"\0": 1},
    {"\ud800": 1},
]


@pytest.mark.parametrize("value", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json_is_refused(value: object) -> None:
    for field, command in with_attributes({"ok": 1, "a": value}):
        given(OPENED).when(command).refused(InvalidValue, field=f"{field}.a")
    for field, command in with_attributes({"a": [1, {"b": value}]}):
        given(OPENED).when(command).refused(InvalidValue, field=f"{field}.a[1].b")


@pytest.mark.parametrize("bits", [4097, 20_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_integer_has_4096_bits(bits: int, sign: int) -> None:
    value = sign * 2 ** (bits - 1)
    for field, command in with_attributes({"a": [value]}):
        refused = {"field": f"{field}.a[0]", "limit": "4096 bits", "value": bits}
        given(OPENED).when(command).refused(LimitExceeded, **refused)


@pytest.mark.parametrize("inner", [1, None, [], {}, {"b": 1}], ids=ascii)
def test_json_is_100_levels_deep(inner: object) -> None:
    fits = 100 if inner in (1, None) else 99
    for _, command in with_attributes({"a": nested(fits, inner=inner)}):
        given(OPENED).when(command).decide()
    for field, command in with_attributes({"a": nested(fits + 1, inner=inner)}):
        path = f"{field}.a" + "[0]" * 100
        given(OPENED).when(command).refused(LimitExceeded, field=path, limit="100 levels")


@pytest.mark.parametrize("inner", [1, None, [], {}, {"b": 1}], ids=ascii)
def test_metadata_is_100_levels_deep(store: SessionStore, inner: object) -> None:
    fits = 99 if inner in (1, None) else 98
    deep = {"a": nested(fits, inner=inner)}
    assert store.execute("s", OpenSession(), metadata=deep).events[0].metadata == deep

    with pytest.raises(LimitExceeded, match="100 levels"):
        store.execute("s", SetAttributes(attributes={"a": 1}), metadata={"a": [deep["a"]]})


def test_json_without_an_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for _, command in with_attributes({"a": endless}):
        given(OPENED).when(command).refused(LimitExceeded, limit="100 levels")


@pytest.mark.parametrize("name", ["a", "Z", "ShippingCity", "a1", "a_", "x" * 5000])
def test_an_attributes_name_is_a_letter_and_then_letters_digits_and_underscores(name: str) -> None:
    for _, command in with_attributes({name: 1}):
        given(OPENED).when(command).decide()


BAD_NAMES = ["", "1", "_a", "a-b", "a b", "a.b", "a\n", "\na", "ä", "aé", "a\0", "\ud800", None, 1]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_any_other_name_is_refused(name: Any) -> None:
    for field, command in with_attributes({"ok": 1, name: 1}):
        given(OPENED).when(command).refused(InvalidValue, field=field)


def test_a_bad_name_is_refused_even_where_it_would_be_removed() -> None:
    removing = SetAttributes(attributes={"1": None})
    given(OPENED).when(removing).refused(InvalidValue, field="attributes")


@pytest.mark.parametrize("wrong", [None, [], "a", 1, [("a", 1)]], ids=ascii)
def test_attributes_are_an_object(wrong: Any) -> None:
    for field, command in with_attributes(wrong):
        given(OPENED).when(command).refused(InvalidValue, field=field)
    given().when(OpenSession(attributes=wrong)).refused(InvalidValue, field="attributes")


class Text(str):
    __slots__ = ()


class Whole(int):
    __slots__ = ()


class Real(float):
    __slots__ = ()


OF_SUBCLASSES = pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Text("x"), "x"),
        (Whole(1), 1),
        (Real(1.5), 1.5),
        ({Text("x"): 1}, {"x": 1}),
        (MappingProxyType({"x": (1, 2)}), {"x": [1, 2]}),
    ],
    ids=["str", "int", "float", "name", "mapping"],
)


@OF_SUBCLASSES
def test_a_value_of_a_subclass_is_kept_as_plain_json(value: object, plain: object) -> None:
    for _, command in with_attributes({"a": value}):
        setting = given(OPENED, AttributesChanged({"a": 2})).when(command)
        setting.then(*setting.decide().events)  # whatever is decided can be stored
    kept: Any = rules.json("a", value)
    assert (kept, types(kept)) == (plain, types(plain))


def types(value: Any) -> object:
    """The type of a value, and those of what it holds."""
    if isinstance(value, dict):
        return type(value), [(type(name), types(each)) for name, each in value.items()]
    return (type(value), [types(each) for each in value]) if type(value) is list else type(value)


@OF_SUBCLASSES
def test_a_value_of_a_subclass_is_the_same_with_an_idempotency_key(
    store: SessionStore, value: Any, plain: Any
) -> None:
    opened = store.execute("s", OpenSession(attributes={"a": value}), idempotency_key="k")

    again = store.execute("s", OpenSession(attributes={"a": plain}), idempotency_key="k")

    assert again == opened
    assert CustomerSessions(store).get("s").attributes == {"a": plain}
