"""A line to a PostgreSQL server that can be cut, even at the worst moment."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, quote, urlsplit

from psycopg.conninfo import conninfo_to_dict

from tests.waiting import SOON

if TYPE_CHECKING:
    from types import TracebackType

COMMIT = b"COMMIT"
COMMITTED = b"COMMIT\0"
ROLLBACK = b"ROLLBACK\0"
STARTING = b"SFATAL\0VFATAL\0C57P03\0Mdas Datenbanksystem startet\0\0"
"""What a server says while it is starting up, in whatever language it speaks."""


class Line:
    """Passes on what client and server say, until it is told otherwise.

    Attributes:
        lose_commits: How many times to cut when a client says COMMIT, before the server hears it.
        lose_said: Cut when a client says the first of these, before the server hears it; then wait
            for the next one.
        delay_commits: How many times to cut when a client says COMMIT, and to pass it on later: the
            server hears it once a client has rolled back, and does it before it hears anything
            else.
        lose_answers: How many times to cut when the server says that it has committed, before the
            client hears it.
        lose_ends: How many times to cut when the server says that it has committed, right after
            the client has heard that.
        cuts: How often it was cut in one of these ways.
        turn_away: How many clients that connect to tell that the server is starting up.
    """

    def __init__(self, url: str) -> None:
        schema = parse_qs(urlsplit(url).query)["schema"][0]
        place = conninfo_to_dict(url.replace(f"schema={schema}", ""))
        self._server = place.get("host") or "localhost", int(place.get("port") or 5432)
        self._directory = tempfile.mkdtemp()
        self.url = (
            f"postgresql://{quote(str(place.get('user')))}@/{quote(str(place.get('dbname')))}"
            f"?host={self._directory}&sslmode=disable&gssencmode=disable&schema={schema}"
        )
        self.lose_commits = 0
        self.delay_commits = 0
        self.lose_said: list[bytes] = []
        self.lose_answers = 0
        self.lose_ends = 0
        self.cuts = 0
        self.turn_away = 0
        self._delayed: tuple[socket.socket, bytes] | None = None
        self._coming: socket.socket | None = None
        self._came = threading.Event()
        self._came.set()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.mend()

    def mend(self) -> None:
        """Let clients reach the server."""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{self._directory}/.s.PGSQL.5432")
        self._listening.listen()
        self._start(self._accept, self._listening)

    def cut(self) -> None:
        """Cut all connections, and let no new one through."""
        Path(f"{self._directory}/.s.PGSQL.5432").unlink(missing_ok=True)
        _end(self._listening)
        for end in self._ends:
            _end(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (*self._ends, self._listening):
            end.close()
        shutil.rmtree(self._directory)

    def _start(self, work: object, *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError), listening:
            while True:
                client, _ = listening.accept()
                if self.turn_away:
                    self._turn_away(client)
                    continue
                server = self._connected()
                self._ends += [client, server]
                self._start(self._to_server, client, server)
                self._start(self._to_client, server, client)

    def _turn_away(self, client: socket.socket) -> None:
        with client:
            client.recv(2**16)
            client.sendall(b"E" + (4 + len(STARTING)).to_bytes(4) + STARTING)
        self.turn_away -= 1

    def _connected(self) -> socket.socket:
        host, port = self._server
        if not str(host).startswith("/"):
            return socket.create_connection((str(host), port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while said := client.recv(2**16):
                if COMMIT in said and self.lose_commits:
                    self.lose_commits -= 1
                    self.cuts += 1
                    break
                if COMMIT in said and self.delay_commits:
                    self.delay_commits -= 1
                    self.cuts += 1
                    self._delayed = server, said
                    _end(client)
                    return
                if self.lose_said and self.lose_said[0] in said:
                    self.lose_said.pop(0)
                    self.cuts += 1
                    break
                assert self._came.wait(SOON)
                if ROLLBACK in said and self._delayed is not None:
                    self._came.clear()
                    server.sendall(said)
                    self._coming, late = self._delayed
                    self._delayed = None
                    self._coming.sendall(late)
                else:
                    server.sendall(said)
        _end(client, server)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while said := server.recv(2**16):
                if COMMIT in said and self.lose_answers:
                    self.lose_answers -= 1
                    self.cuts += 1
                    break
                if COMMIT in said and self.lose_ends:
                    self.lose_ends -= 1
                    self.cuts += 1
                    client.sendall(said[: said.index(COMMITTED) + len(COMMITTED)])
                    break
                if server is self._coming:
                    self._came.set()
                client.sendall(said)
        if server is self._coming:  # it was cut before the server answered
            self._came.set()
        _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
