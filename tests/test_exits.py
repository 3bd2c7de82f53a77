"""What becomes of a store that is open still when the interpreter exits."""

from __future__ import annotations

from tests.scripts import printed_by

LEFT_OPEN = """
import sys
from sessions import OpenSession, SessionStore
store = SessionStore.open(sys.argv[1])
store.execute("s", OpenSession())
assert len(list(store.events("s"))) == 1
"""

ASKED_BEFORE = """
import atexit, sys
from sessions import OpenSession, SessionStore

atexit.register(lambda: print(store.execute("s", OpenSession()).version))
store = SessionStore.open(sys.argv[1])
"""

ASKED_AFTERWARDS = """
import atexit, sys

def ask():
    try:
        store.position
    except StoreClosed as closed:
        print(closed)

atexit.register(ask)  # what is registered first comes last
from sessions import OpenSession, SessionStore, StoreClosed
store = SessionStore.open(sys.argv[1])
store.execute("s", OpenSession())
"""

LEFT_OPEN_IN_A_CHILD = """
import os, sys
from sessions import OpenSession, SessionStore
store = SessionStore.open(sys.argv[1])
def connections():
    return {number for _ in range(4) for (number,) in store.query("SELECT pg_backend_pid()")}
store.execute("parent", OpenSession())
before = connections()
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    assert connections() == before
    store.close()
else:
    store.execute("child", OpenSession())
    assert not connections() & before
"""


AWAITED_AFTER_THE_MAIN_THREAD = """
import asyncio, sys, threading
from sessions import OpenSession, SessionStore

store = SessionStore.open(sys.argv[1])
store.make()

def main_thread_has_ended():
    return not threading.main_thread().is_alive()

async def one(task):
    for number in range(1000):
        await store.execute_async(f"async-{task}-{number}", OpenSession())
        if main_thread_has_ended() and number > 20:
            return

async def all_of_them():
    await asyncio.gather(*[one(task) for task in range(4)])

def others(thread):
    for number in range(1000):
        store.execute(f"sync-{thread}-{number}", OpenSession())
        if main_thread_has_ended() and number > 20:
            return

def report():
    for thread in threads:
        thread.join()
    print("all have ended")

threads = [threading.Thread(target=asyncio.run, args=[all_of_them()])]
threads += [threading.Thread(target=others, args=[thread]) for thread in range(2)]
for thread in threads:
    thread.start()
threading.Thread(target=report).start()
"""


def test_tasks_are_answered_when_the_main_thread_has_ended(any_url: str) -> None:
    assert printed_by(AWAITED_AFTER_THE_MAIN_THREAD, any_url) == "all have ended\n"


def test_a_store_that_nobody_closes_goes_with_the_interpreter(any_url: str) -> None:
    assert printed_by(LEFT_OPEN, any_url) == ""


def test_a_store_may_be_used_at_exit_by_who_has_registered_for_it(any_url: str) -> None:
    assert printed_by(ASKED_BEFORE, any_url) == "1\n"


def test_who_asks_a_server_after_that_is_told_that_the_store_is_closed(postgres_url: str) -> None:
    assert printed_by(ASKED_AFTERWARDS, postgres_url) == "the store is closed\n"


def test_a_child_that_ends_leaves_the_connections_of_its_parent_alone(postgres_url: str) -> None:
    assert printed_by(LEFT_OPEN_IN_A_CHILD, postgres_url) == ""
