"""Whatever a signal's handler raises while psycopg waits for the server, the store goes on."""

from __future__ import annotations

import threading
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import psycopg
import psycopg_pool
import pytest

from projections.verifying.verify import verify
from sessions import OpenSession, SessionStore
from tests.conftest import add
from tests.postgres_line import Line
from tests.test_interrupted_anywhere import batch, execute, soon
from tests.waiting import patiently

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions.postgres.connection import PostgresConnection
    from sessions.sql.connection import Connection


class SoftTimeLimitError(Exception):
    """What the handler of a soft time limit raises."""


class Waits:
    """Psycopg's waiting for the server, which is interrupted once in the thread of a test.

    Attributes:
        came: Whether it was.
    """

    def __init__(self, wait: Callable[..., Any]) -> None:
        self._wait = wait
        self._left = 0
        self._raises: type[BaseException] = SoftTimeLimitError
        self._early = False
        self.came = False

    def interrupt(self, number: int, raises: type[BaseException], *, early: bool) -> None:
        self._left, self._raises, self._early, self.came = number, raises, early, False

    def go_on(self) -> None:
        self._left = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        is_mine = threading.current_thread() is threading.main_thread()
        self._left -= is_mine
        comes = is_mine and self._left == 0
        self.came |= comes
        if comes and self._early:
            raise self._raises
        answers = self._wait(*args, **options)
        if comes:
            raise self._raises
        return answers


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits(psycopg.waiting.wait)
    monkeypatch.setattr(psycopg.waiting, "wait", waits)
    return waits


def many(store: SessionStore, session: str) -> None:
    store.execute_many(session, [OpenSession(), add()], idempotency_key=session)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg's own
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("raises", [KeyboardInterrupt, SystemExit, SoftTimeLimitError])
@pytest.mark.parametrize("how", [execute, many, batch])
def test_an_interrupt_while_the_server_works_reaches_the_caller_and_nobody_waits_for_ever(
    postgres_url: str,
    waits: Waits,
    how: Callable[[SessionStore, str], None],
    raises: type[BaseException],
    early: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    with SessionStore.open(f"{postgres_url}&pool=2", lock_timeout=3) as store:
        store.execute("before", OpenSession())

        for number in count(1):
            session = f"interrupted {number}"
            waits.interrupt(number, raises, early=early)
            try:
                how(store, session)
            except raises:
                assert waits.came
            else:
                assert not waits.came, f"nobody heard of interrupt {number}"
            waits.go_on()
            soon(partial(store.execute, f"after {number}", OpenSession()), number)
            how(store, session)
            assert [recorded.version for recorded in store.events(session)][:1] == [1]
            if not waits.came:
                break

        assert verify(store) == []


def test_connections_that_an_interrupt_took_out_of_the_pool_are_replaced(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(f"{postgres_url}&pool=2", lock_timeout=3) as store:
        store.execute("before", OpenSession())
        getconn = psycopg_pool.ConnectionPool.getconn

        def interrupted(*args: Any) -> None:
            getconn(*args).close()
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(psycopg_pool.ConnectionPool, "getconn", interrupted)
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    store.execute("interrupted", OpenSession())

        store.execute("after", OpenSession())
        assert [recorded.stream_id for recorded in store.log()] == ["before", "after"]


def test_an_interrupt_as_a_writer_gives_up_a_new_session_with_the_server_lets_others_write(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Line(postgres_url) as line,
        SessionStore.open(f"{line.url}&pool=2", lock_timeout=3) as store,
    ):
        for number in range(2):  # then it is alone, and does not lock at once
            store.execute(f"before {number}", OpenSession())
        line.cut()
        line.mend()
        assert patiently(lambda: store.position) == 2  # by a new connection

        def end(connection: Connection) -> None:  # noqa: ARG001  as the database's
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(store.recorder.database, "end", end)
        with pytest.raises(KeyboardInterrupt):
            store.execute("interrupted", OpenSession())

        soon(partial(store.execute, "after", OpenSession()), 1)
        assert [each.stream_id for each in store.log()] == ["before 0", "before 1", "after"]


def test_an_interrupt_in_a_snapshot_reaches_its_caller(postgres_url: str) -> None:
    with SessionStore.open(postgres_url) as store:
        database = store.recorder.database

        with (
            pytest.raises(KeyboardInterrupt),
            database.private() as connection,
            database.snapshot(connection),
        ):
            interrupted(cast("PostgresConnection", connection))


def interrupted(connection: PostgresConnection) -> None:
    connection.raw.pgconn.send_query(b"SELECT 1")
    raise KeyboardInterrupt  # before it has the answer
