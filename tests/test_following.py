"""A follower is given every event once and in order, as soon as it is committed."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from sessions import (
    CloseSession,
    InvalidValue,
    OpenSession,
    SetAttributes,
    StoreClosed,
    UndecodableEvent,
)
from tests.conftest import add
from tests.tampering import unguarded
from tests.watching import AT_ONCE, watching

if TYPE_CHECKING:
    from sessions import SessionStore
    from tests.conftest import OpenStore

INTERRUPTED = """
import signal
import time
from sessions.signals import Signal
heard = Signal()
signal.signal(signal.SIGALRM, lambda *_: heard.give())
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 1
while time.monotonic() < end:
    heard.wait(heard.count, 0.0001)
    heard.give()
signal.signal(signal.SIGALRM, signal.SIG_IGN)
"""


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
def test_it_waits_for_a_position_that_is_not_there_yet(
    store: SessionStore, types: list[str]
) -> None:
    store.execute_many("s", [OpenSession(), add("a")])

    with watching(store.follow(after=4, types=types)) as seen:
        time.sleep(0.3)
        for sku in "bcde":
            store.execute("s", add(sku))
        seen.wait_for(6)

    assert seen.positions == [5, 6]


def test_types_that_can_be_read_once_are_as_good_as_a_list(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a"), CloseSession()])

    with store.follow(types=iter(["ItemAdded", "SessionClosed"])) as follower:
        assert [recorded.position for recorded in islice(follower, 2)] == [2, 3]
    assert [recorded.position for recorded in store.log(types=iter(["ItemAdded"]))] == [2]
    assert [recorded.position for recorded in store.log(types={"SessionClosed"})] == [3]


def test_an_event_of_this_process_comes_at_once(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    delays = []
    with watching(store.follow()) as seen:
        seen.wait_for(1)
        for position in range(2, 7):
            time.sleep(0.03)
            before = time.time()
            store.execute("s", add(str(position)))
            seen.wait_for(position)
            delays.append(seen.times[-1] - before)

    assert sorted(delays)[2] < AT_ONCE


def test_stop_ends_it_at_once_from_any_thread(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with watching(store.follow()) as seen:
        seen.wait_for(1)
        time.sleep(0.05)
        before = time.monotonic()
        seen.follower.stop()
        seen.thread.join(10)

    assert time.monotonic() - before < AT_ONCE
    assert seen.positions == [1]


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
        deadline = time.monotonic() + 10
        while seen.follower.position < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)

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
    with pytest.raises(InvalidValue):
        store.follow(after=-1)


def test_it_ends_when_the_store_is_closed(open_store: OpenStore) -> None:
    store = open_store()
    store.execute("s", OpenSession())
    with watching(store.follow()) as seen:
        seen.wait_for(1)
        time.sleep(0.05)
        before = time.monotonic()
        store.close()
        seen.thread.join(10)
        assert not seen.thread.is_alive()

    assert time.monotonic() - before < 3
    with pytest.raises(StoreClosed):
        store.execute("s", add())


def test_an_event_that_cannot_be_decoded_raises_each_time_and_is_not_passed(
    store: SessionStore,
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = 2")
    follower = store.follow()
    assert next(follower).position == 1

    for _ in range(2):
        with pytest.raises(UndecodableEvent, match="at 2"):
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
        closed = waiting.result(10)
        assert (closed.id, closed.topic, closed.originator_id) == (3, "SessionClosed", "session-s")

        ending = pool.submit(lambda: list(subscription))
        time.sleep(0.05)
        subscription.stop()
        assert ending.result(10) == []


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
    subprocess.run(command, check=True, cwd=pytestconfig.rootpath, timeout=30)  # noqa: S603
