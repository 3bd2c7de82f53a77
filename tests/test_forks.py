"""A child may be forked whatever other threads do just then."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sessions.cached import cached_property
from sessions.sqlite.inside import Inside
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.no_cover

FORKING = """
import os, sys, threading
from sessions import forks

class Watched:
    def hold_for_fork(self, seconds): return not held.append(self)
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


INTERRUPTED = """
import os, signal, sys, threading
from projections import CustomerSessions
from sessions import OpenSession, SessionStore

store = SessionStore.open(sys.argv[1])
store.execute("s", OpenSession())
views = CustomerSessions(store)
inside = store.recorder.database._connections.inside
entered, leave = threading.Event(), threading.Event()

def stay():
    with inside:
        entered.set()
        leave.wait()

staying = threading.Thread(target=stay)
staying.start()
entered.wait()
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs it may ignore interrupts
threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
sys.unraisablehook = lambda told: print(told.exc_type.__name__, flush=True)
if not os.fork():
    os._exit(0)
answers = []
other = threading.Thread(target=lambda: answers.append(views.get("s").state), daemon=True)
other.start()
other.join(10)
store.execute("t", OpenSession())
leave.set()
staying.join()
print(answers, store.position, flush=True)
"""

UNWINDING = """
import os, sys
from projections import verify
from sessions import OpenSession, SessionStore

store = SessionStore.open(sys.argv[1])
store.execute("s", OpenSession())
children = []

def fork(done, total):
    children.append(os.fork())
    if not children[-1]:
        sys.exit(7)  # through what was begun in the parent

assert verify(store, fork) == []
assert [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children] == [7]
store.close()
"""

TWO_STORES = """
import os, sys, threading, time
from sessions import OpenSession, SessionStore

one, other = (SessionStore.open(url) for url in sys.argv[1:3])
for store in (one, other):
    store.execute("s", OpenSession())
begun, forks = threading.Event(), threading.Event()

def load():
    with one.batch():
        one.execute("t", OpenSession())
        begun.set()
        forks.wait()
        time.sleep(0.1)
        assert other.position == 1

thread = threading.Thread(target=load)
thread.start()
begun.wait()
began = time.monotonic()
forks.set()
if not (child := os.fork()):
    os._exit(0)
os.waitpid(child, 0)
assert time.monotonic() - began < 10
thread.join()
"""

AT_ONCE = """
import logging, concurrent.futures.thread  # their own hooks are called after ours, then
import os, sys, threading
from sessions import OpenSession, SessionStore

store = SessionStore.open(sys.argv[1], lock_timeout=5)
store.execute("s", OpenSession())

def write(thread):
    number = 0
    while not ending:
        number += 1
        store.execute(f"{thread}-{number}", OpenSession())

def fork():
    for _ in range(15):
        if not (child := os.fork()):
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

ending = False
writing = [threading.Thread(target=write, args=[number], daemon=True) for number in range(2)]
forking = [threading.Thread(target=fork) for _ in range(3)]
for thread in writing + forking:
    thread.start()
for thread in forking:
    thread.join()
ending = True
for thread in writing:
    thread.join()
store.execute("t", OpenSession())
store.close()
"""

MADE_MEANWHILE = """
import os, sys, threading
from sessions import OpenSession, SessionStore

url, fresh_url = sys.argv[1:3]
store, fresh = SessionStore.open(url), SessionStore.open(fresh_url)
store.execute("s", OpenSession())

def read():
    while not ending:
        assert fresh.position == 0  # of a store that is made for the question
        with SessionStore.open(url) as opened:
            assert opened.position == 1

ending = False
threads = [threading.Thread(target=read, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(30):
    if not (child := os.fork()):
        with SessionStore.open(url) as opened:
            os._exit(opened.position != 1)
    assert os.waitpid(child, 0)[1] == 0
ending = True
for thread in threads:
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


LEASES = """
import os
from sessions import SessionStore

store = SessionStore.open("memory:")
with store.recorder.database.held("rebuild") as parent:
    assert parent is not None
    if not (child := os.fork()):
        with store.recorder.database.held("rebuild") as held:
            os._exit(held is None)
    assert os.waitpid(child, 0)[1] == 0
    with store.recorder.database.held("rebuild") as again:
        assert again is None
"""

EARLIER_HOOK = """
import os, sys

url, when = sys.argv[1:]
os.register_at_fork(**{when: lambda: os.write(1, f"{store.query('SELECT 1')}\\n".encode())})

from sessions import OpenSession, SessionStore

store = SessionStore.open(url)
store.execute("s", OpenSession())
if not (child := os.fork()):
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.close()
"""

WRITES_TO_BOTH = """
import os, sys, threading, time
from contextlib import nullcontext
from sessions import OpenSession, SessionStore

directory, how = sys.argv[1:]
stores = [SessionStore.open(f"sqlite:///{directory}/{n}.db", lock_timeout=20) for n in range(5)]
for store in stores:
    store.make()
own = stores.pop()  # of the others, some are held before it, if in no order

def other(theirs, barrier):
    with theirs.batch():
        theirs.execute("x", OpenSession())
        barrier.wait()
        time.sleep(0.2)  # the fork waits by now
        own.execute("y" + str(id(theirs)), OpenSession())

for theirs in stores:
    barrier = threading.Barrier(2)
    thread = threading.Thread(target=other, args=(theirs, barrier))
    thread.start()
    with own.batch() if how == "in a batch" else nullcontext() as batch:
        if batch is not None:
            batch.begin()
        barrier.wait()
        began = time.monotonic()
        if not (child := os.fork()):
            os._exit(0)
        took = time.monotonic() - began
        assert os.waitpid(child, 0)[1] == 0
    thread.join()
    print("forked" if took < 10 else f"forked after {took} s", flush=True)
for store in [own, *stores]:
    store.close()
"""


OUTLIVES = """
import os, select, sys
from sessions import OpenSession, SessionStore

url, generations = sys.argv[1], int(sys.argv[2])
store = SessionStore.open(url)
store.execute("parent", OpenSession())
assert store.position == 1
works, ends = os.pipe()
if not os.fork():
    if generations > 1:
        store.close()
        if generations > 2:
            del store
        if os.fork():
            os._exit(0)
        store = SessionStore.open(url)
    for number in range(400):
        store.execute(f"child {number}", OpenSession())
    os._exit(0)
os.close(ends)
store.close()
while not select.select([works], [], [], 0)[0]:  # until the last child ends
    with SessionStore.open(url, read_only=True) as other:
        other.position  # as it closes, nobody else seems to have the file open
with SessionStore.open(url) as store:
    print(store.position)
"""

TAKES_OVER = """
import os, sys, time
from sessions import SessionStore

store = SessionStore.open(sys.argv[1])
database = store.recorder.database
tried, tries = os.pipe()
with database.held("rebuild") as parent:
    assert parent is not None
    if not (child := os.fork()):
        with database.held("rebuild") as held:
            assert held is None
        os.write(tries, b"x")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with database.held("rebuild") as held:
                if held is not None:
                    os._exit(0)
            time.sleep(0.005)
        os._exit(1)
    os.read(tried, 1)
assert os.waitpid(child, 0)[1] == 0
store.close()
"""

SNAPSHOT = """
import os, sys
from sessions import OpenSession, SessionStore

url = sys.argv[1]
with SessionStore.open(url) as store:
    store.execute("before", OpenSession())
store = SessionStore.open(url)  # with an empty log
database = store.recorder.database
done, does = os.pipe()
ended, ends = os.pipe()
with database.private() as connection, database.snapshot(connection):
    count = "SELECT count(*) FROM events"
    assert connection.execute(count).fetchall() == [(1,)]
    if not (child := os.fork()):
        for number in range(50):
            store.execute(f"child {number}", OpenSession())
        os.write(does, b"x")
        os.read(ended, 1)
        for number in range(50, 100):
            store.execute(f"child {number}", OpenSession())
        os._exit(store.position != 102)
    os.read(done, 1)
    store.execute("beside a snapshot", OpenSession())
    assert connection.execute(count).fetchall() == [(1,)]
assert store.position == 52
os.write(ends, b"x")
assert os.waitpid(child, 0)[1] == 0
assert store.position == 102
store.close()
"""

EMPTY = """
import os, sys
from sessions import OpenSession, SessionStore

url = sys.argv[1]
open(url.removeprefix("sqlite:///"), "w").close()
store = SessionStore.open(url)
assert not store.exists
if not (child := os.fork()):
    store.execute("child", OpenSession())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.execute("parent", OpenSession())
assert store.position == 2
store.close()
"""

CANNOT_LOCK = """
import os, sys
from sessions import OpenSession, SessionStore, StorageFailed
from sessions.sqlite import inherited

def share(*_):
    raise OSError(0, "No locks available")

inherited._share = share
url = sys.argv[1]
store = SessionStore.open(url)
store.execute("parent", OpenSession())
if not (child := os.fork()):
    for again in (lambda: store, lambda: SessionStore.open(url)):
        try:
            again().execute("child", OpenSession())
        except StorageFailed as failed:
            os.write(1, str(failed).encode() + b"\\n")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.execute("goes on", OpenSession())
store.close()
"""

INTERRUPTED_AFTERWARDS = """
import os, random, signal, sys, threading
from sessions import OpenSession, SessionStore

store = SessionStore.open(sys.argv[1])
store.execute("parent", OpenSession())
signal.signal(signal.SIGALRM, signal.default_int_handler)
sys.unraisablehook = lambda _: None  # that it was interrupted
for _ in range(150):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0003, 0.003))
        if not os.fork():
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
    for work in (lambda: store.query("SELECT 1"), store.make, os.wait):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
opened = len(os.listdir("/dev/fd"))
for _ in range(5):
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
assert len(os.listdir("/dev/fd")) <= opened
store.close()
"""

LATE = """
import os, sys, time
os.register_at_fork(after_in_child=lambda: time.sleep(0.5))
from sessions import OpenSession, SessionStore

store = SessionStore.open(sys.argv[1])
store.execute("parent", OpenSession())
began = time.monotonic()
if not (child := os.fork()):
    os._exit(0)
assert time.monotonic() - began >= 0.5
assert os.waitpid(child, 0)[1] == 0
store.close()
"""


def forked(script: str, *arguments: str) -> str:
    """What a script prints that forks."""
    quiet = ["-W", "ignore::DeprecationWarning"]  # of a fork beside threads, from 3.12 on
    command = [sys.executable, *quiet, "-c", script, *arguments]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


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
        until(lambda: not inside._is_open)
        with inside:
            events.append("second")

    with ThreadPoolExecutor(2) as pool, inside:  # who forks is in no statement
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


def test_a_fork_waits_only_for_so_long(caplog: pytest.LogCaptureFixture) -> None:
    inside, may_leave = Inside(), threading.Event()

    def stay() -> None:
        with inside:
            may_leave.wait(SOON)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(stay)
        until(lambda: len(inside._threads) == 1)
        inside.close(0.01)
        inside.open()
        may_leave.set()

    assert caplog.messages == [
        "the process forks while another thread reads: the child may hang in SQLite"
    ]

    assert not inside._threads


def test_a_fork_that_is_interrupted_while_it_waits_leaves_a_parent_that_works(
    sqlite_url: str,
) -> None:
    assert forked(INTERRUPTED, sqlite_url) == "KeyboardInterrupt\n['open'] 2\n"


def test_threads_may_fork_at_once(any_url: str) -> None:
    forked(AT_ONCE, any_url)


def test_a_child_goes_on_whatever_stores_are_opened_when_it_is_forked(
    sqlite_url: str, tmp_path: Path
) -> None:
    forked(MADE_MEANWHILE, sqlite_url, f"sqlite:///{tmp_path}/fresh.db")


def test_a_child_may_unwind_through_what_its_parent_has_begun(any_url: str) -> None:
    forked(UNWINDING, any_url)


def test_a_child_may_take_the_leases_that_its_parent_holds_in_memory() -> None:
    forked(LEASES)


@pytest.mark.parametrize("generations", [1, 2, 3])
def test_what_a_child_is_answered_stays_though_its_parent_and_others_come_and_go(
    sqlite_url: str, generations: int
) -> None:
    assert forked(OUTLIVES, sqlite_url, str(generations)) == "401\n"


def test_a_child_takes_over_a_lease_of_its_parent_once_it_is_free(sqlite_url: str) -> None:
    forked(TAKES_OVER, sqlite_url)


def test_a_child_and_its_parent_go_on_beside_a_snapshot_that_the_parent_reads(
    sqlite_url: str,
) -> None:
    forked(SNAPSHOT, sqlite_url)


def test_a_child_may_make_a_store_that_its_parent_found_empty(sqlite_url: str) -> None:
    forked(EMPTY, sqlite_url)


def test_a_child_that_cannot_lock_what_it_inherits_says_so_and_does_nothing(
    sqlite_url: str,
) -> None:
    said = forked(CANNOT_LOCK, sqlite_url)

    assert said.count("one that had it open, and could not lock it: No locks available\n") == 2


def test_an_interrupt_after_a_fork_leaves_a_parent_that_works(sqlite_url: str) -> None:
    forked(INTERRUPTED_AFTERWARDS, sqlite_url)


def test_a_parent_goes_on_once_its_child_has_begun_again(sqlite_url: str) -> None:
    forked(LATE, sqlite_url)


@pytest.mark.parametrize("when", ["before", "after_in_parent", "after_in_child"])
def test_who_came_before_the_library_may_use_a_store_as_it_forks(
    sqlite_url: str, when: str
) -> None:
    assert forked(EARLIER_HOOK, sqlite_url, when) == "[(1,)]\n"


@pytest.mark.parametrize("how", ["in a batch", "outside"])
def test_a_fork_waits_for_who_needs_another_store_and_keeps_nobody_waiting(
    tmp_path: Path, how: str
) -> None:
    assert forked(WRITES_TO_BOTH, str(tmp_path), how) == "forked\n" * 4


def test_who_writes_to_one_store_may_read_another_while_a_fork_waits(
    sqlite_url: str, tmp_path: Path
) -> None:
    forked(TWO_STORES, sqlite_url, f"sqlite:///{tmp_path}/other.db")


def test_a_thread_that_was_interrupted_inside_is_out_after_it_came_by_again() -> None:
    inside = Inside()
    inside.enter()  # and an interrupt keeps it from leaving
    with inside:
        pass

    with ThreadPoolExecutor(1) as pool:
        pool.submit(inside.close, 0).result()

    assert not inside._threads


def test_a_property_that_one_thread_computes_holds_up_no_other_one() -> None:
    begun, may_end = threading.Event(), threading.Event()

    class Slow:
        @cached_property
        def value(self) -> int:
            """A number."""
            if not begun.is_set():
                begun.set()
                may_end.wait(SOON)
            return 1

    one, other = Slow(), Slow()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: one.value)
        begun.wait(SOON)
        assert pool.submit(lambda: other.value).result(1) == 1
        may_end.set()
        assert first.result() == 1

    assert vars(one) == vars(other) == {"value": 1}
    assert Slow.__dict__["value"].__doc__ == "A number."
    assert isinstance(Slow.value, cached_property)
