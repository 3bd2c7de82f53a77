"""A fold that fails lets its key wait: nothing else does, and nothing is lost."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import (
    Column,
    CustomerSessions,
    Projection,
    Runner,
    StoredProjection,
    attachments,
    copy,
    drop,
    parked,
    rebuild,
    verify,
)
from projections.customer_session import PROJECTION, SessionView
from projections.running import not_followed
from sessions import (
    BatchOpen,
    CloseSession,
    OpenSession,
    SessionStore,
    SetProfile,
    UnknownEvent,
    ViewBehind,
)
from sessions.errors import KeyNotParked, ProjectionNotKept, RebuildRunning, ViewParked
from sessions.events import ItemAdded, ProfileChanged
from sessions.views.begins import is_first
from sessions.views.projection import of_session
from tests.conftest import add, deeper
from tests.sample_projections import (
    BAD,
    MENDED,
    SALES,
    SPEND,
    Line,
    Sales,
    Spend,
    count,
    in_mode,
    sell,
    there,
    with_fold,
)
from tests.tampering import unguarded
from tests.waiting import come, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.recorded import Recorded
    from sessions.sql.head import Build, Mode
    from tests.conftest import Clock, OpenStore

MODES: tuple[Mode, ...] = ("inline", "followed")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """How the projections are run."""
    mode: Mode = request.param
    return mode


@pytest.fixture
def store(open_store: OpenStore, clock: Clock, mode: Mode) -> SessionStore:
    """A store whose session "a" has an item that the fold of sales cannot take."""
    store = open_store(now=clock, projections=in_mode(mode, SALES))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    assert store.execute("a", add(BAD)).position == 3
    store.execute("a", add("y"))
    store.execute("b", OpenSession())
    store.execute("b", add("x"))
    caught_up(store)
    return store


def caught_up(store: SessionStore) -> None:
    """Run what is followed."""
    Runner(store).run(until=store.position)


def of(store: SessionStore, projection: Projection[Any] = SALES) -> StoredProjection[Any]:
    """The projection of that name in a mode that the store has."""
    return StoredProjection(store, projection)


ALL = Sales(Decimal("179.7"), (Line("x", 1), Line(BAD, 1), Line("y", 1)))
WITHOUT = Sales(Decimal("119.8"), (Line("x", 1), Line("y", 1)))


# --- waiting


def test_a_key_is_logged_when_it_is_parked_and_by_nobody_who_folds_afresh(
    open_store: OpenStore, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(projections=in_mode(mode, SALES))
    store.execute("a", OpenSession())
    store.execute("a", add(BAD))
    caught_up(store)
    said = "sales of 'a' is parked at position 2 (ItemAdded): ValueError('a bad item')"
    assert caplog.messages == [said]
    caplog.clear()

    assert verify(store) == []
    assert rebuild(store).parked == 1
    with SessionStore.open("memory:", projections=store.projections) as target:
        assert copy(store, target).events == 2
    assert caplog.messages == []

    store.execute("b", OpenSession())
    store.execute("b", add(BAD))
    caught_up(store)
    other = said.replace("'a' is parked at position 2", "'b' is parked at position 4")
    assert caplog.messages == [other]


def test_the_command_succeeds_and_its_key_waits_with_event_and_error(
    store: SessionStore, clock: Clock
) -> None:
    assert store.position == 6
    (waiting,) = of(store).parked()
    assert (waiting.projection, waiting.key) == ("sales", "a")
    assert (waiting.position, waiting.type) == (3, "ItemAdded")
    assert waiting.error == "ValueError('a bad item')"
    assert waiting.parked_at.tzinfo is not None
    assert clock.time.tzinfo is not None
    assert parked(store) == [waiting]


class Shown(Exception):  # noqa: N818  it is told apart by its text
    """An error that is shown as a text, or not at all."""

    def __repr__(self) -> str:
        shown: str = self.args[0]
        return shown


@pytest.mark.parametrize(
    ("shown", "kept"),
    [("a\0b", r"a\0b"), ("\ud800", r"\ud800"), ("ä" * 9999, "ä" * 1000), (None, "Shown")],
    ids=["with a NUL", "with half a character", "that is long", "that cannot be shown"],
)
def test_any_error_of_a_fold_parks_its_key(
    open_store: OpenStore, mode: Mode, shown: str | None, kept: str
) -> None:
    def fold(_: Sales | None, __: Recorded) -> Sales:
        raise Shown(shown)

    projections = in_mode(mode, with_fold(fold))
    store = open_store(projections=projections)
    store.execute("a", OpenSession())
    caught_up(store)

    (waiting,) = of(store, projections[-1]).parked()
    assert waiting.error == kept


@pytest.mark.parametrize("what", ["fold", "keys"])
def test_what_a_handler_of_a_signal_raises_in_a_fold_lets_no_key_wait(
    open_store: OpenStore, mode: Mode, what: str
) -> None:
    signals = [TimeoutError("a handler raises it wherever it interrupts")]
    of_spend: Callable[..., Any] = getattr(SPEND, what)

    def interrupted(*given: object) -> object:
        if signals:
            raise signals.pop()
        return of_spend(*given)

    changes: dict[str, Any] = {what: interrupted}
    projections = in_mode(mode, replace(SPEND, **changes))
    store = open_store(projections=projections)
    store.execute("a", OpenSession(profile_id="p"))
    caught_up(store)

    assert not signals
    assert parked(store) == []
    assert verify(store) == []


def test_what_a_handler_of_a_signal_raises_when_a_view_is_read_lets_no_key_wait(
    open_store: OpenStore,
) -> None:
    signals: list[Exception] = []
    storage = SPEND.storage

    def interrupted(row: Sequence[Any]) -> Any:
        if signals:
            raise signals.pop()
        return storage.from_row(row)

    spend = replace(SPEND, kept=msgspec.structs.replace(storage, from_row=interrupted))
    store = open_store(projections=in_mode("followed", spend))
    store.execute("a", OpenSession(profile_id="p"))
    caught_up(store)
    store.execute("b", OpenSession(profile_id="p"))
    signals.append(TimeoutError("a handler raises it wherever it interrupts"))
    caught_up(store)

    assert not signals
    assert parked(store) == []
    assert verify(store) == []
    signals.append(TimeoutError("it is the reader's here"))
    with pytest.raises(TimeoutError):
        of(store, spend).get("p")
    assert of(store, spend).get("p") is not None


@pytest.mark.parametrize("what", ["fold", "keys"])
def test_a_caller_that_is_deep_in_its_stack_lets_no_key_wait(
    open_store: OpenStore, mode: Mode, what: str
) -> None:
    of_spend: Callable[..., Any] = getattr(SPEND, what)
    changes: dict[str, Any] = {what: lambda *given: deeper(700, lambda: of_spend(*given))}
    store = open_store(projections=in_mode(mode, replace(SPEND, **changes)))
    store.execute("a", OpenSession())

    deeper(300, lambda: store.execute("b", OpenSession(profile_id="p")))
    deeper(300, lambda: caught_up(store))

    assert parked(store) == []
    assert verify(store) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["fold", "keys"])
def test_where_a_process_is_short_of_memory_no_key_waits(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, mode: Mode, what: str
) -> None:
    def lacks_memory(*_: object) -> Any:
        raise MemoryError

    changes: dict[str, Any] = {what: lacks_memory}
    store = open_store(projections=in_mode(mode, replace(SPEND, **changes)))

    def write() -> None:
        store.execute("a", OpenSession(profile_id="p"))
        caught_up(store)

    with monkeypatch.context() as short:
        short.setattr("sessions.views.again._ROOM", sys.maxsize)
        with pytest.raises(MemoryError):
            write()

    assert parked(store) == []
    assert store.position == (0 if mode == "inline" else 1)
    if mode == "inline":
        write()
    else:
        caught_up(store)
    assert len(parked(store)) == 1  # there is memory, and it asks for more


def test_a_view_is_not_damaged_where_a_process_is_short_of_memory(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[object] = []

    def from_row(row: Any) -> Spend:
        if reads:
            raise MemoryError
        return storage.from_row(row)

    storage = SPEND.storage
    spend = replace(SPEND, kept=msgspec.structs.replace(storage, from_row=from_row))
    store = open_store(projections=in_mode("followed", spend))
    store.execute("a", OpenSession(profile_id="p"))
    caught_up(store)
    store.execute("b", OpenSession(profile_id="p"))
    reads.append("fail")
    monkeypatch.setattr("sessions.views.again._ROOM", sys.maxsize)

    with pytest.raises(MemoryError):
        caught_up(store)
    with pytest.raises(MemoryError):
        of(store, spend).get("p")

    assert parked(store) == []
    reads.clear()
    caught_up(store)
    assert of(store, spend).get("p") == Spend(opened=2)


def test_a_view_is_read_from_a_deep_stack_as_from_any(open_store: OpenStore) -> None:
    storage = SPEND.storage
    changed = msgspec.structs.replace(
        storage, from_row=lambda row: deeper(700, lambda: storage.from_row(row))
    )
    spend = replace(SPEND, kept=changed)
    store = open_store(projections=in_mode("followed", spend))
    store.execute("a", OpenSession(profile_id="p"))
    caught_up(store)
    store.execute("b", OpenSession(profile_id="p"))

    deeper(300, lambda: caught_up(store))

    assert parked(store) == []
    with pytest.raises(RecursionError):  # it is the reader's here, and the row is not damaged
        deeper(300, lambda: of(store, spend).get("p"))
    assert of(store, spend).get("p") == Spend(opened=2)


def test_a_fold_that_calls_itself_for_ever_lets_its_key_wait(
    open_store: OpenStore, mode: Mode
) -> None:
    def endless(view: Any, recorded: Recorded) -> Any:
        return endless(view, recorded)

    store = open_store(projections=in_mode(mode, with_fold(endless)))
    assert store.execute("a", OpenSession()).version == 1
    caught_up(store)

    (waiting,) = parked(store)
    assert waiting.error.startswith("RecursionError(")


def test_what_comes_later_waits_behind_it_and_other_keys_go_on(store: SessionStore) -> None:
    lines = "SELECT session_id, sku FROM sold_lines ORDER BY session_id"
    assert store.query(lines) == [("a", "x"), ("b", "x")]
    assert of(store).get("b") == Sales(Decimal("59.9"), (Line("x", 1),))

    store.execute("a", CloseSession())
    store.execute("b", CloseSession())
    caught_up(store)

    assert [each.position for each in of(store).parked()] == [3]
    sold = "SELECT session_id FROM sold_lines WHERE closed IS NOT NULL"
    assert store.query(sold) == [("b",)]
    assert verify(store) == []


def test_a_view_that_waits_is_not_shown_as_if_it_were_right(store: SessionStore) -> None:
    with pytest.raises(ViewParked, match="sales of 'a' is parked at position 3") as waiting:
        of(store).get("a")
    assert waiting.value.fields["reason"] == "ValueError('a bad item')"

    assert of(store).get("a", position=2) == Sales(Decimal("59.9"), (Line("x", 1),))
    for position in (3, 6):
        with pytest.raises(ViewParked, match="position 3"):
            of(store).get("a", position=position)


def with_sessions(
    open_store: OpenStore, mode: Mode, fold: Callable[[SessionView | None, Recorded], SessionView]
) -> SessionStore:
    """A store that keeps sessions in a mode, with another fold."""
    store = open_store(projections=(replace(PROJECTION, fold=fold), attachments.PROJECTION))
    store.make()
    rebuild(store, names=[PROJECTION.name], mode=mode)
    return store


@pytest.mark.parametrize("at", ["SessionOpened", "ItemAdded"])
def test_a_customers_sessions_are_not_told_without_one_that_waits(
    open_store: OpenStore, mode: Mode, at: str
) -> None:
    def fold(view: SessionView | None, recorded: Recorded) -> SessionView:
        if (recorded.stream_id, recorded.type) == ("a", at):
            raise ValueError(at)
        return PROJECTION.fold(view, recorded)

    store = with_sessions(open_store, mode, fold)
    store.execute("b", OpenSession(profile_id="p"))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add("x"))
    store.execute("b", SetProfile(profile_id="q"))
    store.execute("b", SetProfile(profile_id="p"))
    store.execute("c", OpenSession(profile_id="q"))
    caught_up(store)
    views = CustomerSessions(store)

    with pytest.raises(ViewParked, match=f"customer_sessions of 'a' is parked .*{at}"):
        views.of_profile("p")
    assert [view.integration_id for view in views.of_profile("q")] == ["c"]


def test_a_session_that_waits_is_told_of_the_customer_whose_it_is_by_the_log(
    open_store: OpenStore, mode: Mode
) -> None:
    def fold(view: SessionView | None, recorded: Recorded) -> SessionView:
        if recorded.type == "ProfileChanged":
            raise ValueError(BAD)
        return PROJECTION.fold(view, recorded)

    store = with_sessions(open_store, mode, fold)
    store.execute("a", OpenSession(profile_id="guest"))
    store.execute("b", OpenSession(profile_id="guest"))
    store.execute("a", SetProfile(profile_id="p"))
    caught_up(store)
    views = CustomerSessions(store)

    with pytest.raises(ViewParked, match="customer_sessions of 'a' is parked at position 3"):
        views.of_profile("p")
    assert [view.integration_id for view in views.of_profile("guest")] == ["b"]


def without_bad(view: SessionView | None, recorded: Recorded) -> SessionView:
    """The fold of sessions, which cannot take a bad item."""
    if isinstance(recorded.event, ItemAdded) and recorded.event.item.sku == BAD:
        raise ValueError(BAD)
    return PROJECTION.fold(view, recorded)


def test_a_customers_sessions_leave_out_what_is_skipped(open_store: OpenStore, mode: Mode) -> None:
    store = with_sessions(open_store, mode, without_bad)
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add(BAD))
    store.execute("a", add("x"))
    caught_up(store)

    assert StoredProjection(store, store.projections[0]).skip("a")

    views = CustomerSessions(store)
    (view,) = views.of_profile("p")
    assert ([item.sku for item in view.cart_items], view) == (["x"], views.get("a"))
    assert views.find() == [view]


def test_what_waited_in_the_build_before_is_found_like_any_other(
    open_store: OpenStore, mode: Mode
) -> None:
    store = with_sessions(open_store, mode, without_bad)
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add(BAD))
    caught_up(store)
    views = CustomerSessions(store)
    assert views.find() == []

    mended = SessionStore(store.recorder.database, 1, read_only=True)
    assert rebuild(mended, names=[PROJECTION.name]).switched

    (view,) = views.find()
    assert [item.sku for item in view.cart_items] == [BAD]
    assert views.of_profile("p") == [view]


def test_the_other_projections_of_the_same_command_are_kept(store: SessionStore) -> None:
    session = CustomerSessions(store).get("a")

    assert [item.sku for item in session.cart_items] == ["x", BAD, "y"]


def test_the_first_event_of_a_key_may_be_the_one(open_store: OpenStore, mode: Mode) -> None:
    def refuse_all(_: Sales | None, __: Recorded) -> Sales:
        raise KeyError

    store = open_store(projections=in_mode(mode, with_fold(refuse_all)))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    caught_up(store)

    assert [each.position for each in of(store).parked()] == [1]
    assert store.query("SELECT * FROM sales") == []
    assert of(store, MENDED).retry("a")
    assert of(store).get("a") == Sales(Decimal("59.9"), (Line("x", 1),))
    assert verify(store) != []  # by the old fold it would wait
    assert [each.relation for each in verify(store)].count("parked") == 1


def test_a_begins_that_raises_stops_nobody_and_the_view_before_is_read(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    def begins(recorded: Recorded) -> bool:
        if recorded.stream_id == "bad":
            raise ArithmeticError
        return is_first(recorded)

    monkeypatch.setattr("sessions.views.inline.HELD", 0)
    store = open_store(projections=in_mode(mode, replace(MENDED, begins=begins), SPEND))
    for command in (OpenSession(), add("x"), add("y")):
        for session in ("bad", "good"):
            store.execute(session, command)
        caught_up(store)

    both = Sales(Decimal("119.8"), (Line("x", 1), Line("y", 1)))
    assert [of(store).get(session) for session in ("bad", "good")] == [both, both]
    assert of(store, SPEND).get("") == Spend(opened=2)
    assert parked(store) == []


def test_a_begins_for_which_there_is_no_memory_raises_as_a_fold_does(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks_memory(_: object) -> bool:
        raise MemoryError

    store = open_store(projections=in_mode("inline", replace(SPEND, begins=lacks_memory)))

    with monkeypatch.context() as short:
        short.setattr("sessions.views.again._ROOM", sys.maxsize)
        with pytest.raises(MemoryError):
            store.execute("a", OpenSession(profile_id="p"))

    store.execute("a", OpenSession(profile_id="p"))  # there is memory, and it asks for more
    assert of(store, SPEND).get("p") == Spend(opened=1)


def test_an_event_of_two_keys_may_let_one_of_them_wait(open_store: OpenStore, mode: Mode) -> None:
    def refuse_third(view: Spend | None, recorded: Recorded) -> Spend:
        if isinstance(recorded.event, ProfileChanged) and view is not None:
            raise LookupError
        return count(view, recorded)

    store = open_store(projections=in_mode(mode, replace(SPEND, fold=refuse_third)))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", SetProfile(profile_id="q"))
    store.execute("b", OpenSession(profile_id="p"))
    store.execute("b", SetProfile(profile_id="r"))
    caught_up(store)

    assert [(each.key, each.position) for each in of(store, SPEND).parked()] == [("p", 2)]
    assert store.query("SELECT profile_id, opened, came FROM spend ORDER BY profile_id") == [
        ("p", 1, 0),
        ("q", 0, 1),
        ("r", 0, 1),
    ]
    assert verify(store) == []
    assert of(store, SPEND).retry("p")
    assert of(store, SPEND).get("p") == Spend(2, 2)
    assert [of(store, SPEND).get(other) for other in "qr"] == [Spend(0, 1)] * 2


class Odd(msgspec.Struct, frozen=True):
    """A view with values that not every database takes."""

    number: Any = 0
    text: Any = ""


def odd(value: Odd) -> Projection[Odd]:
    """A projection whose view is that of a session's second event, and else its version."""

    def fold(_: Odd | None, recorded: Recorded) -> Odd:
        return value if recorded.version == 2 else Odd(recorded.version)

    columns = (Column("number", "integer"), Column("text"))
    return Projection(name="odd", version=1, view=Odd, fold=fold, columns=columns)


def keep(store: SessionStore) -> None:
    """Two events, of which the second has no row, and another session."""
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    store.execute("b", OpenSession())
    caught_up(store)


def test_a_view_that_cannot_be_encoded_waits_in_its_last_good_state(
    open_store: OpenStore, mode: Mode
) -> None:
    projection = odd(Odd(object()))
    store = open_store(projections=in_mode(mode, projection))
    keep(store)

    (waiting,) = of(store, projection).parked()
    assert (waiting.key, waiting.position) == ("a", 2)
    assert "TypeError" in waiting.error
    rows = store.query("SELECT key, number FROM odd ORDER BY key")
    assert rows == [("a", 1), ("b", 1)]
    assert verify(store) == []
    assert of(store, projection).skip("a")
    store.execute("a", add("y"))
    caught_up(store)
    assert of(store, projection).get("a") == Odd(3)


@pytest.mark.parametrize("value", [Odd(None), Odd(2**64)], ids=["NULL", "65 bits"])
def test_a_view_that_no_database_takes_waits_too(
    open_store: OpenStore, mode: Mode, value: Odd
) -> None:
    projection = odd(value)
    store = open_store(projections=in_mode(mode, projection))
    keep(store)

    assert [(each.key, each.position) for each in of(store, projection).parked()] == [("a", 2)]


def test_rows_that_the_view_before_has_no_longer_let_its_key_wait_too(
    open_store: OpenStore, mode: Mode
) -> None:
    is_changed = False

    def lines(view: Sales) -> list[tuple[object, ...]]:
        if is_changed and len(view.lines) == 1:
            raise ArithmeticError
        return [(line.sku, line.units, line.closed) for line in view.lines]

    projection = replace(MENDED, rows=(msgspec.structs.replace(MENDED.rows[0], of=lines),))
    store = open_store(projections=in_mode(mode, projection))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    caught_up(store)

    is_changed = True
    store.execute("a", add("y"))
    store.execute("b", OpenSession())
    caught_up(store)

    assert [(each.key, each.position) for each in of(store, projection).parked()] == [("a", 3)]
    assert of(store, projection).get("b") == Sales()


# --- going on


def test_once_the_fold_is_mended_it_goes_on_with_all_that_waits(store: SessionStore) -> None:
    assert of(store, MENDED).retry("a")

    assert of(store).get("a") == ALL
    assert of(store).parked() == []
    rows = store.query("SELECT sku FROM sold_lines WHERE session_id = 'a' ORDER BY sku")
    assert rows == [(BAD,), ("x",), ("y",)]


def test_after_a_retry_the_next_events_are_folded_as_ever(
    open_store: OpenStore, mode: Mode
) -> None:
    is_mended = False

    def fold(view: Sales | None, recorded: Recorded) -> Sales:
        return (MENDED if is_mended else SALES).fold(view, recorded)

    store = open_store(projections=in_mode(mode, with_fold(fold)))
    store.execute("a", OpenSession())
    store.execute("a", add(BAD))
    caught_up(store)
    is_mended = True
    assert of(store, store.projections[-1]).retry("a")

    store.execute("a", add("x"))
    caught_up(store)

    view = there(of(store).get("a"))
    assert view.lines == (Line(BAD, 1), Line("x", 1))
    assert verify(store) == []
    rebuild(store)
    assert of(store).get("a") == view


def test_a_retry_that_fails_again_lets_it_wait_where_it_fails(store: SessionStore) -> None:
    assert not of(store).retry("a")
    assert [each.position for each in of(store).parked()] == [3]
    assert store.query("SELECT sku FROM sold_lines WHERE session_id = 'a'") == [("x",)]
    assert verify(store) == []

    def refuse_later(view: Sales | None, recorded: Recorded) -> Sales:
        if recorded.position == 4:
            raise ArithmeticError
        return MENDED.fold(view, recorded)

    assert not of(store, with_fold(refuse_later)).retry("a")
    (waiting,) = of(store).parked()
    assert (waiting.position, waiting.error) == (4, "ArithmeticError()")
    assert of(store, MENDED).retry("a")
    assert of(store).get("a") == ALL


def test_what_is_skipped_is_left_out_and_the_rest_goes_on(store: SessionStore) -> None:
    assert of(store).skip("a")

    assert of(store).parked() == []
    assert there(of(store).get("a")).total == WITHOUT.total
    assert of(store).get("a", position=3) == Sales(Decimal("59.9"), (Line("x", 1),))
    store.execute("b", add("y"))
    caught_up(store)
    assert verify(store) == []


def test_the_next_one_behind_what_is_skipped_may_wait_too(store: SessionStore) -> None:
    store.execute("a", CloseSession())
    store.execute("c", OpenSession())
    store.execute("c", add(BAD))
    store.execute("c", add(BAD, price="1"))
    caught_up(store)

    assert [(each.key, each.position) for each in of(store).parked()] == [("a", 3), ("c", 9)]
    assert not of(store).skip("c")
    assert [(each.key, each.position) for each in of(store).parked()] == [("a", 3), ("c", 10)]
    assert of(store).skip("c")
    assert of(store).get("c") == Sales()
    assert verify(store) == []


def test_a_runner_that_parks_one_key_after_the_other_lets_both_wait(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("followed", SALES))
    for session_id in ("a", "b"):
        store.execute(session_id, OpenSession())
        store.execute(session_id, add(BAD))
    store.execute("a", add("y"))

    Runner(store, page=1).run(until=store.position)

    assert [(each.key, each.position) for each in of(store).parked()] == [("a", 2), ("b", 4)]
    assert store.query("SELECT sku FROM sold_lines") == []
    assert verify(store) == []


def test_what_is_skipped_stays_left_out_when_a_later_event_is_mended(
    store: SessionStore, mode: Mode
) -> None:
    assert of(store).skip("a")
    store.execute("a", add(BAD, price="1"))
    store.execute("a", add("z"))
    caught_up(store)
    assert [(each.key, each.position) for each in of(store).parked()] == [("a", 7)]

    assert of(store, MENDED).retry("a")

    mended = SessionStore(
        store.recorder.database, 1, read_only=True, projections=in_mode(mode, MENDED)
    )
    assert verify(mended) == []
    assert rebuild(mended).switched
    sales = there(of(mended, MENDED).get("a"))
    assert [line.sku for line in sales.lines] == ["x", "y", BAD, "z"]


def test_what_waits_is_told_in_the_order_of_its_events(store: SessionStore) -> None:
    for session_id in ("c", "0"):
        store.execute(session_id, OpenSession())
        store.execute(session_id, add(BAD))
    caught_up(store)

    waiting = [(each.key, each.position) for each in of(store).parked()]

    assert waiting == [("a", 3), ("c", 8), ("0", 10)]


@pytest.mark.parametrize("key", ["b", "no such key", ""])
def test_what_does_not_wait_is_neither_retried_nor_skipped(store: SessionStore, key: str) -> None:
    for go_on in (of(store).retry, of(store).skip):
        with pytest.raises(KeyNotParked, match=f"sales of '{key}'"):
            go_on(key)
    of(store).skip("a")
    with pytest.raises(KeyNotParked):
        of(store).skip("a")


def test_another_version_is_not_asked(store: SessionStore) -> None:
    other = of(store, replace(SALES, version=2))
    asked: list[Callable[[], object]] = [
        other.parked,
        lambda: other.get("a"),
        lambda: other.retry("a"),
        lambda: other.skip("a"),
        lambda: other.wait(1),
        lambda: other.position,
    ]
    for ask in asked:
        with pytest.raises(ProjectionNotKept, match="sales 2"):
            ask()


@pytest.mark.parametrize("what", ["retry", "skip", "drop"])
def test_a_thread_with_a_batch_open_is_told_so(
    open_store: OpenStore, mode: Mode, what: str
) -> None:
    store = open_store(projections=in_mode(mode, SALES))
    store.execute("a", OpenSession())
    store.execute("a", add(BAD))
    caught_up(store)
    rebuild(store)
    asked: dict[str, Callable[[], object]] = {
        "retry": lambda: of(store).retry("a"),
        "skip": lambda: of(store).skip("a"),
        "drop": lambda: drop(store, "sales"),
    }

    with store.batch():
        store.execute("b", OpenSession())
        with pytest.raises(BatchOpen):
            asked[what]()


@pytest.mark.parametrize("what", ["retry", "skip"])
@pytest.mark.parametrize("key", ["a session", "what several share"])
def test_a_key_goes_on_where_a_pool_has_no_second_connection(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, mode: Mode, what: str, key: str
) -> None:
    monkeypatch.setattr("sessions.postgres.place._LEAST_POOL", 1)
    keys = of_session if key == "a session" else by_sku
    projection = replace(SALES, mode=mode, keys=keys)
    url = f"{postgres_url}&pool=1"
    with SessionStore.open(url, projections=[projection]) as store:
        store.execute("a", OpenSession())
        store.execute("a", add(BAD))
        caught_up(store)
        stored = of(store, replace(projection, fold=sell))
        (waiting,) = stored.parked()

        assert getattr(stored, what)(waiting.key)

        assert stored.parked() == []


def by_sku(recorded: Recorded) -> list[str]:
    """The articles that an event is about."""
    return [recorded.event.item.sku] if isinstance(recorded.event, ItemAdded) else []


def test_keys_go_on_beside_a_runner_that_uses_the_rest_of_the_pool(postgres_url: str) -> None:
    projection = in_mode("followed", SALES)
    url = f"{postgres_url}&pool=2"
    with SessionStore.open(url, projections=projection) as store, Runner(store):
        for number in range(20):
            store.execute(f"s{number}", OpenSession())
            last = store.execute(f"s{number}", add(BAD)).position
        come(of(store), last)

        for number in range(20):
            store.execute(f"t{number}", OpenSession())
            assert of(store, MENDED).retry(f"s{number}")

        assert of(store).parked() == []


@pytest.mark.parametrize("what", ["retry", "skip"])
def test_a_build_that_was_switched_away_meanwhile_is_left_alone(
    store: SessionStore, what: str
) -> None:
    class Late(StoredProjection[Any]):
        """One that is slow: a rebuild switches when it has just asked what is current."""

        def _build(self) -> Build:
            build = super()._build()
            rebuild(store)
            return build

    with pytest.raises(RebuildRunning):
        getattr(Late(store, MENDED), what)("a")

    assert [each.key for each in of(store).parked()] == ["a"]
    assert verify(store) == []


# --- several stores on one database


def two_stores(open_store: OpenStore) -> list[SessionStore]:
    """Two writers that keep inline sales, and have held a session's view already."""
    stores = [open_store(projections=in_mode("inline", SALES)) for _ in range(2)]
    stores[0].execute("a", OpenSession())
    for store in stores:
        store.execute("a", add("x"))
    return stores


@pytest.mark.parametrize("first", [0, 1])
def test_another_writer_knows_at_once_what_waits(open_store: OpenStore, first: int) -> None:
    stores = two_stores(open_store)
    one, other = stores[first], stores[1 - first]

    one.execute("a", add(BAD))
    other.execute("a", add("y"))
    other.execute("b", OpenSession())
    one.execute("a", add("z"))

    for store in stores:
        assert [(each.key, each.position) for each in of(store).parked()] == [("a", 4)]
        assert store.query("SELECT sku, units FROM sold_lines") == [("x", 2)]
        assert verify(store) == []


def test_another_writer_that_has_never_held_it_knows_at_once_that_it_waits(
    open_store: OpenStore,
) -> None:
    one, other = (open_store(projections=in_mode("inline", SALES, SPEND)) for _ in range(2))
    one.execute("a", OpenSession())
    other.execute("b", OpenSession())  # it knows by now that nothing waits

    one.execute("a", add(BAD))
    other.execute("a", add("y"))

    for store in (one, other):
        assert [(each.key, each.position) for each in of(store).parked()] == [("a", 3)]
        assert store.query("SELECT sku FROM sold_lines") == []
        assert verify(store) == []


@pytest.mark.parametrize("how", ["retry", "skip"])
@pytest.mark.parametrize("first", [0, 1])
def test_another_writer_knows_at_once_what_waits_no_longer(
    open_store: OpenStore, first: int, how: str
) -> None:
    stores = two_stores(open_store)
    one, other = stores[first], stores[1 - first]
    one.execute("a", add(BAD))
    other.execute("a", add("y"))

    goes_on = of(one, MENDED).retry("a") if how == "retry" else of(one).skip("a")
    other.execute("a", add("z"))
    one.execute("a", add("w"))

    assert goes_on
    skus = {"x", "y", "z", "w"} | ({BAD} if how == "retry" else set())
    for store in stores:
        assert of(store).parked() == []
        assert {sku for (sku,) in store.query("SELECT sku FROM sold_lines")} == skus


def test_a_runner_knows_at_once_what_waits_no_longer(open_store: OpenStore) -> None:
    is_mended = threading.Event()

    def fold(view: Sales | None, recorded: Recorded) -> Sales:
        return (MENDED if is_mended.is_set() else SALES).fold(view, recorded)

    projection = with_fold(fold)
    store, other = [open_store(projections=in_mode("followed", projection)) for _ in range(2)]
    store.execute("a", OpenSession())
    with Runner(store):
        for session in ("a", "b"):
            if session == "b":
                store.execute("b", OpenSession())
            store.execute(session, add(BAD))
        come(of(store), store.position)
        assert [each.key for each in of(other).parked()] == ["a", "b"]

        is_mended.set()
        assert of(other, projection).retry("a")
        assert of(other, projection).skip("b")
        last = other.execute("a", add("x")).position
        come(of(other), last)

        assert there(of(other).get("a")).lines == (Line(BAD, 1), Line("x", 1))
        assert of(other).parked() == []
    assert verify(store) == []


# --- rebuilding


def test_a_rebuild_lets_the_same_keys_wait(store: SessionStore) -> None:
    done = rebuild(store)

    assert done.parked == 1
    assert [(each.key, each.position) for each in of(store).parked()] == [("a", 3)]
    assert [each.differing for each in done.compared] == [[]] * len(done.compared)
    assert verify(store) == []
    assert of(store).skip("a")


def test_a_rebuild_of_the_same_version_leaves_out_what_was_skipped(store: SessionStore) -> None:
    of(store).skip("a")
    before = of(store).get("a")

    for _ in range(2):
        assert rebuild(store).parked == 0

        assert of(store).parked() == []
        assert of(store).get("a") == before
        assert verify(store) == []


def test_a_rebuild_with_a_mended_fold_lets_nothing_wait(store: SessionStore, mode: Mode) -> None:
    mended = SessionStore(
        store.recorder.database, 1, read_only=True, projections=in_mode(mode, MENDED)
    )

    assert rebuild(mended, names=["sales"]).parked == 0

    assert of(store).get("a") == ALL
    assert verify(mended) == []


def test_a_new_version_forgets_what_was_skipped(store: SessionStore, mode: Mode) -> None:
    of(store).skip("a")
    newer = replace(MENDED, version=2)
    mended = SessionStore(
        store.recorder.database, 1, read_only=True, projections=in_mode(mode, newer)
    )

    assert rebuild(mended, names=["sales"]).parked == 0

    assert of(mended, newer).get("a") == ALL
    assert drop(mended, "sales") == ["sales 1"]
    assert store.query("SELECT * FROM parked") == []


def test_the_version_before_leaves_out_what_was_skipped_when_it_comes_back(
    store: SessionStore, mode: Mode
) -> None:
    of(store).skip("a")
    before = of(store).get("a")
    newer = replace(MENDED, version=2)
    mended = SessionStore(
        store.recorder.database, 1, read_only=True, projections=in_mode(mode, newer)
    )
    rebuild(mended, names=["sales"])

    assert rebuild(store, names=["sales"], allow_older=True).parked == 0

    assert of(store).get("a") == before
    assert verify(store) == []


def test_nothing_is_skipped_while_a_rebuild_waits_which_would_not_know(store: SessionStore) -> None:
    assert not rebuild(store, names=["sales"], stop=lambda: True).switched

    with pytest.raises(RebuildRunning, match="wait, resume it, or run"):
        of(store).skip("a")

    assert rebuild(store, names=["sales"]).switched
    assert of(store).skip("a")


# --- an event that this library does not know


def damaged(store: SessionStore) -> None:
    """Give a store an event of a newer library, behind three, and three behind it."""
    store.execute("a", OpenSession())
    store.execute("b", OpenSession())
    store.execute("b", add("x"))
    store.execute("a", add("x"))
    for sku in ("x", "y", "z"):
        store.execute("b", add(sku))
    rename(store, "ItemAdded", "Unheard")


def rename(store: SessionStore, one: str, other: str) -> None:
    with unguarded(store.recorder.database) as connection:
        named = "UPDATE events SET type = ? WHERE position = 4 AND type = ?"
        assert connection.execute(named, (other, one)).rowcount == 1


def test_an_event_of_a_newer_library_pauses_the_runner_and_lets_no_key_wait(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("followed", SALES))
    damaged(store)
    runner = Runner(store)
    with runner:
        until(lambda: runner.paused.keys() == {"sales"})

        assert runner.working == []
        assert str(runner.paused["sales"]) == (
            "event Unheard (version 1) at position 4 is from a newer library: upgrade"
        )
        assert (of(store).position, of(store).parked()) == (3, [])
        assert there(of(store).get("b")).lines == (Line("x", 1),)
        waits = "leaves it to a newer process: event Unheard"
        with pytest.raises(ViewBehind, match=f"3, not 4: this process's runner {waits}"):
            of(store).wait(4, timeout=0)
        not_followed.forget(store, "sales")  # as in another process, which cannot read it either
        with pytest.raises(
            ViewBehind,
            match="3, not 4: nobody follows the log, and this process cannot: event Unh",
        ):
            of(store).wait(4, timeout=0)

        rename(store, "Unheard", "ItemAdded")  # another process knows it
        newer = open_store(projections=store.projections)
        if newer is not store:
            with Runner(newer):
                come(of(store), 7)
        else:
            Runner(SessionStore(store.recorder.database, 1, projections=store.projections)).run(
                until=7
            )
        store.execute("c", OpenSession())
        come(of(store), 8)
        assert runner.paused == {}
    assert verify(store) == []


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_a_runner_goes_on_as_soon_as_a_newer_process_has_passed_the_event_and_is_no_obstacle_then(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("followed", SALES))
    damaged(store)
    with Runner(store) as runner:
        until(lambda: runner.paused.keys() == {"sales"})
        newer = open_store(projections=store.projections)
        rename(store, "Unheard", "ItemAdded")
        Runner(newer).run(until=4)
        rename(store, "ItemAdded", "Unheard")

        come(of(store), 7)
        assert runner.paused == {}

    with pytest.raises(ViewBehind, match="reached position 7, not 8: nobody follows the log: run"):
        of(store).wait(8, timeout=0)


def test_what_has_passed_the_event_already_is_not_left_to_a_newer_process(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("followed", SALES, SPEND))
    damaged(store)
    rename(store, "Unheard", "ItemAdded")
    Runner(store, ["spend"]).run(until=7)
    rename(store, "ItemAdded", "Unheard")

    with Runner(store) as runner:
        until(lambda: runner.paused.keys() == {"sales"})
        last = store.execute("c", OpenSession()).position

        come(of(store, SPEND), last)
        assert runner.paused.keys() == {"sales"}


@pytest.mark.parametrize("change", ["data = '{}'", "type_version = 2", "type_version = 0"])
def test_an_event_that_cannot_be_read_stops_none_that_does_not_want_it(
    open_store: OpenStore, change: str
) -> None:
    store = open_store(projections=in_mode("followed", SALES, SPEND))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("a", add("x"))
    last = store.execute("b", OpenSession(profile_id="p")).position
    with unguarded(store.recorder.database) as connection:
        connection.execute(f"UPDATE events SET {change} WHERE position = 2")

    with Runner(store) as runner:
        come(of(store, SPEND), last)
        assert runner.paused.keys() == {"sales"}

    assert of(store, SPEND).get("p") == Spend(opened=2)
    assert of(store).position == 1


def test_a_run_to_a_position_ends_with_what_it_cannot_read(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("followed", SALES))
    damaged(store)

    with pytest.raises(UnknownEvent, match="at position 4"):
        Runner(store).run(until=7)

    Runner(store).run(until=3)
    assert of(store).position == 3


def test_commands_on_its_stream_are_refused_and_others_go_on(
    open_store: OpenStore, mode: Mode
) -> None:
    store = open_store(projections=in_mode(mode, SALES))
    damaged(store)
    other = SessionStore(store.recorder.database, 1, projections=store.projections)

    with pytest.raises(UnknownEvent, match="at position 4"):
        other.execute("a", add("y"))
    other.execute("b", add("w"))
    other.execute("c", OpenSession())

    assert other.position == 9
    assert of(store).parked() == []


@pytest.mark.parametrize("position", [None, 2])
def test_an_error_of_a_signal_as_a_view_is_folded_for_its_reader_is_his(
    open_store: OpenStore, position: int | None
) -> None:
    signals = [TimeoutError("a handler raises it wherever it interrupts")]

    def interrupted(view: Spend | None, recorded: Recorded) -> Spend:
        if signals:
            raise signals.pop()
        return count(view, recorded)

    store = open_store(projections=[replace(SPEND, fold=interrupted, mode="live")])
    store.execute("s", OpenSession(profile_id="p"))
    store.execute("s", add("x"))
    views = StoredProjection(store, store.projections[0])

    with pytest.raises(TimeoutError):
        views.get("p", position=position)
    assert views.get("p", position=position) is not None


@pytest.mark.parametrize("mode", ["inline", "followed", "live"])
def test_views_that_are_folded_when_they_are_asked_leave_out_nothing_that_is_unknown(
    open_store: OpenStore, mode: Mode
) -> None:
    totals = replace(SPEND, types=(), mode=mode)
    store = open_store(projections=[totals])
    damaged(store)

    for position in (4, 7):
        with pytest.raises(UnknownEvent, match="at position 4"):
            of(store, totals).get("", position=position)
    assert of(store, totals).get("", position=3) is not None
    assert of(store, SPEND).get("", position=3) is not None


def test_a_retry_meets_what_is_unknown_and_changes_nothing(open_store: OpenStore) -> None:
    def failing(view: Spend | None, recorded: Recorded) -> Spend:
        if recorded.position == 2:
            raise ValueError
        return count(view, recorded)

    totals = replace(SPEND, types=(), fold=failing, mode="inline")
    store = open_store(projections=[totals])
    damaged(store)
    mended = replace(totals, fold=count)

    with pytest.raises(UnknownEvent, match="at position 4"):
        of(store, mended).retry("")

    assert [waiting.position for waiting in of(store, mended).parked()] == [2]
