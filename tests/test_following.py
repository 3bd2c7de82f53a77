"""A follower is given every event once and in order, as soon as it is committed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pytest

from sessions import (
    CloseSession,
    InvalidValue,
    ItemAdded,
    OpenSession,
    PositionNotFound,
    SessionOpened,
    SessionStore,
    SetAttributes,
    StoreClosed,
    UndecodableEvent,
)
from sessions.sql.signals import Signal, signal_of
from tests.conftest import add, in_threads
from tests.tampering import unguarded
from tests.waiting import SOON, until
from tests.watching import AT_ONCE, watching

if TYPE_CHECKING:
    from tests.watching import Seen

INTERRUPTED = """
import signal
import time
from sessions.sql.signals import Signal
heard = Signal()
signal.signal(signal.SIGALRM, lambda *_: heard.give())
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 1
while time.monotonic() < end:
    heard.wait(heard.count, 0.0001)
    heard.give()
signal.signal(signal.SIGALRM, signal.SIG_IGN)
"""


@pytest.fixture
def _only_told(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself, or hears of other processes: who goes on was told so in this one."""
    monkeypatch.setattr(store.recorder.database, "poll_seconds", 3600.0)
    monkeypatch.setattr(store.recorder.database, "listen", lambda: None)


def test_past_and_new_events_come_in_order(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(coupon="C"), add()])
    with store.follow() as follower:
        past = list(islice(follower, 3))
        store.execute("s", add("b"))
        store.execute("t", OpenSession())
        new = list(islice(follower, 2))

    assert past + new == list(store.log())
    assert follower.position == 5
    assert list(follower) == []


def test_it_begins_behind_a_position(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])

    with store.follow(after=2) as follower:
        assert next(follower).position == 3
        assert follower.position == 3


@pytest.mark.parametrize("types", [[], ["ItemAdded"]])
def test_it_does_not_begin_behind_a_position_that_the_log_has_not_come_to(
    store: SessionStore, types: list[str]
) -> None:
    store.execute_many("s", [OpenSession(), add("a")])

    with store.follow(after=4, types=types) as follower:
        for _ in range(2):
            with pytest.raises(PositionNotFound, match="no position 4: its newest is 2"):
                next(follower)
    with watching(store.follow(after=2, types=types)) as seen:
        time.sleep(0.3)
        store.execute("s", add("b"))
        seen.wait_for(3)

    assert seen.positions == [3]


def test_types_that_can_be_read_once_are_as_good_as_a_list(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a"), CloseSession()])

    with store.follow(types=iter(["ItemAdded", "SessionClosed"])) as follower:
        assert [recorded.position for recorded in islice(follower, 2)] == [2, 3]
    assert [recorded.position for recorded in store.log(types=iter(["ItemAdded"]))] == [2]
    assert [recorded.position for recorded in store.log(types={"SessionClosed"})] == [3]


def test_types_may_be_the_classes_of_events(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add(), CloseSession()])

    with store.follow(types=[ItemAdded, "SessionClosed"]) as follower:
        assert [next(follower).position, next(follower).position] == [2, 3]
    assert [recorded.position for recorded in store.log(types=(SessionOpened,))] == [1]
    for one in (ItemAdded, "ItemAdded"):
        with pytest.raises(InvalidValue, match=r"types: (a list|a list of names), not"):
            store.log(types=cast("Any", one))
    for unknown in (OpenSession, "SesionClosed"):
        with pytest.raises(InvalidValue, match=r"types: names of events \(SessionOpened, ItemAdd"):
            store.log(types=[cast("Any", unknown)])


@pytest.mark.usefixtures("_only_told")
def test_an_event_of_this_process_comes_at_once(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with watching(store.follow()) as seen:
        seen.wait_for(1)
        until(lambda: median_delay(store, seen) < AT_ONCE)


def median_delay(store: SessionStore, seen: Seen) -> float:
    """How long an event is on its way; more where the machine is busy with something else."""
    delays = []
    for number in range(5):
        time.sleep(0.03)
        before = time.monotonic()
        seen.wait_for(store.execute("s", add(str(number))).position)
        delays.append(seen.times[-1] - before)
    return sorted(delays)[2]


@pytest.mark.usefixtures("_only_told")
def test_stop_ends_it_at_once_from_any_thread(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with watching(store.follow()) as seen:
        seen.wait_for(1)
        time.sleep(0.05)
        seen.follower.stop()
        seen.thread.join(SOON)
        assert not seen.thread.is_alive()

    assert seen.positions == [1]


def test_a_listener_that_is_interrupted_as_it_begins_ends_with_the_store(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        begin(thread)
        raise KeyboardInterrupt

    with SessionStore.open(postgres_url) as store:
        store.execute("s", OpenSession())
        with monkeypatch.context() as handling:
            handling.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.recorder.database.listen()
        (listening,) = [t for t in threading.enumerate() if t.name == "customer-sessions-listen"]
        store.recorder.database.listen()

    listening.join(SOON)
    assert not listening.is_alive()


def test_a_store_that_is_closed_is_not_followed_and_takes_no_batch(url: str) -> None:
    store = SessionStore.open(url)
    store.make()
    store.close()

    with pytest.raises(StoreClosed):
        store.follow()
    with pytest.raises(StoreClosed), store.batch():
        raise AssertionError


@pytest.mark.usefixtures("_only_told")
def test_a_stop_that_comes_just_before_it_waits_ends_it_at_once(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute("s", OpenSession())
    follower = store.follow(after=1)
    monkeypatch.setattr(store.recorder.database, "listen", follower.stop)

    with watching(follower) as seen:
        seen.thread.join(SOON)
        assert not seen.thread.is_alive()


def test_it_stops_within_a_page(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), *[add(str(n)) for n in range(5)]])
    follower = store.follow()
    assert next(follower).position == 1

    follower.stop()

    assert (list(follower), follower.position) == ([], 1)


def test_only_the_types_that_are_asked_for_come_and_the_position_moves_past_the_others(
    store: SessionStore,
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])
    with watching(store.follow(types=["SessionOpened", "SessionClosed"])) as seen:
        seen.wait_for(1)
        store.execute("s", CloseSession())
        seen.wait_for(4)
        store.execute_many("t", [OpenSession(), add()])
        seen.wait_for(5)
        until(lambda: seen.follower.position == 6)

    assert seen.positions == [1, 4, 5]


def test_the_position_moves_past_many_that_are_not_asked_for(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with store.batch():
        for number in range(1200):
            store.execute("s", SetAttributes(attributes={"n": number}))
    store.execute("s", CloseSession())

    with store.follow(types=["SessionClosed"]) as follower:
        assert next(follower).position == follower.position == 1202


def test_an_unknown_type_is_refused(store: SessionStore) -> None:
    with pytest.raises(InvalidValue, match="NoSuchEvent"):
        store.follow(types=["SessionOpened", "NoSuchEvent"])
    with pytest.raises(InvalidValue, match="types: a list of names, not 'SessionOpened'"):
        store.follow(types="SessionOpened")
    with pytest.raises(InvalidValue):
        store.follow(after=-1)


@pytest.mark.usefixtures("_only_told")
def test_it_ends_when_the_store_is_closed(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with watching(store.follow()) as seen:
        seen.wait_for(1)
        time.sleep(0.05)
        store.close()
        seen.thread.join(SOON)
        assert not seen.thread.is_alive()

    with pytest.raises(StoreClosed):
        store.execute("s", add())


def test_who_follows_a_store_that_is_closed_lets_nothing_listen(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    follower = store.follow()
    store.close()

    assert list(follower) == []
    assert "customer-sessions-listen" not in [each.name for each in threading.enumerate()]


def test_stores_that_are_opened_at_once_share_what_wakes_their_followers() -> None:
    class Slow(str):
        """A path that another thread asks for meanwhile."""

        __slots__ = ()

        def __hash__(self) -> int:
            time.sleep(0.01)
            return super().__hash__()

    one, other = in_threads(2, lambda _: signal_of(Slow("elsewhere.db")))

    assert one is other


def test_an_event_that_cannot_be_decoded_raises_each_time_and_is_not_passed(
    store: SessionStore,
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = 2")
    follower = store.follow()
    assert next(follower).position == 1

    for _ in range(2):
        with pytest.raises(UndecodableEvent, match="at position 2"):
            next(follower)
        assert follower.position == 1

    with unguarded(store.recorder.database) as connection:
        connection.execute(
            "UPDATE events SET data = (SELECT data FROM events WHERE position = 3)"
            " WHERE position = 2"
        )
    assert [recorded.position for recorded in islice(follower, 2)] == [2, 3]


def test_a_follower_is_an_iterator_for_eventsourcing_too(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a")])
    recorder = store.recorder
    with recorder.subscribe(gt=1) as subscription, ThreadPoolExecutor(1) as pool:
        assert next(subscription).id == 2
        waiting = pool.submit(next, subscription)
        store.execute("s", CloseSession())
        closed = waiting.result(SOON)
        assert (closed.id, closed.topic, closed.originator_id) == (3, "SessionClosed", "session-s")

        ending = pool.submit(lambda: list(subscription))
        time.sleep(0.05)
        subscription.stop()
        assert ending.result(SOON) == []


def test_a_subscription_to_topics_gives_only_these(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b"), CloseSession()])
    topics = ["SessionOpened", "SessionClosed"]

    with store.recorder.subscribe(topics=topics) as subscription:
        assert [found.id for found in islice(subscription, 2)] == [1, 4]
        store.execute_many("t", [OpenSession(), add()])
        assert next(subscription).id == 5


def test_the_handler_of_a_systems_signal_may_wake_who_waits_whatever_it_interrupts(
    pytestconfig: pytest.Config,
) -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    subprocess.run(command, check=True, cwd=pytestconfig.rootpath, timeout=SOON)


def test_a_signal_that_was_given_before_is_not_waited_for() -> None:
    signal = Signal()
    seen = signal.count
    signal.give()
    began = time.monotonic()

    signal.wait(seen, SOON)

    assert time.monotonic() - began < SOON


def test_a_signal_wakes_all_who_wait() -> None:
    signal = Signal()
    began = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        for _ in range(3):
            threads.submit(signal.wait, signal.count, SOON)
        until(lambda: signal._waiting == 3)
        signal.give()

    assert time.monotonic() - began < SOON
