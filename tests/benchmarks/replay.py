"""Replay a log up to a position, and print how much memory that took at its peak.

A process of its own for each log: `python -m tests.benchmarks.replay URL POSITION`.
"""

import resource
import sys
from pathlib import Path

from projections.customer_session import SessionView, fold
from sessions import SessionStore

STATUS = Path("/proc/self/status")


def replay(store: SessionStore, until: int) -> int:
    """Fold the log, holding the sessions that are open; the answer is how many events it had."""
    views: dict[str, SessionView] = {}
    events = 0
    for recorded in store.log(until=until):
        view = fold(views.pop(recorded.stream_id, None), recorded)
        if view.session.state == "open":
            views[recorded.stream_id] = view
        events += 1
    return events


def peak_kib() -> int:
    """The peak of this program alone.

    On Linux `ru_maxrss` begins with the size of the process that started this one.
    """
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def main() -> None:
    url, until = sys.argv[1:]
    with SessionStore.open(url, read_only=True) as store:
        events = replay(store, int(until))
    sys.stdout.write(f"{events} {peak_kib()}\n")


if __name__ == "__main__":
    main()
