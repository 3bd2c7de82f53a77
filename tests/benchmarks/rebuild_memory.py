"""Rebuild all views of a store, and print how much memory that took at its peak.

A process of its own for each store: `python -m tests.benchmarks.rebuild_memory URL`.
"""

import sys

from projections import rebuild
from sessions import SessionStore
from tests.benchmarks.replay import peak_kib


def main() -> None:
    (url,) = sys.argv[1:]
    with SessionStore.open(url, read_only=True) as store:
        rebuilt = rebuild(store)
    assert rebuilt.switched
    sys.stdout.write(f"{rebuilt.events} {peak_kib()}\n")


if __name__ == "__main__":
    main()
