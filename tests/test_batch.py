"""A bulk load is what one by one would have been, in fewer transactions."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent
from msgspec.structs import replace

from projections import CustomerSessions, verify
from sessions import (
    ApplyCoupon,
    AttributesChanged,
    Batch,
    BatchFailed,
    BatchOpen,
    CancelSession,
    CloseSession,
    Executed,
    IdempotencyKeyReused,
    InvalidValue,
    OpenSession,
    OutsideBatch,
    Refused,
    RemoveCoupon,
    RemoveItem,
    ReopenSession,
    ReturnItem,
    ReturnItems,
    SessionExists,
    SessionNotFound,
    SessionsError,
    SessionStore,
    SetAttributes,
    SetDiscount,
    SetProfile,
    SetQuantity,
    StorageFailed,
    StoreBusy,
    StoreReadOnly,
    UnknownEvent,
)
from sessions.commits import answers
from sessions.commits.batch import _entered
from sessions.commits.transaction import Transaction
from sessions.log.claim_rows import Ledger
from sessions.views.inline import InlineViews
from tests.conftest import add
from tests.tampering import unguarded
from tests.test_broken_commits import Interrupts

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sessions import Recorded
    from sessions.commands import Command
    from tests.conftest import OpenStore

SESSIONS = [f"s{number}" for number in range(30)]
COMMANDS: list[Command] = [
    OpenSession(profile_id="p", coupon="C"),
    OpenSession(profile_id="q", state="closed", referral="R"),
    add("a"),
    add("b", attributes={"size": 42}),
    add("a", price="1"),
    SetQuantity(position=0, quantity=3),
    RemoveItem(sku="a"),
    ApplyCoupon(coupon="D"),
    SetAttributes(attributes={"City": "Köln", "gone": None}),
    SetProfile(profile_id="q"),
    SetProfile(profile_id=""),
    SetDiscount(label="d", value=Decimal("0.5")),
    CloseSession(),
    ReturnItems(items=[ReturnItem(position=0, quantity=1)]),
    ReopenSession(),
    CancelSession(),
]


def _executed(store: SessionStore, session_id: str, command: Command) -> tuple[str, int, int, int]:
    try:
        done = store.execute(session_id, command)
    except Refused as refusal:
        return type(refusal).__name__, 0, 0, 0
    return "done", done.version, done.position, len(done.events)


def _log(store: SessionStore) -> list[Recorded]:
    return [replace(recorded, application_id=0, command_id="") for recorded in store.log()]


def test_the_result_is_that_of_one_by_one(open_store: OpenStore, clock: object) -> None:
    chosen = random.Random(4711)
    calls = [(chosen.choice(SESSIONS), chosen.choice(COMMANDS)) for _ in range(900)]
    one_by_one, loaded = open_store(1, now=clock), open_store(2, now=clock)

    expected = [_executed(one_by_one, *call) for call in calls]
    with loaded.batch():
        answers = [_executed(loaded, *call) for call in calls]

    assert answers == expected
    assert {name for name, *_ in answers} >= {"done", "SessionNotOpen", "AmbiguousSku"}
    assert _log(loaded) == _log(one_by_one)
    one, other = (
        [replace(view, application_id=0) for view in CustomerSessions(store).find()]
        for store in (one_by_one, loaded)
    )
    assert one == other
    for table in ("claims", "limits", "attachments"):
        rows = loaded.query(f"SELECT * FROM {table} WHERE application_id = 2")
        wanted = one_by_one.query(f"SELECT * FROM {table} WHERE application_id = 1")
        assert sorted(row[1:] for row in rows) == sorted(row[1:] for row in wanted)


def test_reads_inside_see_the_batchs_own_writes(
    store: SessionStore, views: CustomerSessions
) -> None:
    with store.batch():
        store.execute("s", OpenSession(profile_id="p"))
        assert views.get("s").profile_id == "p"
        store.execute("s", add())
        assert (store.position, len(list(store.log())), len(list(store.events("s")))) == (2, 2, 2)
        assert views.get("s", version=1).cart_items == []
        store.execute("t", OpenSession(profile_id="p"))
        assert [view.first_session for view in views.of_profile("p")] == [True, False]


def test_the_views_are_there_right_afterwards(store: SessionStore, open_store: OpenStore) -> None:
    with store.batch():
        store.execute("s", OpenSession())
        store.execute("s", add())

    assert CustomerSessions(open_store()).get("s").update_count == 2
    assert store.execute("s", add()).version == 3


def test_a_refusal_raises_for_its_command_alone(store: SessionStore) -> None:
    with store.batch():
        store.execute("s", OpenSession())
        with pytest.raises(SessionExists):
            store.execute("s", OpenSession())
        with pytest.raises(InvalidValue):
            store.execute_many("s", [add(), SetProfile(profile_id="p"), add(price="-1")])
        with pytest.raises(SessionNotFound):
            store.execute_all([("t", OpenSession(profile_id="p")), ("u", add())])
        assert store.execute("v", OpenSession(profile_id="p")).position == 2

    assert [recorded.stream_id for recorded in store.log()] == ["s", "v"]


def test_an_exception_drops_only_what_is_not_committed(
    store: SessionStore, views: CustomerSessions
) -> None:
    def load() -> None:
        with store.batch():
            for number in range(2500):
                store.execute(
                    f"s{number}", OpenSession(profile_id="p"), idempotency_key=f"{number}"
                )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load()

    assert 1500 < store.position <= 2500
    assert len(views.of_profile("p")) == store.position
    assert store.answered(f"{store.position}") is None
    assert store.execute(f"s{store.position}", OpenSession()).version == 1


def test_it_commits_at_least_every_1000_commands(url: str) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url) as reader:
        store.execute("s", OpenSession())
        seen: list[int] = []
        with store.batch():
            for _ in range(2100):
                store.execute("s", SetDiscount(label="d", value=Decimal(len(seen))))
                seen.append(reader.position)

    assert all(done - committed < 1000 for done, committed in enumerate(seen, 2))
    assert len(set(seen)) < 10


def test_it_commits_with_the_first_command_after_a_while(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url) as reader:
        store.execute("s", OpenSession())
        with store.batch():
            store.execute("s", add())
            assert reader.position == 1
            monkeypatch.setattr("sessions.commits.batch.SECONDS", 0.0)
            store.execute("s", add())
            assert reader.position == 3


@pytest.mark.parametrize("limit", ["COMMANDS", "SECONDS"])
def test_commands_that_are_refused_do_not_keep_it_from_committing(
    url: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url, lock_timeout=0.01) as other:
        with store.batch():
            store.execute("s", OpenSession())
            monkeypatch.setattr(f"sessions.commits.batch.{limit}", 0)
            with pytest.raises(SessionExists):
                store.execute("s", OpenSession())

            assert other.execute("t", OpenSession()).position == 2
            with pytest.raises(SessionExists):
                store.execute("t", OpenSession())
            assert other.execute("u", OpenSession()).position == 3

        assert store.position == 3


def test_others_do_not_see_what_is_not_committed(url: str) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url) as reader:
        store.execute("s", OpenSession())
        with store.batch():
            store.execute("s", add())
            assert (reader.position, len(list(reader.events("s")))) == (1, 1)
        assert reader.position == 2


def test_what_is_read_in_a_batch_that_has_begun_is_so_when_it_is_written(url: str) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url, lock_timeout=0.05) as other:
        store.execute("s", OpenSession())
        with store.batch() as batch:
            batch.begin()
            batch.begin()
            before = store.position

            with pytest.raises(StoreBusy):
                other.execute("s", add("b"))
            assert store.execute("s", add("a")).position == before + 1
        assert other.execute("s", add("b")).position == before + 2


def test_a_block_can_do_no_more_with_its_batch_than_the_page_says(store: SessionStore) -> None:
    with store.batch() as outer, store.batch() as inner:
        for batch in (outer, inner):
            assert [name for name in dir(batch) if name[0] != "_"] == ["begin", "commit"]


def test_a_batch_that_only_reads_lets_others_write_now_and_then(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url, lock_timeout=0.05) as other:
        store.execute("s", OpenSession())
        with store.batch() as batch:
            batch.begin()
            with pytest.raises(StoreBusy):
                other.execute("s", add("a"))
            monkeypatch.setattr("sessions.commits.batch.SECONDS", 0.0)
            running, done = batch._running, list[Executed]()
            commit = running._commit

            def committed() -> None:
                commit()
                done.append(other.execute("s", add("b")))

            monkeypatch.setattr(running, "_commit", committed)
            batch.begin()

            assert store.position == done[0].position
            with pytest.raises(StoreBusy):
                other.execute("s", add("c"))


def test_a_batch_begins_nothing_when_it_has_ended(url: str) -> None:
    with SessionStore.open(url) as store, SessionStore.open(url, lock_timeout=0.05) as other:
        with store.batch() as batch:
            store.execute("s", OpenSession())

        with pytest.raises(OutsideBatch):
            batch.begin()

        assert other.execute("s", add()).events
        with store.batch() as another:
            another.begin()
            with pytest.raises(OutsideBatch):
                batch.begin()


def test_a_batch_begins_nothing_in_another_thread(url: str) -> None:
    with SessionStore.open(url) as store, ThreadPoolExecutor(1) as pool:
        with store.batch() as batch:
            with pytest.raises(OutsideBatch):
                pool.submit(batch.begin).result()
            with pytest.raises(OutsideBatch):
                pool.submit(copy_context().run, batch.begin).result()
            store.execute("s", OpenSession())
        assert store.execute("s", add()).events


def test_a_batch_is_committed_in_its_own_thread_alone(url: str) -> None:
    with SessionStore.open(url) as store, ThreadPoolExecutor(1) as pool:
        with store.batch() as batch:
            store.execute("s", OpenSession())
            with pytest.raises(OutsideBatch):
                pool.submit(batch.commit).result()
            with pytest.raises(OutsideBatch):
                pool.submit(copy_context().run, batch.commit).result()
            store.execute("s", add())
            batch.commit()
        with pytest.raises(OutsideBatch):
            batch.commit()
        assert pool.submit(store.execute, "s", add()).result().position == 3


def test_a_batch_that_ends_in_another_thread_ends_with_an_error_and_keeps_no_lock(url: str) -> None:
    with SessionStore.open(url) as store, ThreadPoolExecutor(1) as pool:
        entered = store.batch()
        entered.__enter__()
        store.execute("dropped", OpenSession())

        with pytest.raises(OutsideBatch):
            pool.submit(entered.__exit__, None, None, None).result()

        assert store.execute("s", OpenSession()).position == 1
        assert pool.submit(store.execute, "s", add()).result().position == 2
        assert list(store.events("dropped")) == []


def test_a_batch_whose_thread_has_ended_lets_nobody_wait_for_ever(sqlite_url: str) -> None:
    store = SessionStore.open(sqlite_url, lock_timeout=0.05)
    store.make()

    def left_open() -> None:
        opened.append(store.batch())
        opened[0].__enter__()
        store.execute("lost", OpenSession())

    opened: list[AbstractContextManager[Batch]] = []
    thread = threading.Thread(target=left_open)
    thread.start()
    thread.join()

    with pytest.raises(OutsideBatch):
        opened[0].__exit__(None, None, None)
    for call in (lambda: store.execute("s", OpenSession()), store.close):
        with pytest.raises(StoreBusy):
            call()
    with SessionStore.open(sqlite_url, lock_timeout=0.05) as other:
        assert other.position == 0
    store.recorder.database._connections.close()  # type: ignore[attr-defined]  # else it warns


def test_batches_that_have_ended_are_not_kept(store: SessionStore) -> None:
    context = copy_context()
    for number in range(3):
        entered = store.batch()
        context.run(entered.__enter__)
        context.run(store.execute, f"s{number}", OpenSession())
        entered.__exit__(None, None, None)  # in another context

    with store.batch():
        assert len(_entered.get()) == 1
    last = store.batch()
    context.run(last.__enter__)
    assert len(context[_entered]) == 1
    context.run(last.__exit__, None, None, None)
    assert store.position == 3


def test_two_stores_have_a_batch_each(url: str) -> None:
    with SessionStore.open("memory:") as one, SessionStore.open(url) as other:
        with one.batch(), suppress(ZeroDivisionError), other.batch():
            one.execute("s", OpenSession())
            other.execute("t", OpenSession())
            one.execute("s", add())
            raise ZeroDivisionError
        assert (one.position, other.position) == (2, 0)
        assert other.execute("t", OpenSession()).position == 1


def test_a_follower_gives_nothing_that_a_batch_may_still_drop(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    follower = store.follow(after=1)
    with suppress(ZeroDivisionError), store.batch():
        store.execute("dropped", OpenSession())
        with pytest.raises(BatchOpen):
            next(follower)
        raise ZeroDivisionError

    store.execute("t", OpenSession())
    assert next(follower).stream_id == "t"
    follower.stop()


def test_what_another_thread_ends_is_not_the_batch_of_that_thread(url: str) -> None:
    with SessionStore.open(url) as store, ThreadPoolExecutor(1) as pool:
        elsewhere = store.batch()
        pool.submit(elsewhere.__enter__).result()
        with store.batch():
            with pytest.raises(OutsideBatch):
                elsewhere.__exit__(None, None, None)
            assert store.execute("s", OpenSession()).position == 1
        assert pool.submit(store.execute, "s", add()).result().position == 2


def test_a_batch_begins_where_it_may_write_alone(url: str) -> None:
    with SessionStore.open(url) as made:
        made.make()
    with (
        SessionStore.open(url, read_only=True) as store,
        store.batch() as batch,
        pytest.raises(StoreReadOnly),
    ):
        batch.begin()


def test_a_batch_in_a_batch_is_the_outer_one(store: SessionStore) -> None:
    def load() -> None:
        with store.batch():
            store.execute("s", OpenSession())
            with store.batch():
                store.execute("t", OpenSession())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load()

    assert store.execute("t", OpenSession()).position == 1


def test_many_commands_and_keys_inside_are_as_outside(store: SessionStore) -> None:
    def load() -> list[Executed]:
        done = store.execute_many("s", [OpenSession(), add()], idempotency_key="many")
        return [*done, store.execute("s", CloseSession(), idempotency_key="k")]

    with store.batch():
        first = load()
        assert load() == first
        with pytest.raises(IdempotencyKeyReused):
            store.execute("s", CancelSession(), idempotency_key="k")

    with store.batch():
        assert load() == first
    assert load() == first
    assert store.position == 3


def test_a_dry_run_inside_answers_from_the_batchs_own_writes(store: SessionStore) -> None:
    with store.batch():
        store.execute("s", OpenSession())
        dry = store.execute("s", add(), dry_run=True)
        done = store.execute("s", CloseSession())

    assert (dry.version, dry.position) == (done.version, done.position) == (2, 2)
    assert store.position == 2


def test_events_and_views_are_written_together_when_a_read_inside_fails(
    store: SessionStore, views: CustomerSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    store.execute("s", OpenSession())
    with suppress(Exception), store.batch():
        store.execute("s", add())
        with monkeypatch.context() as broken:
            broken.setattr(InlineViews, "fold", fail)
            with pytest.raises(RuntimeError):
                views.get("s")
        store.execute("t", OpenSession())

    for session_id in ("s", "t"):
        events = list(store.events(session_id))
        rows = store.query(
            "SELECT version FROM customer_sessions WHERE session_id = ?", [session_id]
        )
        assert rows == ([(len(events),)] if events else [])


def test_a_store_that_is_closed_inside_says_so(open_store: OpenStore) -> None:
    store = open_store()

    def load() -> None:
        with store.batch():
            store.execute("s", OpenSession())
            store.close()

    with pytest.raises(SessionsError):
        load()


# --- what fails inside


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _load(store: SessionStore, number: int, failed: list[Exception]) -> None:
    """Execute commands in a batch, and go on after an error as a loader would."""
    with store.batch():
        for each in range(number):
            try:
                store.execute(f"s{each}", OpenSession())
            except SessionsError as error:
                failed.append(error)


@pytest.mark.parametrize("first", [True, False], ids=["before the commit", "after the commit"])
def test_a_batch_whose_commit_fails_does_not_end_well(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    store.execute("s", OpenSession())
    failed: list[Exception] = []
    full = StorageFailed(path="it", reason="the disk is full")
    with monkeypatch.context() as broken:
        database = store.recorder.database
        broken.setattr(database, "commit", Interrupts(database.commit, full, first=first))

        with pytest.raises(BatchFailed, match=r"999 commands .* lost: StorageFailed: .* full"):
            _load(store, 1500, failed)

    assert {type(error) for error in failed} == {BatchFailed}
    assert {error.__cause__ for error in failed} == {full}
    assert len(failed) == 501
    assert verify(store) == []
    assert store.execute("t", OpenSession()).events


def test_a_read_that_fails_leaves_a_batch_as_it_was(
    store: SessionStore, views: CustomerSessions
) -> None:
    with store.batch():
        store.execute("s", OpenSession(profile_id="p"))
        for sql in ("SELEC 1", "SELECT 1 FROM nothing", "DELETE FROM customer_sessions"):
            with pytest.raises((InvalidValue, StorageFailed)):
                store.query(sql)
        assert views.get("s").profile_id == "p"
        store.execute("s", add())

    assert (views.get("s").update_count, store.position) == (2, 2)
    assert verify(store) == []


@pytest.mark.parametrize("value", ["\ud800", object()], ids=["no Unicode text", "no value"])
def test_a_read_with_what_no_database_takes_leaves_a_batch_as_it_was(
    store: SessionStore, value: object
) -> None:
    with store.batch():
        store.execute("s", OpenSession())
        with pytest.raises((StorageFailed, InvalidValue)):
            store.query("SELECT ?", [value])
        with pytest.raises(InvalidValue):
            store.query(f"SELECT '{value}\ud800'")
        store.execute("s", add())

    assert store.position == 2
    assert verify(store) == []


@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK"])
def test_a_query_that_would_end_the_transaction_of_a_batch_is_refused(
    store: SessionStore, sql: str
) -> None:
    with store.batch():
        store.execute("s", OpenSession())
        with pytest.raises(InvalidValue, match="sql: one SELECT"):
            store.query(sql)
        store.execute("t", OpenSession())

    assert store.position == 2
    assert verify(store) == []


def test_an_event_of_a_newer_library_stops_the_commands_of_its_session_alone(url: str) -> None:
    with SessionStore.open(url) as store:
        store.execute_many("s", [OpenSession(), add()])
        with unguarded(store.recorder.database) as connection:
            connection.execute("UPDATE events SET type = 'SessionPraised' WHERE position = 2")

    with SessionStore.open(url) as store:
        with store.batch():
            store.execute("t", OpenSession())
            for _ in range(2):
                with pytest.raises(UnknownEvent, match="SessionPraised"):
                    store.execute("s", add())
            store.execute("t", add())
        assert [each.stream_id for each in store.log(2)] == ["t", "t"]


def test_a_batch_that_lost_its_transaction_is_neither_read_nor_committed(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        with store.batch() as batch:
            store.execute("s", OpenSession())
            with monkeypatch.context() as broken:
                broken.setattr(
                    InlineViews, "fold", Interrupts(print, KeyboardInterrupt(), first=True)
                )
                with pytest.raises(KeyboardInterrupt):
                    store.query("SELECT 1")
            with pytest.raises(BatchFailed, match="1 commands"):
                store.query("SELECT 1")
            for call in (batch.commit, batch.begin):
                with pytest.raises(BatchFailed, match="1 commands"):
                    call()
            with pytest.raises(BatchFailed, match="KeyboardInterrupt"):
                store.execute("t", OpenSession())

    with pytest.raises(BatchFailed):
        load()
    assert store.position == 0


def test_what_left_nothing_to_be_kept_is_not_lost_with_its_transaction(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession(), idempotency_key="k")
    with store.batch():
        store.execute("s", OpenSession(), idempotency_key="k")
        store.execute("s", RemoveCoupon())
        store.execute("s", add(), dry_run=True)
        with monkeypatch.context() as broken:
            broken.setattr(InlineViews, "fold", Interrupts(print, KeyboardInterrupt(), first=True))
            with pytest.raises(KeyboardInterrupt):
                store.query("SELECT 1")

        store.execute("s", add())

    assert store.position == 2


def test_a_batch_whose_transaction_is_interrupted_as_it_ends_has_lost_it(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        with store.batch():
            store.execute("s", OpenSession())
            with monkeypatch.context() as broken:
                database = store.recorder.database
                broken.setattr(Transaction, "run", _interrupt)
                broken.setattr(database, "end", Interrupts(database.end, KeyboardInterrupt()))
                with pytest.raises(KeyboardInterrupt):
                    store.execute("s", add())
            store.execute("t", OpenSession())

    with pytest.raises(BatchFailed, match="1 commands"):
        load()
    assert store.position == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimeoutError()], ids=repr)
def test_a_batch_whose_commit_is_interrupted_when_it_is_made_has_lost_nothing(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr("sessions.commits.batch.COMMANDS", 2)
    database = store.recorder.database
    with store.batch():
        store.execute("s", OpenSession())
        with monkeypatch.context() as broken:
            broken.setattr(database, "commit", Interrupts(database.commit, error))
            with pytest.raises(type(error)):
                store.execute("s", add())
        assert store.execute("s", add("b")).version == 3

    assert [each.version for each in store.events("s")] == [1, 2, 3]
    assert verify(store) == []


@pytest.mark.parametrize(
    ("within", "what"),
    [(Ledger, "absorb"), (answers, "to_json")],
    ids=["the session is taken over, its event is not", "the event is taken over, its key is not"],
)
def test_a_batch_of_which_any_error_leaves_a_part_of_a_command_has_lost_it(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, within: Any, what: str
) -> None:
    def load() -> None:
        with store.batch():
            store.execute("s", OpenSession())
            with monkeypatch.context() as broken:
                of_a_signal = Interrupts(print, TimeoutError(), first=True)
                broken.setattr(within, what, of_a_signal)
                with pytest.raises(TimeoutError):
                    store.execute("t", OpenSession(profile_id="p"), idempotency_key="k")
            store.execute("t", add())

    with pytest.raises(BatchFailed, match=r"1 commands .* lost: TimeoutError"):
        load()

    assert store.position == 0
    done = store.execute("t", OpenSession(profile_id="p"), idempotency_key="k")
    assert (done.position, done.version, done.replayed) == (1, 1, False)
    assert verify(store) == []


def test_a_batch_that_has_answered_nothing_goes_on_after_an_interrupt(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.batch():
        with monkeypatch.context() as broken:
            broken.setattr(Transaction, "run", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.execute("s", OpenSession())
        store.execute("t", OpenSession())

    assert [each.stream_id for each in store.log()] == ["t"]


def test_a_transaction_beside_a_batch_of_the_same_thread_is_refused(store: SessionStore) -> None:
    foreign = StoredEvent(uuid4(), 1, "Foreign", b"{}")
    with store.batch():
        store.execute("s", OpenSession())
        with pytest.raises(BatchOpen, match="another transaction is not possible"):
            store.recorder.insert_events([foreign])
        assert store.execute("s", add()).version == 2

    assert store.recorder.insert_events([foreign]) == [3]
    assert verify(store) == []


def test_what_a_repeated_answer_hands_out_is_not_what_will_be_written(store: SessionStore) -> None:
    asked = SetAttributes(attributes={"a": [1]})
    with store.batch():
        store.execute("s", OpenSession())
        store.execute("s", asked, idempotency_key="k")
        again = store.execute("s", asked, idempotency_key="k")
        event = again.events[0].event
        assert isinstance(event, AttributesChanged)
        event.values["a"].append(666)

    (written,) = store.log(1)
    assert written.event == AttributesChanged(values={"a": [1]}, replaced={})


def test_a_key_that_a_batch_has_written_is_known_in_it(
    store: SessionStore, views: CustomerSessions
) -> None:
    with store.batch():
        opened = store.execute("s", OpenSession(), idempotency_key="k")
        assert views.get("s").state == "open"  # what was decided is written to be read

        assert store.execute("s", OpenSession(), idempotency_key="k") == opened
        with pytest.raises(IdempotencyKeyReused):
            store.execute("t", OpenSession(), idempotency_key="k")

    assert store.position == 1


def test_what_a_batch_refuses_beside_it_keeps_no_other_thread_waiting_after_it(
    open_store: OpenStore,
) -> None:
    store = open_store(lock_timeout=1.0)
    with store.batch():
        store.execute("s", OpenSession())
        with pytest.raises(BatchOpen, match="another transaction"):
            store.recorder.insert_events([])

    with ThreadPoolExecutor(1) as thread:
        executed = thread.submit(store.execute, "t", OpenSession()).result()
    assert executed.position == 2
