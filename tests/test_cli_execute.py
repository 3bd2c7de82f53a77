"""`sessions execute`: commands as JSON Lines in, an answer a line out."""

from __future__ import annotations

import select
import subprocess
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from projections import CustomerSessions, verify
from sessions import SessionStore
from sessions.command_json import _texts
from sessions.commands import Command
from tests.test_cli_maintain import SESSIONS, run
from tests.waiting import SOON

if TYPE_CHECKING:
    from pathlib import Path

OPEN = b'{"command":"open","integrationId":"s","profileId":"p"}\n'


@pytest.fixture(autouse=True)
def _the_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_STORE", url)


def _malformed(line: bytes) -> str:
    """The message of the answer to a line; the line behind it goes on."""
    ran = run("execute", stdin=line + b"\n" + OPEN)
    answer, after = ran.json
    assert list(answer) == ["line", "integrationId", "ok", "error", "message"]
    assert (answer["line"], answer["ok"], answer["error"]) == (1, False, "MalformedCommand")
    assert (after["line"], after["ok"], ran.code) == (2, True, 1)
    return str(answer["message"])


def test_each_command_is_answered_with_exactly_the_line_of_the_issue() -> None:
    ids = '"integrationId":"order-1001"'
    lines = (
        f'{{"command":"open",{ids}}}\n'
        f'{{"command":"add-item",{ids},"sku":"9696","price":59.90}}\n'
        f'{{"command":"close",{ids}}}\n'
        f'{{"command":"close",{ids}}}\n'
    )

    ran = run("execute", stdin=lines.encode())

    message = "session 'order-1001' is closed: close needs an open session"
    assert ran.rows == [
        f'{{"line":1,{ids},"ok":true,"version":1,"position":1,"events":["SessionOpened"]}}',
        f'{{"line":2,{ids},"ok":true,"version":2,"position":2,"events":["ItemAdded"]}}',
        f'{{"line":3,{ids},"ok":true,"version":3,"position":3,"events":["SessionClosed"]}}',
        f'{{"line":4,{ids},"ok":false,"error":"SessionNotOpen","message":"{message}"}}',
    ]
    assert (ran.code, ran.err) == (1, "")


def test_a_value_that_is_nested_too_deep_to_be_read_breaks_the_same_rule() -> None:
    deep = "[" * 100_000 + "]" * 100_000

    line = f'{{"command":"set-attributes","integrationId":"s","attributes":{{"a":{deep}}}}}'

    assert _malformed(line.encode()) == "lists and objects nest more than 100 levels deep"


STEPS = [
    ('"open","profileId":"p","cartItems":[{"sku":"a","price":0.1}]', "SessionOpened CartReplaced"),
    ('"add-item","sku":"a","price":0.1,"quantity":2', "ItemAdded"),
    ('"set-quantity","sku":"a","quantity":4', "QuantityChanged"),
    ('"remove-item","position":0', "ItemRemoved"),
    ('"replace-cart","cartItems":[{"sku":"b","price":12345678.901}]', "CartReplaced"),
    ('"apply-coupon","coupon":"C"', "CouponApplied"),
    ('"remove-coupon"', "CouponRemoved"),
    ('"remove-coupon"', ""),
    ('"apply-referral","referral":"R"', "ReferralApplied"),
    ('"remove-referral"', "ReferralRemoved"),
    ('"set-attributes","attributes":{"City":"K\u00f6ln"}', "AttributesChanged"),
    ('"set-identifiers","identifiers":["x"]', "IdentifiersReplaced"),
    ('"set-profile","profileId":"q"', "ProfileChanged"),
    ('"set-discount","label":"d","value":2.50', "DiscountSet"),
    ('"remove-discount","label":"d"', "DiscountRemoved"),
    ('"close"', "SessionClosed"),
    ('"reopen"', "SessionReopened"),
    ('"close","at":"2126-01-01T00:00:00Z"', None),
    ('"close"', "SessionClosed"),
    ('"return","items":[{"position":0,"quantity":1}]', "ItemsReturned"),
    ('"cancel"', "SessionCancelled"),
]


def test_every_command_is_executed_by_its_tag(url: str) -> None:
    asked = {step.split('"')[1] for step, _ in STEPS}
    assert asked == {kind.__struct_config__.tag for kind in get_args(Command)}
    lines = "".join([f'{{"integrationId":"s","command":{step}}}\n' for step, _ in STEPS])

    ran = run("execute", stdin=lines.encode())

    answered = [" ".join(answer["events"]) if answer["ok"] else None for answer in ran.json]
    assert answered == [events for _, events in STEPS]
    with SessionStore.open(url, read_only=True) as store:
        assert verify(store) == []
        view = CustomerSessions(store).get("s")
    assert (view.state, view.total) == ("cancelled", Decimal("12345678.901"))
    assert view.attributes == {"City": "Köln"}


def test_each_answer_comes_once_it_is_durable_and_before_the_next_line(url: str) -> None:
    command = [SESSIONS, "execute", "-"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdin
        assert process.stdout
        for number in range(1, 4):
            process.stdin.write(OPEN.replace(b'"s"', b'"s%d"' % number))

            assert select.select([process.stdout], [], [], SOON)[0]
            answer = msgspec.json.decode(process.stdout.readline())

            assert (answer["line"], answer["position"]) == (number, number)
            with SessionStore.open(url, read_only=True) as store:
                assert store.position == number
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_commands_come_from_a_file_too(tmp_path: Path, url: str) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_bytes(OPEN + OPEN.replace(b'"s"', b'"t"').rstrip())

    ran = run("execute", str(file), "--application", "7")

    assert [(answer["line"], answer["ok"]) for answer in ran.json] == [(1, True), (2, True)]
    assert ran.code == 0
    with SessionStore.open(url, 7) as store:
        assert [view.application_id for view in CustomerSessions(store).find()] == [7, 7]


def test_blank_lines_are_skipped_and_counted() -> None:
    lines = b"\n" + OPEN + b"  \t\n\r\n\n" + OPEN + b"\n"

    ran = run("execute", stdin=lines)

    assert [(a["line"], a["ok"]) for a in ran.json] == [(2, True), (6, False)]
    assert ran.json[1]["error"] == "SessionExists"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stdin", [b"", b"\n \r\n", b"not json\n"])
def test_where_nothing_is_asked_no_file_is_made(tmp_path: Path, stdin: bytes) -> None:
    assert run("execute", stdin=stdin).code == (1 if b"json" in stdin else 0)
    assert list(tmp_path.iterdir()) == []


def test_lines_may_end_with_crlf_and_begin_with_a_byte_order_mark() -> None:
    windows = (b"\xef\xbb\xbf" + OPEN + OPEN).replace(b"\n", b"\r\n")

    answers = run("execute", stdin=windows).json

    assert [(a["line"], a["integrationId"]) for a in answers] == [(1, "s"), (2, "s")]
    assert [a["ok"] for a in answers] == [True, False]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b'{"command":"open"}',
        b'{"integrationId":"s"}',
        b'{"command":"open"',
        b'{"command":"open","integrationId":"x"} {}',
        b'{"command":"open","integrationId":"\xff"}',
        b'{"command":"open","integrationId":"\\ud800"}',
        b'{"command":"set-attributes","integrationId":"s","attributes":{"a":' + b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_object_with_an_id_and_a_tag_is_answered_and_the_rest_goes_on(
    line: bytes,
) -> None:
    assert _malformed(line)


def test_a_line_that_is_no_utf_8_is_answered_with_the_byte_at_which_it_is_none() -> None:
    said = _malformed(b'{"command":"open","integrationId":"\xff"}')

    assert said == "JSON is malformed: invalid UTF-8 (byte 35)"


@pytest.mark.parametrize("line", [b"\xff", b"\xbf", b"\xbb\xbb", b"\xef"])
def test_a_line_of_broken_utf_8_is_not_blank(line: bytes) -> None:
    assert _malformed(line)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('"set-quantity","quantity":"2"', "$.quantity"),
        ('"return","items":[{},{"position":"a"}]', "$.items[1].position"),
        ('"open","cartItems":[{"sku":"a","price":"x"}]', "$.cartItems[0].price"),
        ('"close","at":"yesterday"', "$.at"),
        ('"close","metadata":[]', "$.metadata"),
        ('"close","idempotencyKey":1', "$.idempotencyKey"),
        ('"close","expectedVersion":"1"', "$.expectedVersion"),
        ('"clothe"', "$.command"),
        ('"add-item","sku":"a"', "`price` - at `$`"),
        ('"close","colour":"red"', "`colour` - at `$`"),
        ('"add-item","sku":"a","price":1,"product":{}', "`name` - at `$.product`"),
    ],
)
def test_a_line_that_is_no_command_is_answered_with_the_path(line: str, path: str) -> None:
    assert path in _malformed(f'{{"integrationId":"s","command":{line}}}'.encode())


def test_an_id_that_is_no_text_is_answered_with_the_path() -> None:
    assert "$.integrationId" in _malformed(b'{"integrationId":5,"command":"open"}')


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('"command":"add-item","sku":"a","price":1,"price":999', "price"),
        ('"command":"open","command":"close"', "command"),
        ('"command":"open","integrationId":"t"', "integrationId"),
        ('"command":"open","pr\\u006ffileId":"p","profileId":"q"', "profileId"),
        ('"command":"return","items":[{"position":0,"position":1}]', "position"),
        ('"command":"open","attributes":{"a":{"b":1,"b":1}}', "b"),
    ],
)
def test_a_field_that_is_given_twice_is_refused_by_its_name(line: str, name: str) -> None:
    said = _malformed(f'{{"integrationId":"s",{line}}}'.encode())

    assert said == f"Object has the field `{name}` twice - at `$`"


def test_an_unknown_tag_is_answered_with_those_that_there_are() -> None:
    said = _malformed(b'{"integrationId":"s","command":"clothe"}')

    tags = sorted(str(kind.__struct_config__.tag) for kind in get_args(Command))
    assert said == f"Invalid value 'clothe' - at `$.command`: the commands are {', '.join(tags)}"


@pytest.mark.parametrize("place", ['"integrationId":"%s"', '"integrationId":"s","coupon":"%s"'])
@pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "a\\ud800", "\\ud800\\ud800bc"])
def test_half_of_a_surrogate_pair_is_called_so(place: str, half: str) -> None:
    line = f'{{"command":"apply-coupon",{place % half}}}'.encode()

    name = "coupon" if "coupon" in place else "integrationId"
    said = rf"a string holds one half of a surrogate pair, such as \ud800 - at `$.{name}`"
    assert _malformed(line) == said


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        ('{"a":["b","\\ud800"]}', "$.attributes.a[1]"),
        ('{"a":{"\\ud800":1}}', "$.attributes.a"),
        ('{"a":1,"b":{"c":"\\ud800"}}', "$.attributes.b.c"),
    ],
)
def test_half_of_a_pair_is_found_in_attributes_and_the_session_is_named(
    attributes: str, path: str
) -> None:
    line = f'{{"command":"open","integrationId":"s","attributes":{attributes}}}'.encode()

    (answer,) = run("execute", stdin=line).json

    assert answer["integrationId"] == "s"
    assert answer["message"].endswith(f"- at `{path}`")


def test_half_of_a_pair_is_found_at_any_depth() -> None:
    deep: list[object] = ["\ud800"]
    for _ in range(5000):
        deep = [deep]

    assert [text for _, text in _texts({"a": deep})] == ["a", "\ud800"]


def test_a_line_with_a_number_that_json_does_not_have_still_names_its_session() -> None:
    (answer,) = run("execute", stdin=b'{"command":"open","integrationId":"s","total":NaN}').json

    assert (answer["integrationId"], answer["error"]) == ("s", "MalformedCommand")


@pytest.mark.parametrize(
    "line",
    [
        b'{"command":"close","at":NaN}',
        b'{"command":"close',
        b'{"coupon":"\\ud800"',
        b"\xef\xbb\xbf" * 2 + OPEN.strip(),
        OPEN.strip().decode().encode("utf-16-le"),
    ],
)
def test_what_is_no_json_is_no_half_of_a_pair(line: bytes) -> None:
    assert "one half" not in _malformed(line)


@pytest.mark.parametrize("beside", ["", '"idempotencyKey":"k",'])
@pytest.mark.parametrize("levels", [101, 600, 5000])
def test_an_attribute_of_any_depth_is_refused_and_the_rest_goes_on(
    levels: int, beside: str
) -> None:
    deep = "[" * levels + "]" * levels
    line = f'{{"command":"open",{beside}"integrationId":"s","attributes":{{"A":{deep}}}}}\n'

    ran = run("execute", stdin=line.encode() + OPEN)

    assert [answer["ok"] for answer in ran.json] == [False, True]


@pytest.mark.parametrize("digits", [20, 5000])
@pytest.mark.parametrize(
    ("command", "field"),
    [
        ('"set-discount","label":"d","value":%s', "value"),
        ('"add-item","sku":"a","price":1,"weight":%s', "weight"),
        ('"replace-cart","cartItems":[{"sku":"a","price":%s}]', "cartItems[0].price"),
    ],
)
def test_an_amount_of_any_number_of_digits_is_refused_by_its_field(
    command: str, field: str, digits: int
) -> None:
    line = f'{{"integrationId":"s","command":{command % ("1" * digits)}}}'.encode()

    answer = run("execute", stdin=OPEN + line).json[1]

    limit = f"{field}: at most 12 digits before the point, not {digits}"
    assert (answer["error"], answer["message"]) == ("LimitExceeded", limit)


@pytest.mark.parametrize("digits", ["0.1", "12345678.901", "1e2", "1.50E+1", "0"])
def test_money_may_be_a_text_in_the_notation_of_a_number(url: str, digits: str) -> None:
    line = f'{{"command":"open","integrationId":"t","total":"{digits}"}}\n'

    assert run("execute", stdin=line.encode()).json[0]["ok"]

    with SessionStore.open(url, read_only=True) as store:
        assert CustomerSessions(store).get("t").total == Decimal(digits)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('"add-item","sku":"a","price":"%s"', "$.price"),
        ('"set-discount","label":"a","value":"%s"', "$.value"),
        ('"open","total":"%s"', "$.total"),
        ('"open","cartItems":[{"sku":"a","price":1},{"sku":"a","price":"%s"}]',
          "$.cartItems[1].price"),
        ('"replace-cart","cartItems":[{"sku":"a","price":1,"weight":"%s"}]',
          "$.cartItems[0].weight"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "text", ["1_000", " 1.5", "1.5\\n", "\u0661\u0662", "+1", ".5", "1.", "01", "NaN"]
)
def test_a_text_that_is_a_number_in_python_only_is_no_money(
    line: str, path: str, text: str
) -> None:
    said = _malformed(f'{{"integrationId":"s","command":{line % text}}}'.encode())

    assert said == f"Expected a number in JSON's notation - at `{path}`"


def test_values_that_a_rule_forbids_are_refused_by_the_rules_class() -> None:
    deep = b"[" * 150 + b"]" * 150
    lines = (
        b'{"command":"open","integrationId":""}\n'
        b'{"command":"add-item","integrationId":"s","sku":"a","price":-1}\n'
        b'{"command":"add-item","integrationId":"s","sku":"a","price":1e400}\n'
        b'{"command":"set-quantity","integrationId":"s","position":0,"quantity":0}\n'
        b'{"command":"set-attributes","integrationId":"s","attributes":{"a":%b}}\n' % deep
    )

    ran = run("execute", stdin=OPEN + lines)

    assert [f"{a['error']} {a['message'].partition(':')[0]}"[:40] for a in ran.json[1:]] == [
        "InvalidValue integrationId",
        "InvalidValue price",
        "LimitExceeded price",
        "LineNotFound position",
        "LimitExceeded attributes.a[0][0][0][0][0",
    ]
    assert ran.code == 1


def test_a_time_without_a_timezone_is_refused_in_words() -> None:
    line = b'{"command":"close","integrationId":"s","at":"2026-01-01T00:00:00"}\n'

    answer = run("execute", stdin=OPEN + line).json[1]

    assert answer["message"].startswith("at: a time with a timezone, not ")
    assert "datetime.datetime" not in answer["message"]


def test_an_idempotency_key_gives_the_first_answer_again_in_a_later_run() -> None:
    keyed = OPEN.replace(b"}", b',"idempotencyKey":"k"}')
    other = keyed.replace(b'"p"', b'"q"')

    first = run("execute", stdin=keyed)
    again = run("execute", stdin=keyed + other)

    assert (first.code, again.code) == (0, 1)
    assert again.json[0] == first.json[0]
    assert again.json[1]["error"] == "IdempotencyKeyReused"


def test_an_expected_version_is_checked_and_metadata_is_kept(url: str) -> None:
    close = b'{"command":"close","integrationId":"s","expectedVersion":%d,"metadata":{"x":[1]}}\n'

    ran = run("execute", stdin=OPEN + close % 2 + close % 1 + close % -1)

    said = [a.get("error", a.get("version")) for a in ran.json]
    assert said == [1, "VersionConflict", 2, "InvalidValue"]
    with SessionStore.open(url, read_only=True) as store:
        assert [recorded.metadata for recorded in store.log()] == [{}, {"x": [1]}]


def test_what_stands_beside_a_command_may_be_null(url: str) -> None:
    beside = b'"idempotencyKey":null,"expectedVersion":null,"metadata":null'
    line = b'{"command":"open","integrationId":"s",%s}' % beside

    assert run("execute", stdin=line).code == 0
    with SessionStore.open(url, read_only=True) as store:
        assert [recorded.metadata for recorded in store.log()] == [{}]


def test_a_file_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    ran = run("execute", str(tmp_path / "none"))
    assert (ran.code, ran.out) == (2, "")
    assert "No such file" in ran.err
