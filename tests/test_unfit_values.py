"""What no database takes, or only one of them, lets its key wait: on every database alike."""

from __future__ import annotations

import math
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from hashlib import sha512
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from projections import (
    Column,
    Projection,
    Rows,
    Runner,
    Storage,
    StoredProjection,
    Table,
    rebuild,
    verify,
)
from projections.testing import given
from sessions import (
    InvalidValue,
    LimitExceeded,
    OpenSession,
    SessionStore,
    SetAttributes,
    ViewParked,
)
from sessions.errors import KeyNotParked, KeyNotTouched
from sessions.events import AttributesChanged, SessionOpened
from sessions.keys import UNTOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.keys import Key
    from sessions.kinds import Kind
    from sessions.recorded import Recorded
    from sessions.sql.head import Mode
    from tests.conftest import OpenStore

BEFORE_YEAR_ONE = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
LONG = "".join(chr(0x10000 + number * 37 % 60_000) for number in range(1000))


class Seen(msgspec.Struct, frozen=True):
    count: int
    value: Any = None


def _value(recorded: Recorded) -> Any:
    event = recorded.event
    return event.values["about"] if isinstance(event, AttributesChanged) else "first"


def _seen(view: Seen | None, recorded: Recorded) -> Seen:
    return Seen(1 + (view.count if view else 0), str(_value(recorded)))


def by(key: Column, mode: Mode) -> Projection[Seen]:
    """Views whose keys are what an attribute holds."""
    return Projection(
        name="seen",
        version=1,
        view=Seen,
        fold=_seen,
        keys=lambda recorded: [_value(recorded)],
        key=key,
        types=(AttributesChanged,),
        mode=mode,
    )


@pytest.fixture(params=["inline", "followed"])
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


def about(store: SessionStore, *values: object) -> None:
    """Open a session, and set an attribute to one value after another; run what is followed."""
    store.execute("s", OpenSession())
    next_about(store, *values)


def next_about(store: SessionStore, *values: object) -> None:
    """Set the attribute again."""
    for value in values:
        store.execute("s", SetAttributes(attributes={"about": value}))
    Runner(store).run(until=store.position)


@pytest.mark.parametrize(
    ("kind", "unfit", "fit", "label", "first"),
    [
        ("id", 4711, "4711b", "(int) 4711", "fit"),
        ("id", 7, "7", "(int) 7", "unfit"),
        ("text", 7, "7", "(int) 7", "fit"),
        ("id", "x" * 1001, "x", f"(str) '{'x' * 993}", "unfit"),
        ("integer", "8", 7, "(str) '8'", "fit"),
        ("integer", "7", 7, "(str) '7'", "unfit"),
        ("integer", True, 1, "(bool) True", "unfit"),
        ("integer", True, 1, "(bool) True", "fit"),
        ("integer", 7.0, 7, "(float) 7.0", "fit"),
        ("integer", 2**63, 7, f"(int) {2**63}", "unfit"),
    ],
)
def test_a_key_that_is_not_of_its_kind_waits_and_the_others_go_on(  # noqa: PLR0913, PLR0917  its parameters and fixtures
    open_store: OpenStore, mode: Mode, kind: Kind, unfit: Key, fit: Key, label: str, first: str
) -> None:
    seen = by(Column("about", kind), mode)
    store = open_store(projections=[seen])

    values = [unfit, fit] if first == "unfit" else [fit, unfit]
    about(store, *values)
    next_about(store, *values)

    views = StoredProjection(store, seen)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == (label, 2 if first == "unfit" else 3)
    assert f"seen.about: {kind}, not {label[:100]}" in waiting.error
    assert views.get(fit) == views.get(fit, position=store.position) == Seen(2, str(fit))
    assert not views.retry(label)
    assert views.parked()[0].key == label
    with pytest.raises(KeyNotParked):
        views.retry(fit)
    assert rebuild(store).parked == 1
    assert verify(store) == []
    assert views.skip(label) is False
    assert views.get(fit) == Seen(2, str(fit))


class Local(msgspec.Struct, frozen=True):
    at: datetime
    times: tuple[datetime, ...]


BERLIN = timezone(timedelta(hours=1))
LATE = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
TIMES = (LATE, LATE + timedelta(microseconds=1), LATE + timedelta(milliseconds=1))


def test_a_time_of_any_timezone_is_kept_as_the_moment_that_it_is(
    open_store: OpenStore, mode: Mode
) -> None:
    there = tuple([each.astimezone(BERLIN) for each in TIMES])
    local = Projection(
        name="local",
        version=1,
        view=Local,
        fold=lambda *_: Local(there[0], there),
        types=(SessionOpened,),
        columns=(Column("at", "time"),),
        rows=(
            Rows(
                "times", (Column("at", "time"),), key=("at",), of=lambda v: [(t,) for t in v.times]
            ),
        ),
        mode=mode,
    )
    store = open_store(projections=[local])

    about(store)

    written = store.query("SELECT at FROM local UNION ALL SELECT at FROM times ORDER BY 1")
    assert [datetime.fromisoformat(at) for (at,) in written] == [LATE, *TIMES]
    view = StoredProjection(store, local).get("s")
    assert view is not None
    assert view.at == LATE
    rebuild(store)
    assert StoredProjection(store, local).parked() == []
    assert verify(store) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.1", "1.10"), ("0", "-0"), ("100", "1E+2"), ("999999999999.999998", "999999999999.999999")],
)
def test_rows_whose_keys_are_one_amount_to_a_database_wait(
    open_store: OpenStore, mode: Mode, one: str, other: str
) -> None:
    rows: Rows[Seen] = Rows(
        "prices",
        (Column("price", "money"), Column("units", "integer")),
        key=("price",),
        of=lambda view: [(Decimal(one), 1), (Decimal(other), 1)][: view.count],
    )
    seen = replace(by(Column("about", "id"), mode), rows=(rows,))
    store = open_store(projections=[seen])

    about(store, "x", "y", "x")

    (waiting,) = StoredProjection(store, seen).parked()
    assert (waiting.key, waiting.position) == ("x", 4)
    assert "prices: a different key for each row of a view" in waiting.error
    assert store.query("SELECT about, units FROM prices ORDER BY about") == [("x", 1), ("y", 1)]
    assert verify(store) == []


@pytest.mark.parametrize(("text", "waits"), [("a\0b", True), ("a\\u0000b", False), ("\\\0", True)])
@pytest.mark.parametrize("where", ["view", "row"])
def test_a_nul_in_what_is_kept_as_json_waits(
    open_store: OpenStore, mode: Mode, text: str, where: str, *, waits: bool
) -> None:
    json = msgspec.json.encode({"text": text}).decode()
    rows: Rows[Seen] = Rows(
        "texts",
        (Column("number", "integer"), Column("text", "json")),
        key=("number",),
        of=lambda _: [(1, "[]"), (2, json if where == "row" else "{}")],
    )
    seen = replace(
        by(Column("about", "id"), mode),
        fold=lambda _, __: Seen(1, text if where == "view" else ""),
        rows=(rows,),
    )
    store = open_store(projections=[seen])

    about(store, "x", "y")

    waiting = [each.key for each in StoredProjection(store, seen).parked()]
    assert waiting == (["x", "y"] if waits else [])
    assert verify(store) == []


@pytest.mark.parametrize("row", [("x", "two"), ("x", None), ("x",), ("x", 2, 2)], ids=repr)
def test_a_row_of_ones_own_that_does_not_fit_its_columns_waits(
    open_store: OpenStore, mode: Mode, row: Sequence[object]
) -> None:
    table = Table(
        "seen",
        (Column("application_id", "integer"), Column("about", "id"), Column("n", "integer")),
        key=("application_id", "about"),
    )
    own: Storage[Seen] = Storage(
        table,
        lambda key, view: (key, view.count) if view.count != 2 else row,
        lambda read: Seen(read[1], read[0]),
    )
    seen = replace(by(Column("about", "id"), mode), kept=own)
    store = open_store(projections=[seen])

    about(store, "x", "y", "x", "z")

    (waiting,) = StoredProjection(store, seen).parked()
    assert (waiting.key, waiting.position) == ("x", 4)
    rows = store.query("SELECT about, n FROM seen ORDER BY 1")
    assert rows == [("x", 1), ("y", 1), ("z", 1)]
    assert verify(store) == []


def test_an_amount_in_a_key_may_be_written_otherwise(open_store: OpenStore, mode: Mode) -> None:
    rows: Rows[Seen] = Rows(
        "prices",
        (Column("price", "money"), Column("units", "integer")),
        key=("price",),
        of=lambda view: [(Decimal("1.1") + Decimal("0.00") * (view.count % 2), view.count)],
    )
    seen = replace(by(Column("about", "id"), mode), rows=(rows,))
    store = open_store(projections=[seen])

    about(store, "x")
    next_about(store, "x2")
    for value in ("x", "y", "x"):
        next_about(store, value)

    assert store.query("SELECT about, units FROM prices ORDER BY 1") == [
        ("x", 3),
        ("x2", 1),
        ("y", 1),
    ]
    assert StoredProjection(store, seen).parked() == []
    assert verify(store) == []


@pytest.mark.parametrize(("kind", "key"), [("integer", 7), ("id", "7")])
def test_a_key_goes_on_by_itself_or_by_the_text_that_is_shown(
    open_store: OpenStore, mode: Mode, kind: Kind, key: Key
) -> None:
    def fold(view: Seen | None, recorded: Recorded) -> Seen:
        if recorded.version in still_bad:
            raise ValueError
        return _seen(view, recorded)

    seen = replace(by(Column("about", kind), mode), keys=lambda _: [key], fold=fold)
    store, still_bad = open_store(projections=[seen]), {2, 3}
    about(store, "x", "y")
    views = StoredProjection(store, seen)

    still_bad.remove(2)
    assert not views.retry(views.parked()[0].key)
    still_bad.remove(3)
    for other in (f"{key}0", f"0{key}", f" {key}", f"{key}_0", "9" * 5000):
        with pytest.raises(KeyNotParked):
            views.retry(other)
    if kind == "id":
        with pytest.raises(KeyNotParked):
            views.retry(int(key))
    assert views.retry(key)

    assert views.get(key) == Seen(2, "y")
    assert verify(store) == []


def test_what_waits_under_a_key_that_its_event_has_no_longer_is_not_lost(
    open_store: OpenStore, mode: Mode
) -> None:
    def untold(_: Recorded) -> Sequence[Key]:
        raise ValueError

    unmended = replace(by(Column("about", "id"), mode), keys=untold)
    store = open_store(projections=[unmended])
    about(store, "x")
    before = StoredProjection(store, unmended).parked()
    assert [(each.key, each.position) for each in before] == [("(untold)", 2)]

    mended = StoredProjection(store, replace(unmended, keys=lambda _: ["x"]))
    for go_on in (mended.retry, mended.skip):
        with pytest.raises(KeyNotTouched, match=r"event 2 no longer touches seen of '\(untold\)'"):
            go_on("(untold)")

    assert mended.parked() == before


@pytest.mark.parametrize("keys", [["7", 7], [7, "7"], [7.0, 7], [7, 7.0], [7, True, "7", 7]])
def test_an_event_may_name_a_key_of_each_kind(
    open_store: OpenStore, mode: Mode, keys: Sequence[Key]
) -> None:
    def fold(view: Seen | None, recorded: Recorded) -> Seen:
        if _value(recorded) == "bad":
            raise ValueError
        return _seen(view, recorded)

    seen = replace(by(Column("about", "integer"), mode), keys=lambda _: keys, fold=fold)
    store = open_store(projections=[seen])

    about(store, "x", "bad")

    parked = {each.key: each.position for each in StoredProjection(store, seen).parked()}
    assert parked.pop("7") == 3
    assert set(parked.values()) == {2}
    assert set(parked) <= {"(str) '7'", "(float) 7.0", "(bool) True"}
    assert verify(store) == []


@pytest.mark.parametrize("key", ["a\0b", "\ud800", 10**5000], ids=["NUL", "surrogate", "huge"])
def test_a_key_that_no_database_can_keep_waits_under_one_that_it_can(
    open_store: OpenStore, mode: Mode, key: Key
) -> None:
    seen = replace(by(Column("about", "id"), mode), keys=lambda _: [key])
    store = open_store(projections=[seen])

    about(store, "x")

    (waiting,) = StoredProjection(store, seen).parked()
    assert waiting.key in {"(str) 'a\\x00b'", "(str) '\\ud800'", "(int)"}
    assert verify(store) == []


@pytest.mark.parametrize(
    ("kind", "unfit"),
    [
        *[("id", key) for key in (7, True, None, "a\0b", "\ud800", "x" * 1001)],
        *[("text", key) for key in (7, "a\0b", "\ud800")],
        *[("integer", key) for key in ("7", True, 7.0, 2**63, -(2**63) - 1)],
    ],
)
def test_who_asks_for_what_is_no_key_is_told(
    open_store: OpenStore,
    mode: Mode,
    kind: Kind,
    unfit: Any,
) -> None:
    seen = by(Column("about", kind), mode)
    store = open_store(projections=[seen])
    fit = 7 if kind == "integer" else "7"
    about(store, fit)

    views = StoredProjection(store, seen)
    for position in (None, 1):
        with pytest.raises((InvalidValue, LimitExceeded), match="about: "):
            views.get(unfit, position=position)
    assert views.get(fit) == Seen(1, "7")
    assert views.get(-(2**63) if kind == "integer" else "") is None


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_database_can_keep_is_parked_under_nothing(
    open_store: OpenStore, text: str
) -> None:
    seen = by(Column("about", "integer"), "inline")
    store = open_store(projections=[seen])
    about(store, 7)

    views = StoredProjection(store, seen)
    for ask in (views.check_not_parked, views.retry, views.skip):
        with pytest.raises(InvalidValue, match="key: Unicode text without"):
            ask(text)


def test_an_event_whose_keys_cannot_be_told_waits_and_the_others_go_on(
    open_store: OpenStore, mode: Mode
) -> None:
    seen = by(Column("about", "integer"), mode)
    unhashable: Any = [1]
    store = open_store(projections=[seen])

    about(store, unhashable, 7, {})

    views = StoredProjection(store, seen)
    assert [(waiting.key, waiting.position) for waiting in views.parked()] == [(UNTOLD, 2)]
    assert "unhashable" in views.parked()[0].error
    assert views.get(7) == Seen(1, "7")
    assert verify(store) == []


@pytest.mark.parametrize("text", [UNTOLD, "(int) 7", "(str) 'x'"])
def test_a_key_that_reads_like_what_stands_for_another_waits_under_a_name_of_its_own(
    open_store: OpenStore, mode: Mode, text: str
) -> None:
    seen = by(Column("about", "text"), mode)
    unhashable: Any = [1]
    store = open_store(projections=[seen])

    about(store, "(new) 7", text, 7, unhashable, text)

    views = StoredProjection(store, seen)
    assert views.get("(new) 7") == Seen(1, "(new) 7")
    assert [(waiting.key, waiting.position) for waiting in views.parked()] == [
        (f"(str) {text!a}", 3),
        ("(int) 7", 4),
        (UNTOLD, 5),
    ]
    for key in (text, "(int) 7"):
        for other in (None, store.position):
            if key == text:
                with pytest.raises(ViewParked):
                    views.get(key, position=other)
            else:
                assert views.get(key, position=other) is None
    assert verify(store) == []


class Channel(StrEnum):
    """Where a customer is."""

    WEB = "web"


class Named(str, Enum):  # noqa: UP042  it is shown as its name, and not as the text that it is
    """The same."""

    WEB = "web"


@pytest.mark.parametrize("channel", [Channel, Named])
def test_a_key_of_a_kind_of_text_of_its_own_is_the_text(
    open_store: OpenStore, mode: Mode, channel: type[Channel | Named]
) -> None:
    def channels(recorded: Recorded) -> list[str]:
        return [channel(_value(recorded))]

    def fold(view: Seen | None, recorded: Recorded) -> Seen:
        if view is not None:
            raise ValueError
        return _seen(view, recorded)

    seen = replace(by(Column("about", "text"), mode), keys=channels, fold=fold)
    store = open_store(projections=[seen])

    about(store, "web")
    views = StoredProjection(store, seen)
    assert views.get("web") == views.get(channel.WEB) == Seen(1, "web")
    store.execute("t", OpenSession(attributes={"about": "web"}))
    Runner(store).run(until=store.position)

    assert [waiting.key for waiting in views.parked()] == ["web"]
    for key in ("web", channel.WEB):
        with pytest.raises(ViewParked):
            views.get(key)
    assert not views.retry("web")
    assert views.skip("web")
    assert verify(store) == []


@pytest.mark.parametrize(("kind", "keys"), [("id", "abc"), ("id", ""), ("integer", b"abc")])
def test_a_text_is_no_list_of_keys(
    open_store: OpenStore,
    mode: Mode,
    kind: Kind,
    keys: Any,
) -> None:
    seen = replace(by(Column("about", kind), mode), keys=lambda _: keys)
    store = open_store(projections=[seen])

    about(store, "x")

    (waiting,) = StoredProjection(store, seen).parked()
    assert (waiting.key, waiting.position) == (UNTOLD, 2)
    assert f"`keys` of seen returned {keys!r} instead of a list of keys" in waiting.error
    assert verify(store) == []


@pytest.mark.parametrize("kind", ["id", "text"])
def test_a_key_may_be_an_empty_text(open_store: OpenStore, mode: Mode, kind: Kind) -> None:
    seen = by(Column("about", kind), mode)
    store = open_store(projections=[seen])

    about(store, "", "x")

    views = StoredProjection(store, seen)
    assert views.get("") == views.get("", position=store.position) == Seen(1, "")
    assert views.parked() == []
    assert verify(store) == []


def test_the_test_kit_raises_what_the_keys_raise() -> None:
    changed = AttributesChanged(values={})

    with pytest.raises(KeyError, match="about"):
        given(SessionOpened(first_session=True), changed).when_folded(by(Column("about"), "live"))


class Kept(msgspec.Struct, frozen=True):
    count: int


def kept(column: Column, value: object, mode: Mode) -> Projection[Kept]:
    """A view a session, with a row that has a value from the second event on."""
    return Projection(
        name="kept",
        version=1,
        view=Kept,
        fold=lambda view, _: Kept(1 + (view.count if view else 0)),
        mode=mode,
        rows=(
            Rows(
                "kept_values",
                (Column("number", "integer"), column),
                key=("number",),
                of=lambda view: [(0, value)] if view.count > 1 else [],
                indexes=(("application_id", "value"),) if column.kind == "text" else (),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", True),
        ("integer", 2**63),
        ("flag", 1),
        ("money", Decimal("1E+20000")),
        ("money", Decimal("NaN")),
        ("money", Decimal("1E-16384")),
        ("money", Decimal("1." + "1" * 16_384)),
        ("money", Decimal("1." + "1" * 9_000 + "E-9000")),
        ("time", BEFORE_YEAR_ONE),
        ("time", datetime(2026, 1, 1)),  # noqa: DTZ001  it must have a timezone
        ("json", "{"),
        ("json", "NaN"),
        ("json", 1),
        ("text", "\ud800"),
        ("text", "a\0b"),
        ("text", LONG),
        ("id", "x" * 1001),
    ],
)
def test_a_value_that_is_not_of_its_kind_lets_the_key_wait(
    open_store: OpenStore, mode: Mode, kind: Kind, value: object
) -> None:
    projection = kept(Column("value", kind), value, mode)
    store = open_store(projections=[projection])

    about(store, "x")

    views = StoredProjection(store, projection)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == ("s", 2)
    assert "kept_values.value" in waiting.error
    with pytest.raises(ViewParked):
        views.get("s")
    assert verify(store) == []


@pytest.mark.parametrize(
    "amount", ["1E+15999", "1" * 16_000, "-1E-15999", "1." + "1" * 16_000], ids=lambda a: a[:9]
)
def test_an_amount_of_thousands_of_digits_is_kept(
    open_store: OpenStore, mode: Mode, amount: str
) -> None:
    projection = kept(Column("value", "money"), Decimal(amount), mode)
    store = open_store(projections=[projection])

    about(store, "x")

    assert StoredProjection(store, projection).parked() == []
    assert verify(store) == []


def test_an_id_may_be_as_long_as_ids_are_and_stand_in_an_index(
    open_store: OpenStore, mode: Mode
) -> None:
    projection = kept(Column("value", "id"), LONG, mode)
    store = open_store(projections=[projection])

    about(store, "x")

    assert store.query("SELECT value FROM kept_values") == [(LONG,)]


def scattered(length: int) -> str:
    """A text that no database can make shorter."""
    made = b"".join([sha512(str(number).encode()).digest() for number in range(length // 64 + 1)])
    return b64encode(made).decode()[:length]


def digits(length: int) -> str:
    """Scattered ones."""
    return "".join([str(ord(letter) % 10) for letter in scattered(length)])


class Row(NamedTuple):
    """A row by all of its columns, one value of which has a length, and how long that may be."""

    session: str
    columns: tuple[Column, ...]
    of: Callable[[int], tuple[object, ...]]
    most: int


ROOM = 2704 - 16 - 8  # for what heads a row of an index, and the application
NINE = tuple(scattered(300 + number) for number in range(9))
FULL = [
    Row("s", (Column("a"),), lambda size: (scattered(size),), ROOM - 8 - 7),
    Row(scattered(300), (Column("a"),), lambda size: (scattered(size),), ROOM - 263 - 7),
    Row(
        scattered(300),
        tuple(Column(f"a{number}", "id") for number in range(10)),
        lambda size: (*NINE, scattered(size)),
        ROOM - 10 * 263 - 7,
    ),
    Row(
        "s",
        (Column("a", "money"),),
        lambda size: (Decimal(f"1.{digits(size - 2)}"),),
        2 * (ROOM - 8 - 15) + 1,
    ),
]


@pytest.mark.parametrize("too_much", [0, 1])
@pytest.mark.parametrize("row", FULL, ids=["text", "long id", "ids", "money"])
def test_what_has_no_room_in_an_index_lets_the_key_wait_and_nothing_that_has(
    open_store: OpenStore, mode: Mode, row: Row, too_much: int
) -> None:
    value, key = row.of(row.most + too_much), tuple(column.name for column in row.columns)
    rows: Rows[Kept] = Rows(
        "kept_values", row.columns, key, lambda view: [value] if view.count > 1 else []
    )
    projection = replace(kept(Column("value", "id"), "", mode), rows=(rows,))
    store = open_store(projections=[projection])

    store.execute(row.session, OpenSession())
    store.execute(row.session, SetAttributes(attributes={"about": 1}))
    if mode == "followed":
        Runner(store).run(until=2)

    found = StoredProjection(store, projection).parked()
    assert [each.position for each in found] == [2] * too_much
    assert all("too long for an index; use the kind id" in each.error for each in found)
    assert len(store.query("SELECT 1 FROM kept_values")) == 1 - too_much


class Mean(msgspec.Struct, frozen=True):
    of: dict[str, list[float | None]]
    next: Mean | None = None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("view", [Mean, Any], ids=["a type that has floats", "any type"])
def test_a_number_that_json_has_not_lets_the_key_wait(
    open_store: OpenStore,
    mode: Mode,
    view: Any,
    number: float,
) -> None:
    def fold(_: Any, recorded: Recorded) -> Any:
        means = Mean({"a": [number if recorded.version >= 2 else 0.5, None]})
        return Mean({}, next=means) if view is Mean else [{"null": [means.of]}]

    projection: Any = Projection(name="mean", version=1, view=view, fold=fold, mode=mode)
    store = open_store(projections=[projection])

    about(store, "x", "y")

    views = StoredProjection(store, projection)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == ("s", 2)
    assert f"JSON cannot express the number {number}" in waiting.error
    assert verify(store) == []
    store.execute("t", OpenSession())
    Runner(store).run(until=store.position)
    assert views.get("t") == fold(None, next(store.events("t")))


def test_a_fold_that_answers_with_nothing_lets_the_key_wait(
    open_store: OpenStore, mode: Mode
) -> None:
    def forgets(view: Seen | None, recorded: Recorded) -> Any:
        return None if recorded.version == 2 else _seen(view, recorded)

    projection = Projection(name="seen", version=1, view=Seen, fold=forgets, mode=mode)
    store = open_store(projections=[projection])

    about(store, "x", "y")

    views = StoredProjection(store, projection)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == ("s", 2)
    assert "returned None instead of a view" in waiting.error
    with pytest.raises(ViewParked, match="instead of a view"):
        views.get("s", position=3)
    assert verify(store) == []


class Weight(msgspec.Struct, frozen=True):
    grams: int = 0


@pytest.mark.parametrize("wrong", [Weight("heavy"), Weight(Decimal("2.5")), "heavy"])  # type: ignore[arg-type]  # one is wrong
def test_a_view_that_is_not_of_its_type_lets_the_key_wait(
    open_store: OpenStore,
    mode: Mode,
    wrong: Any,
) -> None:
    projection: Projection[Weight] = Projection(
        name="weights",
        version=1,
        view=Weight,
        fold=lambda _, recorded: wrong if recorded.version >= 2 else Weight(7),
        mode=mode,
    )
    store = open_store(projections=[projection])

    about(store, "x", "y")

    views = StoredProjection(store, projection)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == ("s", 2)
    assert "Expected" in waiting.error
    with pytest.raises(ViewParked):
        views.get("s")
    assert verify(store) == []
    assert store.query("SELECT document FROM weights") == [('{"grams":7}',)]


def test_rows_of_a_view_that_share_a_key_let_the_key_wait(
    open_store: OpenStore, mode: Mode
) -> None:
    rows: Rows[Kept] = Rows(
        "bought",
        (Column("sku", "id"), Column("units", "integer")),
        key=("sku",),
        of=lambda view: [("9696", units) for units in range(view.count)],
    )
    projection = Projection(
        name="carts",
        version=1,
        view=Kept,
        fold=lambda view, _: Kept(1 + (view.count if view else 0)),
        mode=mode,
        rows=(rows,),
    )
    store = open_store(projections=[projection])

    about(store, "x", "y")

    views = StoredProjection(store, projection)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == ("s", 2)
    assert "bought: a different key for each row of a view, not twice ('9696',)" in waiting.error
    assert store.query("SELECT sku, units FROM bought") == [("9696", 0)]
    assert verify(store) == []


@pytest.mark.parametrize("mode", ["inline", "followed", "live"])
def test_a_view_that_cannot_be_kept_is_none_in_any_mode_and_at_any_moment(
    open_store: OpenStore, mode: Mode
) -> None:
    def fold(view: Seen | None, recorded: Recorded) -> Seen:
        count: Any = _seen(view, recorded).count if recorded.version < 3 else "three"
        return Seen(count)

    seen = Projection(name="seen", version=1, view=Seen, fold=fold, mode=mode)
    store = open_store(projections=[seen])

    about(store, 1, 2)

    views = StoredProjection(store, seen)
    assert views.get("s", position=2) == Seen(2)
    for position in (None, 3):
        with pytest.raises(ViewParked, match="is parked at position 3"):
            views.get("s", position=position)


def _twice_or_once(view: Seen) -> list[tuple[str, int]]:
    return [("one", 1), ("one" if view.count == 2 else "two", 2)]


TWICE_OR_ONCE = Rows(
    "seen_rows", (Column("what"), Column("n", "integer")), ("what",), _twice_or_once
)


def _counted(view: Seen | None, _: Recorded) -> Seen:
    """How many events there were, if each view is given as it is read again."""
    before = view or Seen(0)
    return Seen(before.count + (100 if before.value else 1), "which is not kept")


COUNTS: Storage[Seen] = Storage(
    Table(
        "seen",
        (Column("application_id", "integer"), Column("key", "id"), Column("n", "integer")),
        key=("application_id", "key"),
    ),
    lambda key, view: (key, view.count),
    lambda row: Seen(row[1]),
    always_fits=True,
    settled=lambda view: Seen(view.count),
)


@pytest.mark.parametrize("mode", ["inline", "followed", "live"])
def test_a_view_that_is_kept_in_a_way_of_its_own_is_given_as_it_is_read_again(
    open_store: OpenStore, mode: Mode
) -> None:
    seen = Projection(name="seen", version=1, view=Seen, fold=_counted, kept=COUNTS, mode=mode)
    store = open_store(projections=[seen])

    store.execute("s", OpenSession())
    for many in ([1], [2, 3]):
        store.execute_many("s", [SetAttributes(attributes={"about": value}) for value in many])
    Runner(store).run(until=store.position)

    assert StoredProjection(store, seen).get("s") == Seen(4)
    assert verify(store) == []


def _unfit_at_two(_: Seen | None, recorded: Recorded) -> Seen:
    count: Any = recorded.version if recorded.version != 2 else "two"
    return Seen(count)


@pytest.mark.parametrize("mode", ["inline", "followed", "live"])
@pytest.mark.parametrize(
    ("fold", "rows", "kept"),
    [
        (lambda view, _: Seen(1 + (view.count if view else 0)), [TWICE_OR_ONCE], None),
        (_counted, [TWICE_OR_ONCE], COUNTS),
        (_unfit_at_two, [], None),
    ],
    ids=["two rows with one key", "and views that always fit", "a value that is not of its type"],
)
@pytest.mark.parametrize("commands", [[1, 2], [[1, 2]]], ids=["one by one", "together"])
def test_a_view_that_cannot_be_kept_between_two_events_waits_however_they_come(  # noqa: PLR0913, PLR0917  its parameters and fixtures
    open_store: OpenStore,
    mode: Mode,
    fold: Any,
    rows: list[Rows[Seen]],
    kept: Storage[Seen] | None,
    commands: list[Any],
) -> None:
    seen = Projection(
        name="seen", version=1, view=Seen, fold=fold, mode=mode, rows=tuple(rows), kept=kept
    )
    store = open_store(projections=[seen])
    store.execute("s", OpenSession())

    for each in commands:
        values = each if isinstance(each, list) else [each]
        store.execute_many("s", [SetAttributes(attributes={"about": value}) for value in values])
    Runner(store).run(until=store.position)

    with pytest.raises(ViewParked, match="is parked at position 2"):
        StoredProjection(store, seen).get("s")
    rebuild(store)
    with pytest.raises(ViewParked, match="is parked at position 2"):
        StoredProjection(store, seen).get("s")
    assert verify(store) == []
