"""What a command answers, and what it writes."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from projections import CustomerSessions, verify
from sessions import (
    ApplyCoupon,
    CloseSession,
    CouponApplied,
    IllegalTransition,
    InvalidValue,
    Item,
    ItemAdded,
    LimitExceeded,
    OpenSession,
    Refused,
    RemoveCoupon,
    SessionExists,
    SessionNotFound,
    SessionOpened,
    SessionStore,
    SetAttributes,
    SetDiscount,
    SetProfile,
    StorageFailed,
    VersionConflict,
)
from sessions.sql.selects import is_select
from tests.conftest import add

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sessions.commands import Command
    from tests.conftest import Clock, OpenStore


def test_an_answer_has_the_version_the_position_and_the_events(store: SessionStore) -> None:
    store.execute("other", OpenSession())

    done = store.execute("s", OpenSession(profile_id="p", coupon="C"))

    assert (done.session_id, done.version, done.position) == ("s", 2, 3)
    opened = SessionOpened(first_session=True, profile_id="p")
    assert [recorded.event for recorded in done.events] == [opened, CouponApplied("C")]
    assert done.events == list(store.events("s"))


def test_an_envelope_says_when_where_and_why(store: SessionStore, clock: Clock) -> None:
    store.execute("s", OpenSession(at=clock() - timedelta(hours=1)))
    metadata = {"actor": "ada", "correlationId": "c", "free": {"deep": [1, None]}}

    done = store.execute("s", add(), metadata=metadata)

    (recorded,) = done.events
    assert (recorded.application_id, recorded.position, recorded.version) == (1, 2, 2)
    assert (recorded.category, recorded.stream_id) == ("session", "s")
    assert recorded.at == recorded.recorded_at == clock()
    assert recorded.metadata == metadata
    assert recorded.event == ItemAdded(0, Item("9696", Decimal("59.9")), 1, 1)


def test_each_command_has_one_uuid_of_version_7_for_all_its_events(store: SessionStore) -> None:
    first = store.execute("s", OpenSession(coupon="C", cart_items=[]))
    second = store.execute("s", add())

    ids = [recorded.command_id for recorded in first.events + second.events]
    assert ids[0] == ids[1] != ids[2]
    assert [(one[14], one[19] in "89ab", len(one)) for one in ids] == [("7", True, 36)] * 3


@pytest.mark.parametrize(
    "command",
    [
        ApplyCoupon(coupon="C"),
        SetAttributes(attributes={"a": 1}),
        SetAttributes(attributes={"gone": None}),
        SetDiscount(label="d", value=Decimal("1.50")),
        SetProfile(profile_id="p"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_is_already_so_succeeds_and_writes_nothing(
    store: SessionStore, command: Command
) -> None:
    store.execute("s", OpenSession(profile_id="p", coupon="C", attributes={"a": 1}))
    before = store.execute("s", SetDiscount(label="d", value=Decimal("1.5")))
    store.execute("other", OpenSession())

    done = store.execute("s", command)

    assert (done.version, done.position, done.events) == (before.version, before.position, [])
    assert store.position == before.position + 1


def test_a_no_op_does_not_count_as_an_update(
    store: SessionStore, views: CustomerSessions, clock: Clock
) -> None:
    store.execute("s", OpenSession())
    opened = clock()
    clock.move(minutes=1)

    store.execute("s", RemoveCoupon())

    assert (views.get("s").update_count, views.get("s").updated) == (1, opened)


def test_the_update_count_counts_commands_and_not_events(
    store: SessionStore, views: CustomerSessions
) -> None:
    items = [add("a"), add("b")]
    store.execute("s", OpenSession(coupon="C", referral="R", identifiers=["i"]))
    store.execute_many("s", items)
    store.execute("s", CloseSession())

    assert len(list(store.events("s"))) == 7
    assert views.get("s").update_count == 4


def test_an_expected_version_that_holds_lets_the_command_through(store: SessionStore) -> None:
    store.execute("s", OpenSession(), expected_version=0)

    assert store.execute("s", add(), expected_version=1).version == 2


@pytest.mark.parametrize("metadata", [[], "", 0, False, ["actor"]])
def test_metadata_that_are_no_object_are_refused(store: SessionStore, metadata: Any) -> None:
    with pytest.raises(InvalidValue, match=r"^metadata: a JSON object, not "):
        store.execute("s", OpenSession(), metadata=metadata)


def test_opening_what_exists_names_its_state(store: SessionStore) -> None:
    store.execute("s", OpenSession(state="closed"))

    with pytest.raises(SessionExists, match=r"^session 's' already exists and is closed: ") as why:
        store.execute("s", OpenSession())

    assert isinstance(why.value, IllegalTransition)
    assert (why.value.state, why.value.command) == ("closed", "open")


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_an_expected_version_that_does_not_hold_is_a_conflict(
    store: SessionStore, expected: int
) -> None:
    store.execute("s", OpenSession(coupon="C"))

    with pytest.raises(VersionConflict) as conflict:
        store.execute("s", OpenSession(), expected_version=expected)
    with pytest.raises(SessionExists):
        store.execute("s", OpenSession(), expected_version=2)

    assert (conflict.value.session, conflict.value.actual) == ("s", 2)
    assert isinstance(conflict.value, Refused)
    assert conflict.value.command == "open"
    assert not conflict.value.retry
    assert store.position == 2


def test_a_dry_run_answers_what_would_happen_and_writes_nothing(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("s", OpenSession())

    dry = store.execute("s", add(), dry_run=True, idempotency_key="k")

    assert (dry.version, dry.position, len(dry.events)) == (2, 2, 1)
    assert (store.position, views.get("s").cart_items) == (1, [])
    assert store.answered("k") is None
    assert store.execute("s", add("other"), idempotency_key="k").position == 2


def test_a_dry_run_says_what_would_happen_where_no_store_is_made_yet(tmp_path: Path) -> None:
    path = tmp_path / "never.db"
    with SessionStore.open(f"sqlite:///{path}", 7) as store:
        dry = store.execute("s", OpenSession(profile_id="p"), dry_run=True)
        with pytest.raises(SessionNotFound):
            store.execute("s", CloseSession(), dry_run=True)
        awaited = asyncio.run(store.execute_async("s", OpenSession(), dry_run=True))

    assert (dry.version, dry.position, dry.events[0].application_id) == (1, 1, 7)
    assert (awaited.version, awaited.position) == (1, 1)
    assert not path.exists()


def test_a_refusal_says_what_it_is_about(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(InvalidValue) as refused:
        store.execute("s", add(price="-1"))

    copy: InvalidValue = pickle.loads(pickle.dumps(refused.value))  # noqa: S301  its own pickle
    for error in (refused.value, copy):
        assert (error.session, error.command, error.index) == ("s", "add-item", None)
        assert (error.field, error.rule) == ("price", "a finite number >= 0")


def test_a_refusal_says_which_of_many_commands_could_not_even_be_decided(
    store: SessionStore,
) -> None:
    unfit: Any = None
    with pytest.raises(InvalidValue, match="integrationId") as no_id:
        store.execute_all([("s", OpenSession()), ("", CloseSession())])
    with pytest.raises(InvalidValue, match="one of the commands") as no_command:
        store.execute_many("s", [OpenSession(), unfit])
    with pytest.raises(InvalidValue, match="expectedVersion") as no_version:
        store.execute("s", OpenSession(), expected_version=-1)

    refused = no_id.value, no_command.value, no_version.value
    assert [(e.session, e.command, e.index) for e in refused] == [
        ("", "close", 1), (None, None, 1), ("s", "open", None),
    ]  # fmt: skip


@pytest.mark.parametrize("command", [None, CloseSession, "close", {"command": "close"}])
def test_what_is_no_command_is_refused_by_name(store: SessionStore, command: Any) -> None:
    store.execute("s", OpenSession())
    with store.batch():
        store.execute("s", add())
        with pytest.raises(InvalidValue, match="command: one of the commands, not"):
            store.execute("s", command)
        with pytest.raises(InvalidValue, match="idempotencyKey"):
            store.answered("\ud800")
        with pytest.raises(InvalidValue, match="coupon"):
            CustomerSessions(store).find(coupon="\ud800")

    assert store.position == 2


def test_a_dry_run_takes_no_claim(store: SessionStore) -> None:
    store.execute("other", OpenSession())
    store.execute("s", OpenSession(profile_id="p"), dry_run=True)

    (recorded,) = store.execute("s2", OpenSession(profile_id="p")).events

    assert recorded.event == SessionOpened(first_session=True, profile_id="p")


def test_many_commands_are_executed_in_one_go_with_an_answer_each(store: SessionStore) -> None:
    done = store.execute_many("s", [OpenSession(coupon="C"), RemoveCoupon(), CloseSession()])

    assert [(d.version, d.position, len(d.events)) for d in done] == [
        (2, 2, 2),
        (3, 3, 1),
        (4, 4, 1),
    ]


def test_the_expected_version_of_many_is_that_before_the_first(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add()], expected_version=0)

    with pytest.raises(VersionConflict):
        store.execute_many("s", [add(), CloseSession()], expected_version=1)
    store.execute_many("s", [add(), CloseSession()], expected_version=2)


def test_a_refusal_among_many_leaves_nothing_of_them_and_no_gap(
    store: SessionStore, views: CustomerSessions
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(InvalidValue) as invalid:
        store.execute_many("s", [add(), SetProfile(profile_id="p"), add(price="-1")])
    with pytest.raises(SessionNotFound) as unknown:
        store.execute_all([("s", CloseSession()), ("t", OpenSession()), ("u", add())])

    refused = invalid.value, unknown.value
    assert [(e.session, e.command, e.index) for e in refused] == [
        ("s", "add-item", 2), ("u", "add-item", 2),
    ]  # fmt: skip

    assert (store.position, views.get("s").cart_items, views.of_profile("p")) == (1, [], [])
    assert list(store.events("t")) == []
    assert store.execute("t", OpenSession(profile_id="p")).position == 2
    assert views.get("t").first_session


def test_commands_may_come_from_a_generator(store: SessionStore) -> None:
    opening = (command for command in (OpenSession(), add(), add()))
    assert [answer.version for answer in store.execute_many("s", opening)] == [1, 2, 3]
    assert len(store.execute_all((i, OpenSession()) for i in "tu")) == 2


def test_of_no_commands_there_are_no_answers_and_a_key_is_kept_for_them(
    store: SessionStore,
) -> None:
    assert store.execute_many("s", [], idempotency_key="k") == []
    assert store.execute_all((), idempotency_key="l") == []
    assert (store.answered("k"), store.answered("l"), store.answered("m")) == ([], [], None)


class Text(str):
    """As of a template engine that marks what is safe."""

    __slots__ = ()


def test_a_text_of_a_kind_of_its_own_is_that_text(
    store: SessionStore, views: CustomerSessions
) -> None:
    done = store.execute(Text("s"), OpenSession(profile_id=Text("p")), idempotency_key=Text("k"))
    store.execute(Text("s"), ApplyCoupon(coupon=Text("C")), idempotency_key="l")

    assert (type(done.session_id), type(views.get("s").coupon)) == (str, str)
    again = store.execute("s", OpenSession(profile_id="p"), idempotency_key="k")
    assert (again, views.get(Text("s")).profile_id) == (done, "p")
    assert verify(store) == []


WRITING = "WITH s AS (SELECT 1) UPDATE customer_sessions SET state = 'closed' RETURNING state"


def test_a_query_writes_nothing(store: SessionStore, views: CustomerSessions) -> None:
    store.execute("s", OpenSession())

    for sql in ("DELETE FROM customer_sessions", "DROP TABLE claims", WRITING):
        with pytest.raises((InvalidValue, StorageFailed)):
            store.query(sql)

    assert views.get("s").state == "open"
    assert store.execute("s", CloseSession()).events
    assert views.get("s").state == "closed"
    assert verify(store) == []


@pytest.mark.parametrize("within", [contextlib.nullcontext, SessionStore.batch])
@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "COMMIT",
        "ATTACH 'other.db' AS other",
        "PRAGMA query_only = 0",
        "PRAGMA synchronous = OFF",
        "EXPLAIN PRAGMA query_only = OFF",
        "EXPLAIN QUERY PLAN PRAGMA writable_schema = ON",
        "EXPLAIN /* SELECT */ PRAGMA locking_mode = EXCLUSIVE",
        "EXPLAIN (ANALYZE) DELETE FROM claims",
        "EXPLAIN (ANALYZE /* ) SELECT */) DELETE FROM claims",
        "EXPLAIN (FORMAT 'a)SELECT ') DELETE FROM claims",
        " /* SELECT */ SET search_path = public",
        "-- SELECT\nSET statement_timeout = 50",
        "VACUUM",
        "",
        "/* */ COMMIT -- */ SELECT",
        "/* /* */ SELECT */ SET search_path = public",
        "-- a\rSELECT 1\nCOMMIT",
        "/* */ -- \n" * 10_000 + "COMMIT",
    ],
)
def test_a_query_sets_nothing(
    store: SessionStore,
    views: CustomerSessions,
    within: Callable[[SessionStore], AbstractContextManager[object]],
    sql: str,
) -> None:
    with within(store):
        store.execute("s", OpenSession())

        with pytest.raises(InvalidValue, match="sql: one SELECT, not"):
            store.query(sql)

        store.execute("s", CloseSession())
    assert [views.get("s").state for _ in range(3)] == ["closed"] * 3
    with pytest.raises(StorageFailed):
        store.query(WRITING)
    assert verify(store) == []


@pytest.mark.parametrize(
    "setting",
    [
        "default_transaction_read_only', 'off",
        "search_path', 'pg_catalog",
        "synchronous_commit', 'off",
    ],
)
def test_what_a_query_sets_is_set_for_nobody_after_it(postgres_url: str, setting: str) -> None:
    with SessionStore.open(f"{postgres_url}&pool=2") as store:
        name = setting.partition("'")[0]
        shown = f"SELECT current_setting('{name}')"
        before = store.query(shown)

        for _ in range(2):
            store.query(f"SELECT set_config('{setting}', false)")

        assert [store.query(shown) for _ in range(2)] == [before] * 2
        with pytest.raises(StorageFailed):
            store.query(WRITING)
        assert store.execute("s", OpenSession()).version == 1
        with pytest.raises(StorageFailed):
            store.query(f"SELECT set_config('{setting}', false), 1 / 0")
        assert store.query(shown) == before


@pytest.mark.parametrize(
    "sql",
    ["select 1", "\n\t/* one */ -- and\nSELECT 1", "WITH a AS (SELECT 1) SELECT 1", "VALUES (1)"],
)
def test_a_query_is_one_select_in_whatever_writing(store: SessionStore, sql: str) -> None:
    store.execute("s", OpenSession())

    assert store.query(sql) == [(1,)]
    assert is_select(f"({sql.upper()})")


def test_a_mark_in_a_text_or_a_comment_is_no_parameter(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    asked = """SELECT '?', ? AS "?" /* ? */ -- ?"""
    assert store.query(asked, ["a"]) == [("?", "a")]
    if store.recorder.database.dialect.hashes:
        assert store.query("SELECT $$?$$, $a$ $$? $a$, ?", ["b"]) == [("?", " $$? ", "b")]
        assert store.query(r"SELECT E'\'?' /* a /* ? */ ? */, $1::text", ["c"]) == [("'?", "c")]
        with pytest.raises(StorageFailed):
            store.query("SELECT ?" + "1" * 5000, ["a"])


@pytest.mark.parametrize("parameters", [[], ["a", "b"]])
def test_a_query_has_as_many_parameters_as_marks(
    store: SessionStore, parameters: Sequence[object]
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(StorageFailed, match=rf"1.* {len(parameters)}"):
        store.query("SELECT ?", parameters)
    with pytest.raises(StorageFailed):
        store.query("SELECT 1", ["a"])


class Amount(Decimal):
    """A kind of its own."""


@pytest.mark.parametrize("within", [contextlib.nullcontext, SessionStore.batch])
def test_a_parameter_of_a_query_is_what_the_columns_have(
    store: SessionStore,
    clock: Clock,
    within: Callable[[SessionStore], AbstractContextManager[object]],
) -> None:
    at = clock()
    soon = (at + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=-9)))
    with within(store):
        store.execute("s", OpenSession(total=Decimal("59.90")))

        events, sessions = "SELECT count(*) FROM events", "SELECT count(*) FROM customer_sessions"
        assert store.query(f"{events} WHERE at < ?", [soon]) == [(2,)]
        assert store.query(f"{events} WHERE at > ?", [soon]) == [(0,)]
        assert store.query(f"{events} WHERE at = ?", [at]) == [(2,)]
        assert store.query(f"{sessions} WHERE total = ?", [Decimal("59.9")]) == [(1,)]
        assert store.query(f"{sessions} WHERE total > ?", (Decimal("59.89"),)) == [(1,)]
        assert store.query(f"{sessions} WHERE total = ?", (Amount("59.9"),)) == [(1,)]
        for part in ("total + 0", "abs(total)", "coalesce(total, 0)", "total * 2"):
            assert store.query(f"{sessions} WHERE {part} > ?", (Decimal("59.8"),)) == [(1,)]
            assert store.query(f"{sessions} WHERE {part} > ?", (Decimal("1E3"),)) == [(0,)]
        summed = "SELECT sum(total) < ? FROM customer_sessions"
        assert store.query(summed, (Decimal(50),)) == [(False,)]
        assert store.query(summed, (Decimal(60),)) == [(True,)]
        assert store.query(f"{events} WHERE position < ?", (2**63 - 1,)) == [(2,)]
        assert store.query(f"{sessions} WHERE first_session = ?", (True,)) == [(1,)]


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ("s", "a list or tuple"),
        (b"s", "a list or tuple"),
        ({"a": "s"}, "a list or tuple"),
        (None, "a list or tuple"),
        ([datetime(2026, 11, 23)], "a time with a timezone"),  # noqa: DTZ001  what is refused
        (["\ud800"], "Unicode text"),
        ([["\ud800"]], "Unicode text"),
        ([Decimal("NaN")], "a finite number"),
        ([2**63], "at most 9223372036854775807"),
        ([-(2**63) - 1], "at most 9223372036854775807"),
    ],
)
def test_a_parameter_that_could_be_taken_for_another_is_refused(
    store: SessionStore, parameters: Any, rule: str
) -> None:
    with pytest.raises((InvalidValue, LimitExceeded), match=f"parameters: {rule}"):
        store.query("SELECT session_id FROM customer_sessions WHERE session_id = ?", parameters)


def test_one_command_is_not_taken_for_several(store: SessionStore) -> None:
    one: Any = OpenSession()
    with pytest.raises(InvalidValue, match="commands: a list, not OpenSession"):
        store.execute_many("s", one)
    with pytest.raises(InvalidValue, match="commands: a list, not OpenSession"):
        store.execute_all(one)
    with pytest.raises(InvalidValue, match="commands: pairs of a session id and a command, not "):
        store.execute_all([one])


def test_commands_for_several_sessions_are_executed_in_one_go(
    store: SessionStore, views: CustomerSessions
) -> None:
    commands: list[tuple[str, Command]] = [
        ("s", OpenSession(profile_id="p")),
        ("t", OpenSession(profile_id="p")),
        ("s", CloseSession()),
    ]
    done = store.execute_all(commands)

    assert [(d.session_id, d.version, d.position) for d in done] == [
        ("s", 1, 1),
        ("t", 1, 2),
        ("s", 2, 3),
    ]
    assert [view.first_session for view in views.of_profile("p")] == [True, False]


def test_a_command_may_say_when_it_happened_in_any_timezone(
    store: SessionStore, views: CustomerSessions, clock: Clock
) -> None:
    berlin = timezone(timedelta(hours=1))
    earlier = clock() - timedelta(days=300)

    store.execute("s", OpenSession(at=earlier.astimezone(berlin)))
    store.execute("s", add(at=earlier))
    store.execute("s", add(at=clock() + timedelta(minutes=5)))

    assert (views.get("s").created, views.get("s").updated) == (earlier, clock.move(minutes=5))


@pytest.mark.parametrize("minutes", [-1, 6])
def test_it_may_not_go_back_nor_happen_in_the_future(
    store: SessionStore, clock: Clock, minutes: int
) -> None:
    store.execute("s", OpenSession())

    with pytest.raises(InvalidValue, match=r"at: no (earlier|more) than"):
        store.execute("s", add(at=clock() + timedelta(minutes=minutes)))
    with pytest.raises(InvalidValue, match="timezone"):
        store.execute("s", add(at=clock().replace(tzinfo=None)))


def test_a_clock_that_lags_is_lifted_to_the_latest_event(store: SessionStore, clock: Clock) -> None:
    ahead = store.execute("s", OpenSession(at=clock() + timedelta(minutes=3))).events[0].at
    lagging = clock.move(minutes=-10)

    (recorded,) = store.execute("s", add()).events

    assert (recorded.at, recorded.recorded_at) == (ahead, lagging)


def test_each_application_counts_its_positions_from_1(open_store: OpenStore) -> None:
    one, two = open_store(1), open_store(2)

    one.execute("s", OpenSession(profile_id="p"))
    done = two.execute("s", OpenSession(profile_id="p", coupon="C"))
    one.execute("s", add())

    assert (done.version, done.position) == (2, 2)
    assert [recorded.position for recorded in one.log()] == [1, 2]
    assert [recorded.application_id for recorded in two.log()] == [2, 2]
    assert done.events[0].event == SessionOpened(first_session=True, profile_id="p")
