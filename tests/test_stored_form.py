"""The golden bytes of every event: they are in databases, and are read for ever.

Never change a line here. A new shape of an event gets new lines, and the old ones stay.
"""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sessions import (
    AddItem,
    AttributesChanged,
    CartLine,
    CartReplaced,
    CouponApplied,
    CouponRemoved,
    DiscountRemoved,
    DiscountSet,
    IdentifiersReplaced,
    Item,
    ItemAdded,
    ItemProduct,
    ItemRemoved,
    ItemsReturned,
    ProfileChanged,
    QuantityChanged,
    ReferralApplied,
    ReferralRemoved,
    ReturnedLine,
    SessionCancelled,
    SessionClosed,
    SessionOpened,
    SessionReopened,
    SetAttributes,
    SetDiscount,
    TotalDeclared,
)
from sessions.events import EVENTS, Event
from sessions.log.mapper import VERSIONS, Mapper
from tests.scenario import OPENED, given

CLOSED_AT = datetime(2026, 11, 23, 10, 5, 0, 123456, tzinfo=UTC)
ON_THE_SECOND = datetime(2026, 11, 23, 10, 5, tzinfo=UTC)
BARE = Item("6478", Decimal(20))
FULL = Item(
    sku="9696",
    price=Decimal("59.9"),
    name="Schühe",
    category="footwear",
    product=ItemProduct("Runner"),
    weight=Decimal(800),
    height=Decimal("0.000001"),
    width=Decimal("200.5"),
    length=Decimal(0),
    attributes={"z": 1, "a": {"d": None, "c": [1.0, True, "\U0001f600"]}},
)
FULL_JSON = (
    '{"attributes":{"a":{"c":[1.0,true,"\U0001f600"],"d":null},"z":1},"category":"footwear",'
    '"height":0.000001,"length":0,"name":"Schühe","price":59.9,"product":{"name":"Runner"},'
    '"sku":"9696","weight":800,"width":200.5}'
)
BARE_JSON = '{"price":20,"sku":"6478"}'

GOLDEN: list[tuple[Event, int, str]] = [
    (SessionOpened(first_session=True), 1, '{"firstSession":true}'),
    (
        SessionOpened(first_session=False, profile_id="cust-7"),
        1,
        '{"firstSession":false,"profileId":"cust-7"}',
    ),
    (
        ItemAdded(0, BARE, 2, 2),
        1,
        f'{{"item":{BARE_JSON},"lineQuantity":2,"position":0,"quantity":2}}',
    ),
    (
        ItemAdded(7, FULL, 1, 3),
        1,
        f'{{"item":{FULL_JSON},"lineQuantity":3,"position":7,"quantity":1}}',
    ),
    (
        QuantityChanged(1, "6478", 2, 5),
        1,
        '{"oldQuantity":2,"position":1,"quantity":5,"sku":"6478"}',
    ),
    (ItemRemoved(1, BARE, 2), 1, f'{{"item":{BARE_JSON},"position":1,"quantity":2}}'),
    (CartReplaced(()), 1, '{"lines":[]}'),
    (
        CartReplaced((CartLine(FULL, 1), CartLine(BARE, 2))),
        1,
        f'{{"lines":[{{"item":{FULL_JSON},"quantity":1}},{{"item":{BARE_JSON},"quantity":2}}]}}',
    ),
    (
        CartReplaced((CartLine(BARE, 2),), ()),
        1,
        f'{{"lines":[{{"item":{BARE_JSON},"quantity":2}}],"replaced":[]}}',
    ),
    (
        CartReplaced((), (CartLine(BARE, 2),)),
        1,
        f'{{"lines":[],"replaced":[{{"item":{BARE_JSON},"quantity":2}}]}}',
    ),
    (TotalDeclared(Decimal("100.33")), 1, '{"total":100.33}'),
    (TotalDeclared(Decimal(0), Decimal("0.1")), 1, '{"replaced":0.1,"total":0}'),
    (TotalDeclared(Decimal(0)), 1, '{"total":0}'),
    (CouponApplied("A"), 1, '{"coupon":"A"}'),
    (CouponApplied("B", "A"), 1, '{"coupon":"B","replaced":"A"}'),
    (CouponRemoved("A"), 1, '{"coupon":"A"}'),
    (ReferralApplied("A"), 1, '{"referral":"A"}'),
    (ReferralApplied("B", "A"), 1, '{"referral":"B","replaced":"A"}'),
    (ReferralRemoved("A"), 1, '{"referral":"A"}'),
    (AttributesChanged({"b": 1, "a": []}), 1, '{"values":{"a":[],"b":1}}'),
    (AttributesChanged(removed=("a",)), 1, '{"removed":["a"]}'),
    (
        AttributesChanged({"a": {"c": None, "b": 1e300}}, ("d", "e")),
        1,
        '{"removed":["d","e"],"values":{"a":{"b":1e300,"c":null}}}',
    ),
    (
        AttributesChanged({"a": 1}, ("b",), {"b": [2], "a": "x"}),
        1,
        '{"removed":["b"],"replaced":{"a":"x","b":[2]},"values":{"a":1}}',
    ),
    (AttributesChanged({"a": 1}, replaced={}), 1, '{"replaced":{},"values":{"a":1}}'),
    (IdentifiersReplaced(()), 1, '{"identifiers":[]}'),
    (IdentifiersReplaced(("x",), ()), 1, '{"identifiers":["x"],"replaced":[]}'),
    (IdentifiersReplaced((), ("x",)), 1, '{"identifiers":[],"replaced":["x"]}'),
    (IdentifiersReplaced(("x", "y")), 1, '{"identifiers":["x","y"]}'),
    (
        ProfileChanged("", "cust-7", first_session=False),
        1,
        '{"firstSession":false,"oldProfileId":"","profileId":"cust-7"}',
    ),
    (
        ProfileChanged("cust-7", "", first_session=True),
        1,
        '{"firstSession":true,"oldProfileId":"cust-7","profileId":""}',
    ),
    (DiscountSet("promo", Decimal("0.5")), 1, '{"label":"promo","value":0.5}'),
    (
        DiscountSet("promo", Decimal(5), Decimal(0)),
        1,
        '{"label":"promo","replaced":0,"value":5}',
    ),
    (DiscountRemoved("promo", Decimal(5)), 1, '{"label":"promo","value":5}'),
    (SessionClosed(Decimal("12345678.901")), 1, '{"total":12345678.901}'),
    (SessionClosed(Decimal(1), "A", "B"), 1, '{"coupon":"A","referral":"B","total":1}'),
    (SessionCancelled("open"), 1, '{"oldState":"open"}'),
    (
        SessionCancelled(
            "partially_returned", CLOSED_AT, "A", "B", {"y": Decimal(5), "x": Decimal("0.1")}
        ),
        1,
        (
            '{"closedAt":"2026-11-23T10:05:00.123456Z","coupon":"A","discounts":{"x":0.1,"y":5},'
            '"oldState":"partially_returned","referral":"B"}'
        ),
    ),
    (SessionReopened(ON_THE_SECOND), 1, '{"closedAt":"2026-11-23T10:05:00Z"}'),
    (
        SessionReopened(CLOSED_AT, "A", "B", {"x": Decimal(1)}),
        1,
        (
            '{"closedAt":"2026-11-23T10:05:00.123456Z","coupon":"A","discounts":{"x":1},'
            '"referral":"B"}'
        ),
    ),
    (
        ItemsReturned((ReturnedLine(0, "6478", Decimal(20), 1),)),
        1,
        '{"items":[{"position":0,"price":20,"quantity":1,"sku":"6478"}]}',
    ),
]

every_golden = pytest.mark.parametrize(
    ("event", "version", "data"),
    GOLDEN,
    ids=[f"{type(event).__name__}-{data[:30]}" for event, _, data in GOLDEN],
)


def test_no_event_is_missing() -> None:
    assert {type(event) for event, _, _ in GOLDEN} == set(EVENTS.values())
    newest = {(name, VERSIONS.get(name, 1)) for name in EVENTS}
    assert {(type(event).__name__, version) for event, version, _ in GOLDEN} >= newest


def test_the_stored_names_are_these() -> None:
    names = (
        "SessionOpened ItemAdded QuantityChanged ItemRemoved CartReplaced TotalDeclared "
        "CouponApplied CouponRemoved ReferralApplied ReferralRemoved AttributesChanged "
        "IdentifiersReplaced ProfileChanged DiscountSet DiscountRemoved SessionClosed "
        "SessionCancelled SessionReopened ItemsReturned"
    )
    assert list(EVENTS) == names.split()


@every_golden
def test_an_event_is_stored_as_these_bytes(event: Event, version: int, data: str) -> None:
    assert Mapper().encode(event) == (type(event).__name__, version, data)


@every_golden
def test_these_bytes_are_this_event(event: Event, version: int, data: str) -> None:
    decoded = Mapper().decode(type(event).__name__, version, data, where=1)
    assert decoded == event
    assert type(decoded) is type(event)
    assert Mapper().encode(decoded)[2] == data  # 1, 1.0 and True are equal, but not the same


def test_names_stand_in_one_order_however_they_were_given() -> None:
    one = SetAttributes(attributes={"b": {"z": 1, "y": 2}, "a": 1})
    other = SetAttributes(attributes={"a": 1, "b": {"y": 2, "z": 1}})
    [event], [same] = (given(OPENED).when(command).decide().events for command in (one, other))
    assert Mapper().encode(event) == Mapper().encode(same)


@pytest.mark.parametrize(
    ("value", "stored"),
    [("1E+2", "100"), ("100.00", "100"), ("0.10", "0.1"), ("-0", "0"), ("1E-6", "0.000001")],
)
def test_money_is_stored_without_exponent_and_trailing_zeros(value: str, stored: str) -> None:
    [discount] = given(OPENED).when(SetDiscount(label="a", value=Decimal(value))).decide().events
    assert Mapper().encode(discount)[2] == f'{{"label":"a","value":{stored}}}'
    adding = AddItem(sku="a", price=Decimal(value), quantity=10, weight=Decimal(value))
    [added] = given(OPENED).when(adding).decide().events
    item = f'{{"price":{stored},"sku":"a","weight":{stored}}}'
    whole = f'{{"item":{item},"lineQuantity":10,"position":0,"quantity":10}}'
    assert Mapper().encode(added)[2] == whole


def test_text_is_stored_as_utf_8_and_not_escaped() -> None:
    data = Mapper().encode(CouponApplied('é\U0001f600\u2028"\\\n\x7f'))[2]
    assert data == '{"coupon":"é\U0001f600\u2028\\"\\\\\\n\x7f"}'
