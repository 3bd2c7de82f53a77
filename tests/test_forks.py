"""What is watched for a fork may come and go in other threads while a child is forked."""

from __future__ import annotations

import subprocess
import sys

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


def test_a_fork_holds_all_that_is_watched_while_other_threads_let_more_be() -> None:
    quiet = ["-W", "ignore::DeprecationWarning"]  # of a fork beside threads, from 3.12 on
    command = [sys.executable, *quiet, "-c", FORKING]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
