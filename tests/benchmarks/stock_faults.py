"""Faults of the stock `eventsourcing` classes, reproduced one by one.

Run it with `python -m tests.benchmarks.stock_faults`. It works in temporary directories, with a
PostgreSQL server of its own. It is a demonstration, not a test: a later release may fix a fault, so
it exits 0 whatever it finds. The tests check that our own classes are free of these faults.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tests.benchmarks import postgres_faults, sqlite_faults
from tests.benchmarks.databases import made_schema
from tests.postgres_server import running_server

Where = TypeVar("Where")


def verdict(shows: Callable[[Where], bool], where: Where) -> str:
    try:
        return "shown" if shows(where) else "not shown (mended?)"
    except Exception as error:  # noqa: BLE001  a mended class may refuse in its own way
        return f"not shown (mended?): {error!r}"


def say(number: int, what: str, found: str) -> None:
    sys.stdout.write(f"{number:>2}  {what:<62} {found}\n")
    sys.stdout.flush()


def main() -> None:
    for number, what, on_files in sqlite_faults.FAULTS:
        with TemporaryDirectory() as directory:
            say(number, what, verdict(on_files, Path(directory)))
    with TemporaryDirectory() as directory, running_server(Path(directory)) as server:
        for number, what, on_server in postgres_faults.FAULTS:
            with made_schema(server) as place:
                say(number, what, verdict(on_server, place))


if __name__ == "__main__":
    main()
