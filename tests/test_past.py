"""A session at any moment of its history, a customer's sessions, and what each event changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from projections import (
    Change,
    CustomerHistories,
    CustomerSession,
    CustomerSessions,
    Projection,
    Runner,
    rebuild,
)
from projections.customer_session import PROJECTION, SessionView
from projections.known import parked_keys
from sessions import (
    CancelSession,
    CartItem,
    CloseSession,
    InvalidValue,
    LimitExceeded,
    OpenSession,
    PositionNotFound,
    Refused,
    RemoveDiscount,
    RemoveItem,
    ReopenSession,
    SessionNotFound,
    SessionNotYet,
    SessionStore,
    SetAttributes,
    SetDiscount,
    SetProfile,
    SetQuantity,
    UndecodableEvent,
    VersionNotFound,
    ViewBehind,
    ViewParked,
)
from sessions.views import kept
from sessions.views.parked import ParkedKeys
from tests.conftest import add, deeper
from tests.tampering import unguarded
from tests.test_broken_commits import Interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions import Recorded
    from sessions.sql.head import Head
    from tests.conftest import Clock, OpenStore

TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def _minutes(minutes: float) -> datetime:
    return TEN + timedelta(minutes=minutes)


def _ids(sessions: list[CustomerSession]) -> list[str]:
    return [session.integration_id for session in sessions]


@pytest.fixture
def history(store: SessionStore, clock: Clock) -> CustomerSessions:
    """One session: opened at 10:00 with two events, an item at 10:10, closed at 10:20."""
    store.execute("other", OpenSession())
    store.execute("s", OpenSession(profile_id="p", coupon="C"))
    clock.move(minutes=10)
    store.execute("s", add())
    store.execute("other", CancelSession())
    clock.move(minutes=10)
    store.execute("s", CloseSession())
    return CustomerSessions(store)


def test_a_session_as_it_was_at_a_version(history: CustomerSessions) -> None:
    seen = [history.get("s", version=version) for version in (1, 2, 3, 4)]

    assert [view.coupon for view in seen] == ["", "C", "C", "C"]
    assert [len(view.cart_items) for view in seen] == [0, 0, 1, 1]
    assert [view.state for view in seen] == ["open", "open", "open", "closed"]
    assert [view.update_count for view in seen] == [1, 1, 2, 3]
    assert seen[-1] == history.get("s")


def test_a_session_as_it_was_at_a_time_counts_the_events_up_to_it(
    history: CustomerSessions,
) -> None:
    seen = [history.get("s", as_of=_minutes(m)) for m in (0, 9.99, 10, 19, 20, 999)]

    assert [view.update_count for view in seen] == [1, 1, 2, 2, 3, 3]
    assert history.get("s", as_of=_minutes(20)) == history.get("s")


def test_a_session_as_the_store_knew_it_at_a_position(history: CustomerSessions) -> None:
    seen = [history.get("s", position=position).update_count for position in (2, 3, 4, 5, 6)]

    assert seen == [1, 1, 2, 2, 3]


def test_what_was_recorded_late_was_known_late(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("s", OpenSession(at=_minutes(-600)))
    store.execute("other", OpenSession())
    store.execute("s", add(at=_minutes(-500)))

    assert len(views.get("s", as_of=_minutes(-400)).cart_items) == 1
    assert views.get("s", position=2).cart_items == []


def test_a_moment_that_never_was_is_an_error(history: CustomerSessions) -> None:
    with pytest.raises(VersionNotFound, match="no version 5: its newest is 4"):
        history.get("s", version=5)
    with pytest.raises(PositionNotFound, match="no position 7: its newest is 6"):
        history.get("s", position=7)
    with pytest.raises(PositionNotFound, match="no position 7: its newest is 6"):
        history.all(position=7)
    with pytest.raises(
        SessionNotYet,
        match=r"did not exist at 2026-11-23T09:59:00.0+Z: it began at 2026-11-23T10:00:00.0+Z",
    ):
        history.get("s", as_of=_minutes(-1))
    with pytest.raises(SessionNotYet, match="at position 1: it began at position 2"):
        history.get("s", position=1)
    for moment in ({}, {"version": 1}, {"as_of": TEN}, {"position": 1}):
        with pytest.raises(SessionNotFound, match="session 'nobody' does not exist"):
            history.get("nobody", **moment)


def test_a_moment_before_a_session_is_told_whatever_its_view_does(
    store: SessionStore, history: CustomerSessions
) -> None:
    with store.recorder.database.writing() as connection:
        connection.execute("DELETE FROM customer_sessions")

    with pytest.raises(SessionNotYet, match="at position 1"):
        history.get("s", position=1)


def test_a_session_and_its_version_are_read_together(
    store: SessionStore, history: CustomerSessions
) -> None:
    view, version = history.get_with_version("s")

    assert (view, version) == (history.get("s"), 4)
    assert store.execute("s", CancelSession(), expected_version=version).version == 5
    with pytest.raises(SessionNotFound):
        history.get_with_version("nobody")
    with pytest.raises(InvalidValue, match="integrationId"):
        history.get_with_version("")


@pytest.mark.parametrize("wrong", ["a\0", "\ud800", "x" * 1001, "", 3, None])
def test_the_events_of_what_is_no_id_are_refused_on_every_database(
    store: SessionStore,
    wrong: Any,
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(Refused, match="integrationId: "):
        list(store.events(wrong))


@pytest.mark.parametrize("wrong", [-1, 2**63, "1", True, 1.0])
def test_where_the_reading_of_events_ends_is_a_whole_number_on_every_database(
    store: SessionStore,
    wrong: Any,
) -> None:
    store.execute("s", OpenSession())

    for field in ("after", "until", "position"):
        with pytest.raises(Refused, match=f"^{field}: "):
            list(store.events("s", **{field: wrong}))
    for field in ("after", "until"):
        with pytest.raises(Refused, match=f"^{field}: "):
            list(store.log(**{field: wrong}))


def test_all_sessions_as_they_were_at_a_moment(history: CustomerSessions) -> None:
    def seen(**moment: Any) -> list[tuple[str, int]]:
        return [(view.integration_id, view.update_count) for view in history.all(**moment)]

    assert seen() == [("other", 2), ("s", 3)]
    assert [*history.all()] == [history.get("other"), history.get("s")]
    assert [seen(position=position) for position in (0, 1, 4)] == [
        [], [("other", 1)], [("other", 1), ("s", 2)],
    ]  # fmt: skip
    assert seen(as_of=_minutes(10)) == [("other", 2), ("s", 2)]
    assert seen(as_of=_minutes(-1)) == []


def test_all_sessions_are_of_the_moment_at_which_they_were_asked_for(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.recorder.database, "page", 3)
    with store.batch():
        for session_id in ("a", "b", "x" * 400, "ü", "z"):
            store.execute_many(session_id, [OpenSession(), add(), CloseSession()])
    before = [views.get(view.integration_id) for view in views.all()]
    assert len(before) == 5

    found = views.all()
    first = next(found)
    for session_id in ("a", "z"):
        store.execute(session_id, ReopenSession())
    store.execute("zz", OpenSession())

    assert [first, *found] == before


def test_all_sessions_end_at_an_event_that_cannot_be_read(
    store: SessionStore, views: CustomerSessions
) -> None:
    for session_id in ("a", "b", "c"):
        store.execute_many(session_id, [OpenSession(), add("x"), add("y"), RemoveItem(position=0)])
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = 6")
    found = views.all()

    assert next(found) == views.get("a")
    with pytest.raises(UndecodableEvent, match=r"ItemAdded .version 1. at position 6 "):
        next(found)


NAIVE = TEN.replace(tzinfo=None)
NO_MOMENTS: list[dict[str, Any]] = [
    {"version": 0}, {"version": -1}, {"version": True}, {"position": -1}, {"as_of": NAIVE},
    {"as_of": "2026-11-23"}, {"version": 1, "position": 1}, {"version": 1, "as_of": TEN},
    {"position": 1, "as_of": TEN},
]  # fmt: skip


@pytest.mark.parametrize("moment", NO_MOMENTS)
def test_a_moment_that_is_none_is_refused(
    history: CustomerSessions, moment: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValue):
        history.get("s", **moment)
    if "version" not in moment:
        with pytest.raises(InvalidValue):
            history.all(**moment)


def test_a_customers_sessions_are_in_the_order_in_which_they_came(
    store: SessionStore, views: CustomerSessions, clock: Clock
) -> None:
    store.execute("guest", OpenSession())
    store.execute("b", OpenSession(profile_id="p", at=_minutes(-60)))
    store.execute("a", OpenSession(profile_id="p", at=_minutes(-120)))
    clock.move(minutes=10)
    store.execute("guest", SetProfile(profile_id="p"))
    store.execute("b", CancelSession())

    sessions = views.of_profile("p")

    assert _ids(sessions) == ["b", "a", "guest"]
    assert [session.first_session for session in sessions] == [True, False, False]
    assert sessions[0].state == "cancelled"
    assert _ids(views.of_profile("p", as_of=TEN)) == ["b", "a"]
    assert views.of_profile("p", as_of=TEN)[0].state == "open"
    assert views.of_profile("p", as_of=_minutes(-200)) == views.of_profile("nobody") == []


def test_a_session_that_moved_is_where_it_was(
    store: SessionStore, views: CustomerSessions, clock: Clock
) -> None:
    store.execute("s", OpenSession(profile_id="p"))
    store.execute("t", OpenSession(profile_id="p"))
    for profile in ("q", "p"):
        clock.move(minutes=10)
        store.execute("s", SetProfile(profile_id=profile))

    assert (_ids(views.of_profile("p")), _ids(views.of_profile("q"))) == (["t", "s"], [])
    for minutes, of_p, of_q in ((0, ["s", "t"], []), (10, ["t"], ["s"]), (20, ["t", "s"], [])):
        at = _minutes(minutes)
        assert _ids(views.of_profile("p", as_of=at)) == of_p
        assert _ids(views.of_profile("q", as_of=at)) == of_q
    attached = "SELECT profile_id, session_id, first_session FROM attachments ORDER BY position"
    assert store.query(attached) == [("p", "s", 1), ("p", "t", 0), ("q", "s", 1), ("p", "s", 1)]


def test_sessions_are_found_by_what_they_are_now(
    store: SessionStore, views: CustomerSessions, clock: Clock
) -> None:
    store.execute("d", OpenSession(profile_id="p", coupon="C"))
    store.execute("c", OpenSession(referral="R", state="closed"))
    clock.move(minutes=1)
    store.execute("b", OpenSession(coupon="C"))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("d", SetProfile(profile_id=""))
    at = clock()

    assert _ids(views.find()) == ["c", "a", "b", "d"]
    assert _ids(views.find(state="open")) == ["a", "b", "d"]
    assert _ids(views.find(profile_id="p")) == ["a"]
    assert _ids(views.find(profile_id="", coupon="C")) == ["b", "d"]
    assert _ids(views.find(referral="R", state="closed")) == ["c"]
    assert (_ids(views.find(updated_before=at)), views.find(updated_before=TEN)) == (["c"], [])
    assert _ids(views.find(updated_since=at)) == ["a", "b", "d"]


def test_a_session_that_waits_is_not_found_and_not_shown_as_if_it_were_right(
    store: SessionStore, views: CustomerSessions
) -> None:
    for session in ("a", "b", "c"):
        store.execute(session, OpenSession(profile_id="p"))
    opened = {recorded.stream_id: recorded for recorded in store.log()}
    current = kept.builds(store.rows, "current")["customer_sessions"]
    keys = parked_keys(store, current)
    with store.recorder.database.writing() as connection:
        keys.write(connection, [(each, opened[each], "because") for each in "ab"])
        keys.skip(connection, "a")
        dialect = store.recorder.database.dialect
        for application, build in ((1, 99), (2, current.number)):
            of_others = ParkedKeys(application, current.name, build, dialect)
            of_others.write(connection, [("c", opened["c"], "because")])

    assert _ids(views.find()) == ["a", "c"]
    assert (views.get("a").integration_id, views.get("c").integration_id) == ("a", "c")
    for ask in (lambda: views.get("b"), lambda: views.of_profile("p")):
        with pytest.raises(ViewParked, match="'b' is parked at position 2"):
            ask()


def test_what_is_found_is_read_page_by_page(store: SessionStore, views: CustomerSessions) -> None:
    with store.batch():
        for number in range(25):
            at = _minutes(-(number // 4))
            store.execute(f"s{number:02}", OpenSession(profile_id="p" if number % 2 else "", at=at))

    def pages(**filters: Any) -> list[CustomerSession]:
        found = page = views.find(limit=3, **filters)
        while page:
            page = views.find(limit=3, after=page[-1], **filters)
            found = [*found, *page]
        return found

    assert pages() == views.find()
    assert _ids(pages(profile_id="p")) == [i for i in _ids(views.find()) if int(i[1:]) % 2]
    assert len(views.find(limit=25)) == 25
    assert views.find(limit=1000) == views.find()


@pytest.mark.parametrize(
    "asked",
    [{"limit": 0}, {"limit": 1001}, {"updated_before": NAIVE}, {"state": "opn"}, {"after": "s"}],
)
def test_what_can_never_be_found_is_refused(
    history: CustomerSessions, asked: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refused:
        history.find(**asked)
    assert isinstance(refused.value, LimitExceeded) is (asked == {"limit": 1001})


def test_a_session_that_its_followed_view_has_not_come_to_is_not_said_to_be_none(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.make()
    rebuild(store, names=["customer_sessions"], mode="followed")
    store.execute("s", OpenSession())

    for ask in (views.get, views.get_with_version):
        with pytest.raises(ViewBehind, match="customer_sessions has reached position 0, not 1"):
            ask("s")
        with pytest.raises(SessionNotFound):
            ask("nobody")

    Runner(store).run(until=1)
    assert views.get("s").state == "open"


OF_P: list[list[str]] = [[], ["a"], ["a", "b"], ["b"], ["b", "a"], ["b", "a"]]
"""The sessions of profile "p" after each of the events below."""


@pytest.mark.parametrize("behind", ["attachments", "customer_sessions"])
@pytest.mark.parametrize("reached", range(6))
def test_a_customers_sessions_are_those_of_one_moment_whatever_is_behind(
    store: SessionStore, views: CustomerSessions, behind: str, reached: int
) -> None:
    store.make()
    rebuild(store, names=[behind], mode="followed")
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("b", OpenSession(profile_id="p"))
    store.execute("a", SetProfile(profile_id="q"))
    store.execute("a", SetProfile(profile_id="p"))
    store.execute("b", CloseSession())
    Runner(store, [behind]).run(until=reached)

    now, past = views.of_profile("p"), views.of_profile("p", as_of=store.now())

    assert now == [views.get(session, position=reached) for session in OF_P[reached]]
    known = reached if behind == "attachments" else 5
    assert past == [views.get(session, position=known) for session in OF_P[known]]


def test_a_customers_sessions_are_all_that_the_build_has_come_to_which_is_kept(
    open_store: OpenStore,
) -> None:
    store, other = open_store(), open_store(2)
    store.execute("a", OpenSession(profile_id="p"))
    other.execute("a", OpenSession(profile_id="p"))
    for _ in range(2):
        rebuild(store, names=["attachments"], mode="followed")  # the build before stays there
    store.execute("b", OpenSession(profile_id="p"))
    Runner(store).run(until=2)

    sessions = CustomerSessions(store).of_profile("p")

    assert [session.integration_id for session in sessions] == ["a", "b"]


def test_who_asks_just_as_attachments_become_inline_is_told_of_those_that_they_lacked(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("a", OpenSession(profile_id="p"))
    rebuild(store, names=["attachments"], mode="followed")
    store.execute("b", OpenSession(profile_id="p"))
    store.execute("a", SetProfile(profile_id="q"))
    recorder = store.recorder
    head = recorder.head

    def switched(*query: Any) -> Head:
        rebuild(store, names=["attachments"], mode="inline")
        return head(*query)

    monkeypatch.setattr(recorder, "head", switched)

    assert [view.integration_id for view in views.of_profile("p")] == ["b"]


def test_who_asks_as_followed_attachments_are_rebuilt_twice_is_told_of_all(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("a", OpenSession(profile_id="p"))
    rebuild(store, names=["attachments"], mode="followed")
    recorder = store.recorder
    head = recorder.head

    def rebuilt(*query: Any) -> Head:
        found = head(*query)
        monkeypatch.setattr(recorder, "head", head)
        for _ in range(2):
            rebuild(store, names=["attachments"])
        return found

    asks: list[Callable[[], Sequence[object]]] = [
        lambda: views.of_profile("p"),
        lambda: views.of_profile("p", as_of=store.now()),
        lambda: CustomerHistories(store).get("p").sessions,
    ]
    for ask in asks:
        monkeypatch.setattr(recorder, "head", rebuilt)
        assert len(ask()) == 1


def test_who_asks_as_a_store_is_switched_to_another_version_and_back_is_told_of_its_own(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold(view: SessionView | None, recorded: Recorded) -> SessionView:
        after = PROJECTION.fold(view, recorded)
        return structs.replace(after, session=structs.replace(after.session, coupon="OTHER"))

    def switch(projection: Projection[SessionView]) -> None:
        database = store.recorder.database
        of = SessionStore(database, store.application_id, read_only=True, projections=[projection])
        rebuild(of, names=[projection.name], allow_older=True)

    def switched_back(*statement: Any, **how: Any) -> list[Any]:
        found = rows(*statement, **how)
        monkeypatch.setattr(store, "rows", rows)
        switch(PROJECTION)
        return found

    store.execute("s", OpenSession(profile_id="p"))
    rows = store.rows
    asks: list[Callable[[], Sequence[CustomerSession]]] = [
        lambda: [views.get("s")],
        lambda: [views.get_with_version("s")[0]],
        views.find,
        lambda: views.of_profile("p"),
    ]
    for ask in asks:
        switch(replace(PROJECTION, version=2, fold=fold))
        monkeypatch.setattr(store, "rows", switched_back)

        assert [view.coupon for view in ask()] == [""]


def test_the_timeline_of_a_large_cart_says_what_changed_and_no_more(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute_many("s", [OpenSession(), *[add(str(n)) for n in range(4)]])
    store.execute("s", RemoveItem(sku="1"))
    store.execute("s", add("3"))

    *_, removed, added = [{c.path for c in step.changes} for step in views.timeline("s")]

    moved = {f"cartItems[{n}].sku" for n in (1, 2)}
    assert removed == {*moved, "cartItems[3]", "total", "updateCount"}
    units = {f"cartItems[2].{field}" for field in ("quantity", "remainingQuantity")}
    assert added == {*units, "total", "updateCount"}


def test_the_timeline_says_what_each_event_changed(
    store: SessionStore, views: CustomerSessions, clock: Clock
) -> None:
    store.execute("s", OpenSession(cart_items=[CartItem(sku="a", price=Decimal(2))]))
    later = clock.move(minutes=1)
    store.execute("s", add("a", "2", quantity=2))
    store.execute("s", SetDiscount(label="d", value=Decimal("0.5")))
    store.execute("s", RemoveDiscount(label="d"))
    store.execute("s", RemoveItem(sku="a"))

    steps = list(views.timeline("s"))

    assert [step.recorded for step in steps] == list(store.events("s"))
    assert {change.path for change in steps[0].changes} >= {"state", "cartItems", "discounts"}
    assert all(change.before is None for change in steps[0].changes)
    changed = [{c.path: (c.before, c.after) for c in step.changes} for step in steps[1:]]
    assert changed[0]["total"] == (0, 2)
    assert changed[1] == {
        "cartItems[0].quantity": (1, 3),
        "cartItems[0].remainingQuantity": (1, 3),
        "total": (2, 6),
        "updateCount": (1, 2),
        "updated": (TEN, later),
    }
    assert Change("discounts.d", None, Decimal("0.5"), added=True) in steps[3].changes
    assert Change("discounts.d", Decimal("0.5"), None, removed=True) in steps[4].changes
    assert changed[4]["cartItems[0]"][1] is None
    with pytest.raises(SessionNotFound):
        views.timeline("nobody")


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({}, {"n": None}, Change("attributes.o.n", None, None, added=True)),
        ({"n": None}, {}, Change("attributes.o.n", None, None, removed=True)),
        ({"n": None}, {"n": 1}, Change("attributes.o.n", None, 1)),
        ([], [None], Change("attributes.o[0]", None, None, added=True)),
        ([1, None], [1], Change("attributes.o[1]", None, None, removed=True)),
        ([[]], [[None]], Change("attributes.o[0][0]", None, None, added=True)),
        (None, {}, Change("attributes.o", None, {}, added=True)),
        ({"n": 0.0}, {"n": -0.0}, Change("attributes.o.n", 0.0, -0.0)),
        ([1], [True], Change("attributes.o[0]", 1, after=True)),
    ],
)
def test_the_timeline_tells_a_null_from_what_is_missing(
    store: SessionStore, views: CustomerSessions, before: object, after: object, change: Change
) -> None:
    store.execute("s", OpenSession())
    store.execute("s", SetAttributes(attributes={"o": before}))
    store.execute("s", SetAttributes(attributes={"o": after}))

    *_, last = views.timeline("s")

    changes = [each for each in last.changes if each.path.startswith("attributes")]
    assert changes == [change]


def test_an_error_of_a_signal_as_a_view_is_read_is_no_damage(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    interrupted = Interrupts(CustomerSession.from_json, TimeoutError())
    monkeypatch.setattr(CustomerSession, "from_json", interrupted)

    with pytest.raises(TimeoutError):
        views.get("s")
    assert views.get("s").state == "open"


def test_a_view_that_is_read_from_a_deep_stack_is_not_damaged(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    read = CustomerSession.from_json
    monkeypatch.setattr(
        CustomerSession, "from_json", lambda document: deeper(700, lambda: read(document))
    )

    with pytest.raises(RecursionError):
        deeper(300, lambda: views.get("s"))
    assert views.get("s").state == "open"


def test_views_may_be_changed_without_harm_to_the_store(
    store: SessionStore, views: CustomerSessions
) -> None:
    given = {"a": {"deep": [1]}}
    store.execute("s", OpenSession(profile_id="p", attributes=given))
    store.execute("s", add(attributes=given))

    for view in (views.get("s"), views.get("s", version=3), *views.of_profile("p")):
        view.attributes["a"]["deep"].append(2)
        view.cart_items[0].attributes["a"]["deep"].append(3)
        view.cart_items.clear()
    store.execute("s", SetAttributes(attributes={"b": 1}))

    for view in (views.get("s"), views.get("s", version=4)):
        assert view.attributes == {"a": {"deep": [1]}, "b": 1}
        assert view.cart_items[0].attributes == {"a": {"deep": [1]}}


@pytest.mark.parametrize("page", [1, 2, 3])
def test_all_events_of_a_session_come_and_once_however_many_are_read_together(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    store.execute_many("s", [OpenSession(), *[add(str(number)) for number in range(4)]])
    monkeypatch.setattr("sessions.log.reader._LONG", page)

    assert [recorded.version for recorded in store.events("s")] == [1, 2, 3, 4, 5]
    assert [recorded.version for recorded in store.events("s", after=2, until=4)] == [3, 4]


@pytest.mark.parametrize("page", [1, 2, 3])
def test_all_of_the_log_comes_and_once_however_much_is_read_together(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    store.execute_many("s", [OpenSession(), *[add(str(number)) for number in range(4)]])
    monkeypatch.setattr(store.recorder.database, "page", page)

    assert [recorded.position for recorded in store.log()] == [1, 2, 3, 4, 5]
    assert [recorded.position for recorded in store.log(types=["ItemAdded"])] == [2, 3, 4, 5]


def test_a_session_with_an_event_that_cannot_be_read_is_not_folded_without_it(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute_many("s", [OpenSession(), add("x"), add("y")])
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = 2")

    with pytest.raises(UndecodableEvent, match="at position 2 "):
        views.get("s", version=3)


def test_the_past_of_a_session_of_many_events_is_read_in_pages(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("s", OpenSession(cart_items=[CartItem(sku="x", price=Decimal(1))]))
    changes = [SetQuantity(position=0, quantity=2 + number % 2) for number in range(1200)]
    store.execute_many("s", changes)

    then = views.get("s", version=1100)

    assert then.cart_items[0].quantity == 2 + (1100 - 3) % 2
    assert views.get("s", version=1202) == views.get("s")
