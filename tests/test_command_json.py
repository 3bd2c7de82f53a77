"""Commands as JSON: one object each, with a tag, in camelCase, and nothing unknown."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest

from sessions import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CancelSession,
    CartItem,
    CloseSession,
    InvalidValue,
    MalformedCommand,
    OpenSession,
    Product,
    RemoveCoupon,
    RemoveDiscount,
    RemoveItem,
    RemoveReferral,
    ReopenSession,
    ReplaceCart,
    ReturnItem,
    ReturnItems,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
    SetQuantity,
    command_from_json,
)
from sessions.commands import Command, name_of

NOT_COMMANDS: list[tuple[str | bytes, str, str]] = [
    ("", "$", "Input data was truncated"),
    ("[]", "$", "Expected `object`, got `array` - at `$`"),
    ('{"command":"close"', "$", "Input data was truncated"),
    (
        '{"command":"sell"}',
        "$.command",
        "Invalid value 'sell' - at `$.command`: the commands are add-",
    ),
    ('{"sku":"a"}', "$", "Object missing required field `command` - at `$`"),
    ('{"command":"close","at":"now"}', "$.at", "Invalid RFC3339 encoded datetime - at `$.at`"),
    (
        '{"command":"close","command":"cancel"}',
        "$",
        "Object has the field `command` twice - at `$`",
    ),
    (
        '{"command":"add-item","sku":"a","price":"1_0"}',
        "$.price",
        "Expected a number in JSON's notation - at `$.price`",
    ),
    (
        '{"command":"return","items":[{"sku":"a"},{"position":"1"}]}',
        "$.items[1].position",
        "Expected `int | null`, got `str` - at `$.items[1].position`",
    ),
    (
        '{"command":"apply-coupon","coupon":"\\ud800"}',
        "$.coupon",
        r"a string holds one half of a surrogate pair, such as \ud800 - at `$.coupon`",
    ),
    (
        '{"command":"apply-coupon","coupon":"\ud800"}',
        "$.coupon",
        r"a string holds one half of a surrogate pair, such as \ud800 - at `$.coupon`",
    ),
    (b'{"command":"\xff"}', "$", "JSON is malformed: invalid UTF-8 (byte 12)"),
    ('{"command":"set-attributes","attributes":{"a":' + "[" * 5000, "$", "lists and objects nest"),
]

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
AN_ITEM = '{"sku":"a","price":59.90,"quantity":2}'
ITEM = CartItem(sku="a", price=Decimal("59.9"), quantity=2)

decode = msgspec.json.Decoder(Command).decode

EVERY: list[tuple[str, Command]] = [
    ('{"command":"open"}', OpenSession()),
    (
        (
            f'{{"command":"open","profileId":"p","cartItems":[{AN_ITEM}],"coupon":"A","referral":"B",'
            '"identifiers":["x"],"attributes":{"a":1},"total":1.5,"state":"closed",'
            '"at":"2026-11-23T12:00:00+02:00"}'
        ),
        OpenSession(
            profile_id="p",
            cart_items=[ITEM],
            coupon="A",
            referral="B",
            identifiers=["x"],
            attributes={"a": 1},
            total=Decimal("1.5"),
            state="closed",
            at=AT,
        ),
    ),
    ('{"command":"add-item","sku":"a","price":1}', AddItem(sku="a", price=Decimal(1))),
    (
        (
            '{"command":"add-item","sku":"a","price":12345678.901,"quantity":2,"name":"n",'
            '"category":"c","product":{"name":"p"},"weight":0.1,"height":1e1,"width":3,"length":4,'
            '"attributes":{"a":[1.0,true,null]},"at":"2026-11-23T10:00:00Z"}'
        ),
        AddItem(
            sku="a",
            price=Decimal("12345678.901"),
            quantity=2,
            name="n",
            category="c",
            product=Product("p"),
            weight=Decimal("0.1"),
            height=Decimal(10),
            width=Decimal(3),
            length=Decimal(4),
            attributes={"a": [1.0, True, None]},
            at=AT,
        ),
    ),
    (
        '{"command":"set-quantity","position":0,"quantity":2}',
        SetQuantity(position=0, quantity=2),
    ),
    ('{"command":"set-quantity","sku":"a","quantity":2}', SetQuantity(sku="a", quantity=2)),
    ('{"command":"remove-item","position":0}', RemoveItem(position=0)),
    ('{"command":"remove-item","sku":"a"}', RemoveItem(sku="a")),
    ('{"command":"replace-cart","cartItems":[]}', ReplaceCart(cart_items=[])),
    (
        f'{{"command":"replace-cart","cartItems":[{AN_ITEM}],"total":0.1}}',
        ReplaceCart(cart_items=[ITEM], total=Decimal("0.1")),
    ),
    ('{"command":"apply-coupon","coupon":"A"}', ApplyCoupon(coupon="A")),
    ('{"command":"remove-coupon"}', RemoveCoupon()),
    ('{"command":"apply-referral","referral":"A"}', ApplyReferral(referral="A")),
    ('{"command":"remove-referral"}', RemoveReferral()),
    (
        '{"command":"set-attributes","attributes":{"a":null}}',
        SetAttributes(attributes={"a": None}),
    ),
    ('{"command":"set-identifiers","identifiers":["x"]}', SetIdentifiers(identifiers=["x"])),
    ('{"command":"set-profile","profileId":""}', SetProfile(profile_id="")),
    (
        '{"command":"set-discount","label":"a","value":0.1}',
        SetDiscount(label="a", value=Decimal("0.1")),
    ),
    ('{"command":"remove-discount","label":"a"}', RemoveDiscount(label="a")),
    ('{"command":"close","at":"2026-11-23T10:00:00Z"}', CloseSession(at=AT)),
    ('{"command":"cancel"}', CancelSession()),
    ('{"command":"reopen"}', ReopenSession()),
    (
        '{"command":"return","items":[{"position":0,"quantity":1},{"sku":"a"},{}]}',
        ReturnItems(items=[ReturnItem(position=0, quantity=1), ReturnItem(sku="a"), ReturnItem()]),
    ),
]


def test_no_command_is_missing() -> None:
    assert list(dict.fromkeys(type(command) for _, command in EVERY)) == list(get_args(Command))


@pytest.mark.parametrize(("data", "command"), EVERY, ids=[data[:40] for data, _ in EVERY])
def test_a_command_is_read_from_json_by_its_tag(data: str, command: Command) -> None:
    read = decode(data)
    assert read == command
    assert f'"command":"{name_of(command)}"' in data


@pytest.mark.parametrize(("data", "command"), EVERY, ids=[data[:40] for data, _ in EVERY])
def test_a_command_survives_a_round_trip(data: str, command: Command) -> None:
    assert decode(msgspec.json.encode(command)) == decode(data)


def test_money_is_read_digit_by_digit() -> None:
    for digits in ("0.1", "12345678.901", "999999999999.999999", "0.30000000000000004"):
        read = decode(f'{{"command":"set-discount","label":"a","value":{digits}}}')
        assert isinstance(read, SetDiscount)
        assert str(read.value) == digits


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"command":"close","x":1}', "unknown field `x`"),
        ('{"command":"add-item","sku":"a","price":1,"profile_id":1}', "unknown field `profile_id`"),
        (
            '{"command":"replace-cart","cartItems":[{"sku":"a","price":1,"x":1}]}',
            r"unknown field `x` - at `\$.cartItems\[0\]`",
        ),
        (
            '{"command":"return","items":[{},{"remainingQuantity":1}]}',
            r"unknown field `remainingQuantity` - at `\$.items\[1\]`",
        ),
        (
            '{"command":"add-item","sku":"a","price":1,"product":{"name":"p","x":1}}',
            r"unknown field `x` - at `\$.product`",
        ),
        (
            '{"command":"open","cartItems":[{"sku":"a","price":1,"product":{"name":"p","x":1}}]}',
            r"unknown field `x` - at `\$.cartItems\[0\].product`",
        ),
        ('{"command":"close","position":1}', "unknown field `position`"),
    ],
)
def test_an_unknown_field_is_refused_and_named(data: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        decode(data)


@pytest.mark.parametrize("value", ["7", "-1.5", '"x"', "null", "[]", "{}", "true"])
@pytest.mark.parametrize("field", ["position", "returnedQuantity", "remainingQuantity"])
def test_the_servers_fields_of_an_item_may_be_anything(field: str, value: str) -> None:
    adding = decode(f'{{"command":"add-item","sku":"a","price":1,"{field}":{value}}}')
    assert isinstance(adding, AddItem)
    item = f'{{"sku":"a","price":1,"{field}":{value}}}'
    replacing = decode(f'{{"command":"replace-cart","cartItems":[{item}]}}')
    assert isinstance(replacing, ReplaceCart)


WRONG: list[tuple[str, str]] = [
    ("{}", "missing required field `command`"),
    ('{"command":"nope"}', r"Invalid value 'nope' - at `\$.command`"),
    ('{"command":1}', r"\$.command"),
    ("[]", "Expected `object`"),
    ('{"command":"add-item","price":1}', "missing required field `sku`"),
    ('{"command":"add-item","sku":"a"}', "missing required field `price`"),
    ('{"command":"add-item","sku":1,"price":1}', r"at `\$.sku`"),
    ('{"command":"add-item","sku":"a","price":null}', r"at `\$.price`"),
    ('{"command":"add-item","sku":"a","price":true}', r"at `\$.price`"),
    ('{"command":"add-item","sku":"a","price":1,"quantity":"2"}', r"at `\$.quantity`"),
    ('{"command":"add-item","sku":"a","price":1,"quantity":1.0}', r"at `\$.quantity`"),
    ('{"command":"add-item","sku":"a","price":1,"quantity":null}', r"at `\$.quantity`"),
    ('{"command":"add-item","sku":"a","price":1,"name":null}', r"at `\$.name`"),
    ('{"command":"open","state":"cancelled"}', r"at `\$.state`"),
    ('{"command":"open","cartItems":[{"sku":"a"}]}', r"`price` - at `\$.cartItems\[0\]`"),
    ('{"command":"open","identifiers":["a",1]}', r"at `\$.identifiers\[1\]`"),
    ('{"command":"set-quantity","position":0}', "missing required field `quantity`"),
    ('{"command":"return"}', "missing required field `items`"),
    ('{"command":"close","at":"yesterday"}', r"at `\$.at`"),
    ('{"command":"close","at":1700000000}', r"at `\$.at`"),
]


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_a_wrong_shape_is_refused_with_the_path_to_it(data: str, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        decode(data)


def test_positions_of_a_command_are_given_by_keyword_only() -> None:
    positional: Any = ApplyCoupon
    with pytest.raises(TypeError):
        positional("A")


@pytest.mark.parametrize(("text", "command"), EVERY)
def test_a_command_is_read_from_a_text_or_bytes_whether_or_not_its_class_is_asked_for(
    text: str, command: Command
) -> None:
    kind: Any = type(command)
    untagged = text.replace(f'"command":"{name_of(command)}"', "", 1).replace("{,", "{", 1)

    assert command_from_json(text) == command_from_json(text.encode()) == command
    assert command_from_json(text, kind) == command_from_json(untagged, kind) == command


@pytest.mark.parametrize(("text", "field", "said"), NOT_COMMANDS)
def test_what_is_no_command_is_refused_with_the_path_to_the_error(
    text: str | bytes, field: str, said: str
) -> None:
    with pytest.raises(MalformedCommand) as refused:
        command_from_json(text)

    assert refused.value.field == field
    assert str(refused.value).startswith(said)
    assert str(refused.value) == refused.value.reason


def test_a_command_of_another_class_than_asked_for_is_refused() -> None:
    with pytest.raises(MalformedCommand, match=r"Invalid value 'close' .*: the command is cancel$"):
        command_from_json('{"command":"close"}', CancelSession)


@pytest.mark.parametrize("kind", [CartItem, int, Command, [OpenSession]])
def test_what_is_no_class_of_a_command_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidValue, match="kind: the class of a command"):
        command_from_json("{}", kind)


def test_what_is_no_text_is_refused() -> None:
    text: Any = {"command": "close"}
    with pytest.raises(InvalidValue, match="text: JSON, as a str or bytes, not"):
        command_from_json(text)
