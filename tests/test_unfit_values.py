"""What no database takes, or only one of them, lets its key wait: on every database alike."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import Column, Projection, Rows, Runner, StoredProjection, rebuild, verify
from projections.testing import given
from sessions import OpenSession, SessionStore, SetAttributes, ViewParked
from sessions.events import AttributesChanged, SessionOpened
from sessions.projection import UNTOLD

if TYPE_CHECKING:
    from sessions.events import Recorded
    from sessions.kinds import Kind
    from sessions.projection import Key, Mode
    from tests.conftest import OpenStore

BEFORE_YEAR_ONE = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
LONG = "".join(chr(0x10000 + number * 37 % 60_000) for number in range(1000))


class Seen(msgspec.Struct, frozen=True):
    count: int
    value: Any = None


def _value(recorded: Recorded) -> Any:  # noqa: ANN401
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
    """Set an attribute to one value after another; then run what is followed."""
    store.execute("s", OpenSession())
    for value in values:
        store.execute("s", SetAttributes(attributes={"about": value}))
    Runner(store).run(until=store.position)


@pytest.mark.parametrize(
    ("key", "unfit", "fit"),
    [
        (Column("about", "id"), 4711, "4711b"),
        (Column("about", "id"), "x" * 1001, "x"),
        (Column("about", "integer"), "8", 7),
        (Column("about", "integer"), True, 7),
        (Column("about", "integer"), 2**63, 7),
    ],
)
def test_a_key_that_is_not_of_its_kind_waits_and_the_others_go_on(
    open_store: OpenStore, mode: Mode, key: Column, unfit: Key, fit: Key
) -> None:
    seen = by(key, mode)
    store = open_store(projections=[seen])

    about(store, unfit, fit)

    views = StoredProjection(store, seen)
    assert [(waiting.key, waiting.position) for waiting in views.parked()] == [(str(unfit), 2)]
    assert f"seen.about: {key.kind}, not" in views.parked()[0].error
    assert views.get(fit) == Seen(1, str(fit))
    assert not views.retry(unfit)
    assert rebuild(store).parked == 1
    assert verify(store) == []


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
        ("time", BEFORE_YEAR_ONE),
        ("time", datetime(2026, 1, 1)),  # noqa: DTZ001
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


def test_an_id_may_be_as_long_as_ids_are_and_stand_in_an_index(
    open_store: OpenStore, mode: Mode
) -> None:
    projection = kept(Column("value", "id"), LONG, mode)
    store = open_store(projections=[projection])

    about(store, "x")

    assert store.query("SELECT value FROM kept_values") == [(LONG,)]


def test_a_fold_that_answers_with_nothing_lets_the_key_wait(
    open_store: OpenStore, mode: Mode
) -> None:
    def forgets(view: Seen | None, recorded: Recorded) -> Any:  # noqa: ANN401
        return None if recorded.version == 2 else _seen(view, recorded)

    projection = Projection(name="seen", version=1, view=Seen, fold=forgets, mode=mode)
    store = open_store(projections=[projection])

    about(store, "x", "y")

    views = StoredProjection(store, projection)
    (waiting,) = views.parked()
    assert (waiting.key, waiting.position) == ("s", 2)
    assert "answers with None, which is no view" in waiting.error
    with pytest.raises(ViewParked, match="which is no view"):
        views.get("s", position=3)
    assert verify(store) == []
