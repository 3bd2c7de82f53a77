"""A follower sees what many threads and other processes write, and ends with its own process."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest

from sessions import OpenSession, SessionStore
from tests.conftest import in_threads
from tests.scripts import printed_by
from tests.waiting import until
from tests.watching import AT_ONCE, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import OpenStore
    from tests.watching import Seen

pytestmark = pytest.mark.no_cover

PROMISED = 0.25
"""Seconds within which what other processes write is seen, even if nothing is heard of them."""

WRITE = """
import sys, time
from sessions import OpenSession, SessionStore
with SessionStore.open(sys.argv[1]) as store:
    store.execute("before", OpenSession())
    print("ready", flush=True)
    for line in sys.stdin:
        store.execute(line.strip(), OpenSession())
        print(time.monotonic(), flush=True)
"""

FOLLOW_TO_THE_END = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from sessions import OpenSession, SessionStore
url, how, events = sys.argv[1:]
store = SessionStore.open(url)
with store.batch():
    for number in range(int(events)):
        store.execute(f"s{number}", OpenSession())
seen = threading.Event()
def follow():
    for recorded in store.follow():
        seen.set()
        time.sleep(0.1)
    print("ended", flush=True)
if how == "thread":
    threading.Thread(target=follow).start()
else:
    ThreadPoolExecutor().submit(follow)
seen.wait()
print("main ends", flush=True)
"""


@pytest.mark.parametrize("how", ["thread", "executor"])
@pytest.mark.parametrize("events", [1, 1000], ids=["it waits", "it is behind"])
def test_it_ends_when_the_interpreter_exits(any_url: str, how: str, events: int) -> None:
    printed = printed_by(FOLLOW_TO_THE_END, any_url, how, str(events))

    assert printed == "main ends\nended\n"


@pytest.mark.parametrize("hears", [True, False], ids=["", "hears nothing"])
def test_an_event_of_another_process_is_seen_soon(
    url: str, monkeypatch: pytest.MonkeyPatch, *, hears: bool
) -> None:
    command = [sys.executable, "-c", WRITE, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        with SessionStore.open(url) as store:
            if not hears:
                monkeypatch.setattr(store.recorder.database, "listen", lambda: None)
            with watching(store.follow()) as seen:
                seen.wait_for(1)
                delays = delays_of(other, seen)
                until(lambda: in_time(list(islice(delays, 5)), AT_ONCE if hears else PROMISED))
        other.stdin.close()


def delays_of(other: subprocess.Popen[str], seen: Seen) -> Iterator[float]:
    """How long each event of another process is on its way."""
    assert other.stdin
    assert other.stdout
    for position in count(2):
        time.sleep(0.07)
        other.stdin.write(f"s{position}\n")
        other.stdin.flush()
        seen.wait_for(position)
        yield seen.times[-1] - float(other.stdout.readline())


def in_time(delays: list[float], median: float) -> bool:
    """Whether all came when they should; some do not where the machine does something else."""
    return sorted(delays)[2] < median and max(delays) < PROMISED + 0.75


def test_four_write_and_two_follow_every_position_once(open_store: OpenStore) -> None:
    store = open_store()
    store.execute("s", OpenSession())

    def write(number: int) -> None:
        for written in range(25):
            store.execute(f"s{number}-{written}", OpenSession())

    with watching(store.follow()) as one, watching(open_store().follow(after=1)) as two:
        in_threads(4, write)
        one.wait_for(101)
        two.wait_for(101)

    assert one.positions == list(range(1, 102))
    assert two.positions == list(range(2, 102))
