"""Reading what other versions of the library wrote, and what is damaged."""

from typing import Any, NoReturn

import msgspec
import pytest

from sessions import CouponApplied, UndecodableEvent, UnknownEvent
from sessions.events import EVENTS, SESSION, Event
from sessions.log.mapper import UPCASTERS, VERSIONS, Mapper, Upcaster
from sessions.sql.topics import topic_of


def test_an_event_of_a_newer_library_is_unknown() -> None:
    with pytest.raises(UnknownEvent) as caught:
        Mapper().decode("CouponWithered", 1, "{}", where=17)
    assert caught.value.fields == {"type": "CouponWithered", "type_version": 1, "where": 17}


@pytest.mark.parametrize("name", EVENTS)
def test_a_newer_shape_of_an_event_is_unknown(name: str) -> None:
    newer = VERSIONS.get(name, 1) + 1
    with pytest.raises(
        UnknownEvent, match=f"{name} .version {newer}. at position 17 is from a newer"
    ):
        Mapper().decode(name, newer, "{}", where=17)


REQUIRED = [
    (name, field.encode_name)
    for name, kind in EVENTS.items()
    for field in msgspec.structs.fields(kind)
    if field.required
]
WHOLE: dict[str, Any] = {
    "firstSession": True,
    "position": 0,
    "item": {"sku": "a", "price": 1},
    "quantity": 1,
    "lineQuantity": 1,
    "sku": "a",
    "oldQuantity": 1,
    "lines": [],
    "total": 1,
    "coupon": "A",
    "referral": "A",
    "identifiers": [],
    "oldProfileId": "",
    "profileId": "",
    "label": "a",
    "value": 1,
    "oldState": "open",
    "closedAt": "2026-11-23T10:05:00Z",
    "items": [],
}


@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_an_event_without_a_field_that_it_must_have_cannot_be_decoded(
    name: str, field: str
) -> None:
    fields = {required: WHOLE[required] for event, required in REQUIRED if event == name}
    Mapper().decode(name, 1, msgspec.json.encode(fields).decode(), where=17)
    del fields[field]
    with pytest.raises(UndecodableEvent, match=rf"at position 17 cannot be decoded: .*`{field}`"):
        Mapper().decode(name, 1, msgspec.json.encode(fields).decode(), where=17)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "null",
        "[]",
        '{"coupon":1}',
        '{"coupon":null}',
        '{"coupon":"A"}}',
        '{"coupon":"\\q"}',
    ],
)
def test_damaged_data_cannot_be_decoded(data: str) -> None:
    with pytest.raises(UndecodableEvent) as caught:
        Mapper().decode("CouponApplied", 1, data, where=17)
    assert caught.value.where == 17
    assert not caught.value.retry


def test_the_path_to_what_is_wrong_is_told() -> None:
    data = '{"lines":[{"item":{"sku":"a","price":"x"},"quantity":1}]}'
    with pytest.raises(UndecodableEvent, match=r"at `\$\.lines\[0\]\.item\.price`"):
        Mapper().decode("CartReplaced", 1, data, where=17)


def test_a_field_that_a_newer_library_added_with_a_default_is_passed_over() -> None:
    event = Mapper().decode("CouponApplied", 1, '{"coupon":"A","channel":"mail"}', where=17)
    assert event == CouponApplied("A")


def test_every_old_shape_leads_to_the_newest() -> None:
    for name in EVENTS:
        for version in range(1, VERSIONS.get(name, 1)):
            assert (name, version) in UPCASTERS
    assert {name for name, _ in UPCASTERS} <= set(EVENTS)


class CodeV1(msgspec.Struct):
    """Version 1: one text."""

    code: str


class CodeV2(msgspec.Struct):
    """Version 2: kind and code apart."""

    kind: str
    code: str


class CodeEntered(msgspec.Struct, rename="camel"):
    """Version 3, the newest: several codes."""

    kind: str
    codes: list[str]
    entered_by: str = ""


def _to_2(old: CodeV1) -> CodeV2:
    kind, _, code = old.code.partition(":")
    return CodeV2(kind, code)


def _to_3(old: CodeV2) -> CodeEntered:
    return CodeEntered(old.kind, [old.code])


def _wrongly(old: object) -> NoReturn:
    raise KeyError(old)


def mapper(**changed: Any) -> Mapper:
    chain = {
        ("CodeEntered", 1): Upcaster(CodeV1, changed.get("to_2", _to_2)),
        ("CodeEntered", 2): Upcaster(CodeV2, changed.get("to_3", _to_3)),
    }
    return Mapper({"CodeEntered": CodeEntered}, {"CodeEntered": 3}, chain)


NEWEST: Any = CodeEntered("coupon", ["A"])


@pytest.mark.parametrize(
    ("version", "data"),
    [
        (1, '{"code":"coupon:A"}'),
        (2, '{"kind":"coupon","code":"A"}'),
        (3, '{"kind":"coupon","codes":["A"]}'),
    ],
)
def test_every_shape_that_ever_was_is_read_as_the_newest(version: int, data: str) -> None:
    assert mapper().decode("CodeEntered", version, data, where=17) == NEWEST


def test_an_event_is_written_in_its_newest_shape() -> None:
    stored = mapper().encode(NEWEST)
    assert stored == ("CodeEntered", 3, '{"codes":["A"],"enteredBy":"","kind":"coupon"}')


def test_an_old_shape_is_checked_as_it_was() -> None:
    with pytest.raises(UndecodableEvent, match=r"version 2.*`kind`"):
        mapper().decode("CodeEntered", 2, '{"code":"A"}', where=17)


def test_a_shape_after_the_newest_is_unknown() -> None:
    with pytest.raises(UnknownEvent):
        mapper().decode("CodeEntered", 4, '{"kind":"coupon","codes":["A"]}', where=17)


def test_an_upcasters_own_fault_is_named_with_the_event() -> None:
    wrong, data, at = mapper(to_3=_wrongly), '{"code":"coupon:A"}', "2026-11-23T10:00:00.000000Z"
    row = (17, SESSION, "s", 1, topic_of("CodeEntered", 1), at, None, "c", None, data)

    with pytest.raises(UndecodableEvent, match=r"17.*an upcaster failed: KeyError\("):
        wrong.decode("CodeEntered", 1, data, where=17)
    with pytest.raises(UndecodableEvent, match=r"17.*an upcaster failed: KeyError\("):
        list(wrong.recorded(1, [row]))


@pytest.mark.parametrize("version", [1, 2])
def test_upcasters_that_do_not_lead_to_the_newest_shape_are_refused(version: int) -> None:
    only = {("CodeEntered", version): Upcaster(CodeV1, _to_2)}

    with pytest.raises(ValueError, match=f"CodeEntered do not lead from version {version} to the"):
        Mapper({"CodeEntered": CodeEntered}, {"CodeEntered": 3 if version == 1 else 2}, only)


def test_mappers_do_not_share_what_they_know() -> None:
    mapper()
    event: Event = CouponApplied("A")
    assert Mapper().decode(*Mapper().encode(event), where=17) == event
    with pytest.raises(UnknownEvent):
        mapper().decode("CouponApplied", 1, '{"coupon":"A"}', where=17)
