"""A child may be forked whatever other threads do just then."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sessions.sqlite.inside import Inside
from tests.waiting import until

FORKING = """
import os, sys, threading
from sessions import forks

class Watched:
    def hold_for_fork(self): held.append(self)
    def go_on_after_fork(self): pass
    def begin_again_in_child(self): begun.append(self)

def come_and_go():
    while not ending:
        forks.watch_and_hold(Watched())

sys.setswitchinterval(1e-6)
ending, held, begun = False, [], []
kept = {Watched() for _ in range(300)}
for one in kept:
    forks.watch_and_hold(one)
thread = threading.Thread(target=come_and_go, daemon=True)
thread.start()
for _ in range(3000):  # as a fork does, for less than one costs
    held.clear()
    forks._before_fork()
    assert kept <= {*held}
    forks._after_in_parent()
for _ in range(10):
    if not (child := os.fork()):
        forks.watch(Watched())
        os._exit(not kept <= {*begun})
    assert os.waitpid(child, 0)[1] == 0
ending = True
thread.join()
"""


READING = """
import os, sys, threading
from projections import CustomerSessions, verify
from sessions import OpenSession, SessionStore

url, what, forks = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SessionStore.open(url)
views = CustomerSessions(store)
for number in range(100):
    store.execute(f"s{number}", OpenSession(profile_id="p"))
reads = {"reads": lambda: views.find(limit=20), "verifies": lambda: verify(store)}[what]

def read():
    while not ending:
        reads()

ending = False
threads = [threading.Thread(target=read, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for number in range(forks):
    if not (child := os.fork()):
        store.execute(f"child-{number}", OpenSession())
        os._exit(views.get(f"child-{number}").state != "open")
    assert os.waitpid(child, 0)[1] == 0
ending = True
for thread in threads:
    thread.join()
store.close()
"""


def forked(script: str, *arguments: str) -> None:
    """Run a script that forks."""
    quiet = ["-W", "ignore::DeprecationWarning"]  # of a fork beside threads, from 3.12 on
    command = [sys.executable, *quiet, "-c", script, *arguments]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_fork_holds_all_that_is_watched_while_other_threads_let_more_be() -> None:
    forked(FORKING)


@pytest.mark.parametrize("what", ["reads", "verifies"])
def test_a_child_goes_on_whatever_others_read_when_it_is_forked(sqlite_url: str, what: str) -> None:
    forked(READING, sqlite_url, what, "60")


def test_a_fork_waits_for_who_is_inside_and_lets_no_other_in() -> None:
    inside, events = Inside(), list[str]()

    def first() -> None:
        with inside:
            events.append("in")
            until(lambda: "waits" in events)
            time.sleep(0.05)
            events.append("out")

    def second() -> None:
        until(lambda: "waits" in events)
        with inside:
            events.append("second")

    with ThreadPoolExecutor(2) as pool, inside:  # who forks may be inside: it is not in a statement
        pool.submit(first)
        until(lambda: events == ["in"])
        later = pool.submit(second)
        events.append("waits")
        inside.close(10)
        events.append("forks")
        time.sleep(0.05)
        inside.open()
        later.result()

    assert events == ["in", "waits", "out", "forks", "second"]


def test_a_fork_waits_only_for_so_long() -> None:
    inside, may_leave = Inside(), threading.Event()

    def stay() -> None:
        with inside:
            may_leave.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(stay)
        until(lambda: len(inside._threads) == 1)
        inside.close(0.01)
        inside.open()
        may_leave.set()

    assert not inside._threads
