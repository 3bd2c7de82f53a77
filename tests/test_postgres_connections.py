"""The store's connections to PostgreSQL, whatever others have set for them."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout

from projections import (
    CustomerSessions,
    Runner,
    StoredProjection,
    parked,
    rebuild,
    status,
    verify,
)
from sessions import (
    ApplyCoupon,
    CloseSession,
    OpenSession,
    OutcomeUnknown,
    PositionNotFound,
    ReopenSession,
    SessionNotFound,
    SessionStore,
    SetProfile,
)
from sessions.errors import (
    Duplicate,
    NotAStore,
    StatementTimeout,
    StorageFailed,
    StoreBusy,
    StoreUnavailable,
)
from sessions.postgres import PostgresDatabase
from sessions.postgres.failures import PostgresFailures
from sessions.postgres.place import place_of
from sessions.postgres.pool import Connections
from sessions.postgres.round_trip import ServerConnection
from sessions.sql.head import CATCH_UP
from tests.conftest import add
from tests.postgres_line import Line
from tests.sample_projections import SPEND, Spend, followed
from tests.tampering import unguarded
from tests.waiting import SOON, come, patiently, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventsourcing.persistence import Subscription

    from sessions import Follower

GUIDE = Path(__file__).parents[1] / "docs" / "how-to" / "run-on-postgresql.md"
INLINE = ("customer_sessions", "attachments")

ODD = "Zoë 漢字 🛒"
"""Text of which LATIN1 has a part only."""


@contextmanager
def new_role(server: str, may: str = "LOGIN", settings: str = "") -> Iterator[str]:
    """A role that may do something, for whose connections something may be set."""
    role = f"role_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} {may}".encode())
        try:
            if settings:
                connection.execute(f"ALTER ROLE {role} SET {settings}".encode())
            yield role
        finally:
            connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER".encode())
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())


def check_that_it_is_read_as_written(url: str) -> None:
    with SessionStore.open(url, projections=followed(SPEND)) as store, Runner(store):
        executed = store.execute("s", OpenSession(profile_id=ODD), metadata={"actor": ODD})
        store.execute("s", add("x"))

        (opened, _) = store.log()
        assert (opened.at, opened.metadata) == (executed.events[0].at, {"actor": ODD})
        session = CustomerSessions(store).get("s")
        assert (session.profile_id, session.created) == (ODD, opened.at)
        spend = StoredProjection(store, SPEND)
        come(spend, executed.position)
        assert spend.get(ODD) == Spend(1)
        assert verify(store) == []


SETTINGS = [("DateStyle", "German"), ("client_encoding", "LATIN1"), ("timezone", "Asia/Tokyo")]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_what_is_set_for_a_role_changes_nothing_that_is_read(
    postgres: str, postgres_url: str, name: str, value: str
) -> None:
    with new_role(postgres, "SUPERUSER LOGIN", f"{name} = '{value}'") as role:
        check_that_it_is_read_as_written(f"{postgres_url}&user={role}")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PGDATESTYLE", "German"), ("PGCLIENTENCODING", "LATIN1"), ("PGTZ", "Japan")],
)
def test_what_is_set_in_the_environment_changes_nothing_that_is_read(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    check_that_it_is_read_as_written(postgres_url)


@pytest.mark.parametrize(
    ("given", "commits"),
    [
        ("off", "on"),
        *[(given, given) for given in ("local", "remote_write", "on", "remote_apply")],
    ],
)
def test_a_commit_waits_for_the_disk_where_a_role_does_not_and_else_as_the_role_does(
    postgres: str, postgres_url: str, given: str, commits: str
) -> None:
    asked = "SELECT current_setting('synchronous_commit')"
    settings = f"synchronous_commit = {given}"
    with new_role(postgres, "SUPERUSER LOGIN", settings) as role:
        url = f"{postgres_url}&user={role}"
        with SessionStore.open(url) as store:
            with store.batch():
                store.execute("s", OpenSession())  # from here it is asked where it is written
                written = store.query(asked)
            read = store.query(asked)
        with psycopg.connect(make_conninfo(postgres, user=role)) as theirs:
            unset = theirs.execute("SHOW synchronous_commit").fetchall()

        assert (unset, written, read) == ([(given,)], [(commits,)], [(commits,)])


@pytest.mark.parametrize(
    ("option", "name"), [("", "customer-sessions"), ("&application_name=till", "till")]
)
def test_the_server_is_told_whose_a_connection_is(
    postgres_url: str, option: str, name: str
) -> None:
    with SessionStore.open(postgres_url + option) as store:
        assert store.query("SELECT current_setting('application_name')") == [(name,)]


def test_a_schema_may_be_called_in_any_script_whatever_the_encoding(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    schema = f"漢字_{uuid4().hex}"
    try:
        check_that_it_is_read_as_written(
            f"{postgres}{'&' if '?' in postgres else '?'}schema={schema}"
        )
    finally:
        utf8 = make_conninfo(postgres, client_encoding="UTF8")
        with closing(psycopg.connect(utf8, autocommit=True)) as connection:
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())


# --- a server that gives no connection


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.DeadlockDetected(), StatementTimeout),
        (psycopg.errors.SerializationFailure(), StatementTimeout),
        (psycopg.errors.QueryCanceled(), StatementTimeout),
        (psycopg.errors.LockNotAvailable(), StoreBusy),
        (psycopg.errors.UniqueViolation(), Duplicate),
        (psycopg.errors.AdminShutdown(), StoreUnavailable),
        (psycopg.errors.CannotConnectNow(), StoreUnavailable),
        (psycopg.errors.TooManyConnections(), StoreUnavailable),
        (psycopg.errors.ConnectionFailure(), StoreUnavailable),
        (psycopg.OperationalError(), StoreUnavailable),
        (psycopg.InterfaceError(), StoreUnavailable),
        (psycopg.errors.DiskFull(), StorageFailed),
        (psycopg.errors.ObjectInUse(), StorageFailed),
        (psycopg.errors.UndefinedTable(), StorageFailed),
        (psycopg.ProgrammingError(), StorageFailed),
    ],
    ids=repr,
)
def test_what_an_error_of_the_server_means(error: psycopg.Error, kind: type[Exception]) -> None:
    assert type(PostgresFailures("the store", 1.0).of(error)) is kind


def test_one_connection_is_enough_to_open_a_store_and_to_use_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    SessionStore.open(postgres_url).close()
    made: list[ServerConnection] = []
    connect = ServerConnection.connect

    def counted(*asked: Any, **options: Any) -> ServerConnection:
        connection = connect(*asked, **options)
        made.append(connection)  # and not the last of them returned: threads make some at once
        return connection

    monkeypatch.setattr(ServerConnection, "connect", counted)
    with SessionStore.open(postgres_url) as store:
        store.execute("s", OpenSession())
        assert store.position == 1
    PostgresDatabase(postgres_url).close()  # before it has asked anything

    assert [raw.closed for raw in made] == [True, True]


def test_a_pool_that_is_used_up_says_so(postgres_url: str) -> None:
    with SessionStore.open(f"{postgres_url}&pool=2", lock_timeout=0.5) as store:
        patiently(lambda: store.execute("s", OpenSession()))
        with ExitStack() as busy:
            for what in "ab":
                patiently(partial(take, busy, store, what))

            in_use = r"reached: all 2 connections are in use"
            with pytest.raises(StoreUnavailable, match=in_use) as no:
                store.query("SELECT 1")
            assert no.value.retry

        assert patiently(lambda: store.query("SELECT 1")) == [(1,)]


def test_a_pool_that_was_used_up_until_just_now_stays(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with patiently(lambda: SessionStore.open(postgres_url, lock_timeout=0)) as store:
        patiently(lambda: store.execute("s", OpenSession()))
        connections = cast("PostgresDatabase", store.recorder.database)._connections
        pool = connections._opened()

        def waited_in_vain(_: float) -> None:
            raise PoolTimeout

        with monkeypatch.context() as patched:
            patched.setattr(pool, "getconn", waited_in_vain)
            with pytest.raises(StoreUnavailable, match="connections are in use"):
                store.query("SELECT 1")

        assert connections._opened() is pool
        assert patiently(lambda: store.query("SELECT 1")) == [(1,)]


def take(busy: ExitStack, store: SessionStore, what: str) -> None:
    """Use a connection of a store."""
    busy.enter_context(store.recorder.database.writing(what))


OPENS = """
import sys
from sessions import SessionStore
SessionStore.open(sys.argv[1], lock_timeout=float(sys.argv[2])).close()
"""


def opened_by_a_process(url: str, lock_timeout: float) -> tuple[int, str]:
    """How a process ends that opens a store, and what it says.

    Not a thread: while libpq pings a server no other one runs.
    """
    command = [sys.executable, "-c", OPENS, url, str(lock_timeout)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SOON)
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("said", [6, 7])
def test_a_server_that_is_starting_up_is_waited_for_by_who_opens_a_store(
    postgres_url: str, said: int
) -> None:
    with Line(postgres_url) as line:
        line.turn_away = said
        assert opened_by_a_process(line.url, SOON) == (0, "")
        assert not line.turn_away


def test_a_server_that_does_not_come_up_is_not_waited_for_for_ever(postgres_url: str) -> None:
    with Line(postgres_url) as line:
        line.turn_away = sys.maxsize
        code, said = opened_by_a_process(line.url, 0.2)
    assert code == 1
    assert "StoreUnavailable" in said
    assert "das Datenbanksystem startet" in said
    assert sys.maxsize - line.turn_away >= 4


def test_a_server_that_is_not_there_is_not_waited_for_by_who_opens_a_store(
    postgres_url: str,
) -> None:
    with Line(postgres_url) as line:
        line.cut()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="No such file"):
            SessionStore.open(line.url, lock_timeout=SOON)
        assert time.monotonic() - began < SOON / 2


@pytest.mark.parametrize("said", [b"client_encoding", b"search_path"])
def test_a_connection_that_is_cut_as_it_is_made_is_made_anew_by_who_opens_a_store(
    postgres_url: str, said: bytes
) -> None:
    with Line(postgres_url) as line:
        line.lose_said = [said] * 3
        with SessionStore.open(line.url) as store:
            assert store.execute("s", OpenSession()).version == 1
        assert line.cuts == 3

        line.lose_said = [said] * 9
        with pytest.raises(StoreUnavailable):
            SessionStore.open(line.url)
        assert line.cuts == 7


@pytest.mark.parametrize(
    ("given", "idle"), [("", 30), ("&keepalives_idle=7", 7), ("&keepalives=0", 30)]
)
def test_a_server_that_is_gone_is_noticed_by_who_waits_for_it(
    postgres_url: str, given: str, idle: int
) -> None:
    with (
        closing(PostgresDatabase(postgres_url + given)) as database,
        closing(database._connections.connect()) as raw,
    ):
        options = raw.info.get_parameters()

    assert int(options["keepalives_idle"]) == idle
    assert (options["keepalives_interval"], options["keepalives_count"]) == ("10", "3")


def test_a_server_that_is_gone_says_why_it_cannot_be_reached(postgres_url: str) -> None:
    with Line(postgres_url) as line, SessionStore.open(line.url, lock_timeout=0.5) as store:
        patiently(lambda: store.execute("s", OpenSession()))
        line.cut()

        for call in (lambda: store.query("SELECT 1"), lambda: store.execute("s", add("x"))):
            until(lambda call=call: "No such file or directory" in refusal(call))  # type: ignore[misc]  # a lambda with a default

        line.mend()
        assert patiently(lambda: store.query("SELECT 1")) == [(1,)]


def refusal(call: Callable[[], object]) -> str:
    """Why a server cannot be reached: a connection that broke may be all that is known at first."""
    with pytest.raises(StoreUnavailable) as unavailable:
        call()
    return str(unavailable.value)


def test_who_asks_a_pool_that_another_thread_has_just_left_is_told_to_ask_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with patiently(lambda: SessionStore.open(postgres_url, lock_timeout=0)) as store:
        connections = cast("PostgresDatabase", store.recorder.database)._connections
        left, opened = connections._opened(), connections._opened
        connections._leave(left)
        seen = iter([left])
        monkeypatch.setattr(connections, "_opened", lambda: next(seen, None) or opened())

        with pytest.raises(StoreUnavailable, match="were lost, and are being") as unavailable:
            store.position  # noqa: B018  it is read from the database
        assert unavailable.value.retry
        assert patiently(lambda: store.position) == 0


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("written", [0, 2, 4])
def test_who_writes_to_another_server_after_a_failover_knows_no_event_that_it_lacks(
    postgres_url: str,
    written: int,
    reads: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    with Line(postgres_url) as line, SessionStore.open(line.url) as survivor:
        survivor.execute("x", OpenSession())
        survivor.execute("x", add("a"))
        survivor.execute("x", add("lost"))
        survivor.execute("lost", OpenSession())
        line.cut()
        with SessionStore.open(postgres_url) as other:
            with unguarded(other.recorder.database) as connection:  # now it is the standby
                connection.execute("DELETE FROM events WHERE position > 2")
            rebuild(other)
            for number in range(written):
                other.execute(f"y{number}", OpenSession())
            line.mend()
            if reads:  # then no connection fails in a command
                assert patiently(lambda: survivor.position) == 2 + written

            with suppress(OutcomeUnknown):  # the log is at a place where a lost commit might come
                survivor.execute("x", add("b"), idempotency_key="k")
            added = survivor.execute("x", add("b"), idempotency_key="k")
            with pytest.raises(SessionNotFound):
                survivor.execute("lost", add("c"))

            assert (added.version, added.position) == (3, 3 + written)
            items = CustomerSessions(other).get("x").cart_items
            assert [item.sku for item in items] == ["a", "b"]
            assert verify(other) == []


@pytest.mark.parametrize("written", [0, 2])
def test_nor_does_it_know_an_event_of_a_session_that_it_last_saw_long_before(
    postgres_url: str, written: int
) -> None:
    with Line(postgres_url) as line, SessionStore.open(line.url) as survivor:
        survivor.execute("x", OpenSession())
        survivor.execute("x", add("a"))
        left = survivor.execute("x", add("lost")).position
        with SessionStore.open(postgres_url) as other:
            with other.batch():
                for number in range(CATCH_UP + 1):
                    other.execute(f"w{number}", OpenSession())
            survivor.execute("z", OpenSession())
            line.cut()
            with unguarded(other.recorder.database) as connection:  # now it is the standby
                connection.execute("DELETE FROM events WHERE position >= ?", (left,))
        with SessionStore.open(postgres_url) as other:
            rebuild(other)
            for number in range(written):
                other.execute(f"y{number}", OpenSession())
            line.mend()

            with suppress(OutcomeUnknown):
                survivor.execute("x", add("b"), idempotency_key="k")
            added = survivor.execute("x", add("b"), idempotency_key="k")

            assert (added.version, added.position) == (3, 3 + written)
            assert verify(other) == []


def test_nor_does_who_writes_to_a_store_that_was_dropped_and_made_anew(postgres_url: str) -> None:
    with SessionStore.open(postgres_url) as survivor:
        for session in "ab":
            survivor.execute(session, OpenSession())
        schema = place_of(postgres_url).schema
        with psycopg.connect(place_of(postgres_url).server) as administrator:
            administrator.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        with SessionStore.open(postgres_url) as other:
            for session in "yz":
                other.execute(session, OpenSession())

            with pytest.raises(SessionNotFound):
                survivor.execute("a", add("x"))

            assert survivor.execute("z", add("x")).version == 2
            assert verify(other) == []


def is_told_of_a_lack(following: Follower | Subscription[Any], store: SessionStore) -> None:
    """Take the newest of four events from a server, which were seen."""
    with unguarded(store.recorder.database) as connection:
        connection.execute("DELETE FROM events WHERE position = 4")
    late = threading.Timer(SOON, following.stop)
    late.start()
    with pytest.raises(PositionNotFound, match="no position 4: its newest is 3"):
        next(following)
    late.cancel()


def test_a_follower_is_told_that_a_server_lacks_events_that_it_has_seen(
    postgres_url: str,
) -> None:
    with SessionStore.open(postgres_url) as store:
        for number in range(4):
            store.execute(f"s{number}", OpenSession())
        for types in ((), ("SessionOpened",)):
            with store.follow(types=types) as follower:
                assert [next(follower).position for _ in range(4)] == [1, 2, 3, 4]
                is_told_of_a_lack(follower, store)
            with SessionStore.open(postgres_url) as other:
                other.execute(f"t{len(types)}", OpenSession())


def test_so_is_a_subscription(postgres_url: str) -> None:
    with SessionStore.open(postgres_url) as store:
        for number in range(4):
            store.execute(f"s{number}", OpenSession())
        with store.recorder.subscribe() as subscription:
            assert [next(subscription).id for _ in range(4)] == [1, 2, 3, 4]
            is_told_of_a_lack(subscription, store)


def test_a_statement_with_more_parameters_than_can_be_sent_is_refused_at_once(
    postgres_url: str,
) -> None:
    with SessionStore.open(postgres_url) as store:
        store.execute("s", OpenSession())
        sql = f"SELECT stream_id FROM events WHERE stream_id IN ({', '.join('?' * 65_536)})"

        with pytest.raises(StorageFailed, match="number of parameters must be between") as failed:
            store.query(sql, ["s"] * 65_536)

        assert not failed.value.retry
        assert store.query(sql.replace("?, ", "", 1), ["s"] * 65_535) == [("s",)]


AWAY = """
CREATE FUNCTION away(one bigint) RETURNS integer LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not connect to server "theirs"' USING ERRCODE = '08001'; END $$
"""
"""Raises what a foreign table does whose server is away."""


@pytest.mark.parametrize(
    ("sql", "reason"),
    [("SELECT ? FROM nowhere", '"nowhere" does not exist'), ("SELECT away(?)", '"theirs"')],
)
def test_a_statement_that_a_server_refuses_is_not_asked_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, sql: str, reason: str
) -> None:
    taken: list[None] = []
    take = Connections.take

    def counted(*given: Any) -> Any:
        taken.append(None)
        return take(*given)

    with SessionStore.open(postgres_url) as store:
        store.execute("s", OpenSession())
        with store.recorder.database.writing() as connection:
            connection.execute(AWAY)
        monkeypatch.setattr(Connections, "take", counted)

        with pytest.raises(StorageFailed, match=reason):
            store.query(sql, [1])

        assert len(taken) == 1


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_store_is_not_made_in_a_database_that_does_not_take_all_text(
    postgres: str, encoding: str
) -> None:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        settings = f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        connection.execute(f"CREATE DATABASE {name} {settings}".encode())
        try:
            url = urlunsplit(urlsplit(postgres)._replace(path=f"/{name}"))
            with pytest.raises(NotAStore, match=f"the encoding {encoding}, but a store needs UTF8"):
                SessionStore.open(url)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


# --- a role that may not


def test_a_role_that_may_not_is_told_what_to_do(postgres: str, postgres_url: str) -> None:
    what_to_do = "grant it to the role, or run `sessions init` or the rebuild as the owner$"
    with new_role(postgres) as role:
        url = f"{postgres_url}&user={role}"
        with pytest.raises(
            StorageFailed, match=rf"permission denied for database \S+: {what_to_do}"
        ):
            SessionStore.open(url)

        SessionStore.open(postgres_url).close()
        with pytest.raises(StorageFailed, match=rf"permission denied for schema \S+: {what_to_do}"):
            SessionStore.open(url)
        with pytest.raises(StorageFailed, match=rf"permission denied for schema \S+: {what_to_do}"):
            SessionStore.open(url, read_only=True)
        with psycopg.connect(postgres, autocommit=True) as connection:
            schema = postgres_url.rpartition("schema=")[2]
            connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())
        with pytest.raises(StorageFailed, match=rf"permission denied for table \S+: {what_to_do}"):
            SessionStore.open(url)


def test_a_role_that_may_not_move_a_store_forward_is_told_what_to_do(
    postgres: str, postgres_url: str
) -> None:
    SessionStore.open(postgres_url).close()
    schema = postgres_url.rpartition("schema=")[2]
    with new_role(postgres) as role:
        with psycopg.connect(postgres, autocommit=True) as connection:
            for statement in (
                f"SET search_path = {schema}",
                "ALTER TABLE parked REPLICA IDENTITY DEFAULT",
                "DELETE FROM migrations WHERE version = 4",
                "INSERT INTO migrations VALUES (3, now())",
                f"GRANT USAGE ON SCHEMA {schema} TO {role}",
                f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}",
            ):
                connection.execute(statement.encode())

        told = "must be owner of table parked: grant it to the role, or run `sessions init` "
        with pytest.raises(StorageFailed, match=told):
            SessionStore.open(f"{postgres_url}&user={role}")

        SessionStore.open(postgres_url).close()
        SessionStore.open(f"{postgres_url}&user={role}").close()


def grants_of_the_page(schema: str, column: int) -> Iterator[str]:
    """What the how-to guide says that a role needs at least, to write (1) or to read only (2)."""
    text = GUIDE.read_text("utf-8").partition("This is what a role needs at least:")[2]
    for row in text.strip().partition("\n\n")[0].splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        on, may = cells[0], ", ".join(re.findall("`(.*?)`", cells[column].partition(";")[0]))
        named = INLINE if "inline" in on else re.findall("`(.*?)`", on)
        names = ", ".join(f"{schema}.{name}" for name in named)
        if may and on == "the schema":
            yield f"GRANT {may} ON SCHEMA {schema} TO "
        elif may and names and "the database" not in on:
            yield f"GRANT {may} ON {'FUNCTION' if 'function' in on else 'TABLE'} {names} TO "


def test_what_the_guide_grants_is_enough_to_write_and_to_read(
    postgres: str, postgres_url: str
) -> None:
    schema = postgres_url.rpartition("schema=")[2]
    SessionStore.open(postgres_url).close()
    with new_role(postgres) as app, new_role(postgres) as reader:
        with psycopg.connect(postgres, autocommit=True) as connection:
            public = f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC"
            connection.execute(public.encode())
            for role, column in ((app, 1), (reader, 2)):
                for grant in grants_of_the_page(schema, column):
                    connection.execute(f"{grant}{role}".encode())

        with SessionStore.open(f"{postgres_url}&user={app}") as store:
            for _ in range(2):
                store.execute("s", OpenSession(profile_id="p"), idempotency_key="k")
            store.execute_many("s", [add("x"), ApplyCoupon(coupon="C"), CloseSession()])
            store.execute_many("s", [ReopenSession(), SetProfile(profile_id="q")])
            assert {each.lag_events for each in status(store)} == {0}
        with SessionStore.open(f"{postgres_url}&user={reader}", read_only=True) as store:
            views = CustomerSessions(store)
            with store.follow() as follower:
                assert [next(follower).position for _ in range(6)] == [1, 2, 3, 4, 5, 6]
            assert (views.get("s").profile_id, views.get("s", version=1).profile_id) == ("q", "p")
            assert len(list(views.timeline("s"))) == len(list(store.events("s"))) == 6
            assert [each.integration_id for each in views.of_profile("q")] == ["s"]
            assert [each.integration_id for each in views.find(state="open")] == ["s"]
            assert {each.lag_events for each in status(store)} == {0}
            assert not parked(store)
            assert verify(store) == []


def test_a_read_that_recovery_breaks_off_can_be_asked_again() -> None:
    broken_off = pg.SerializationFailure("canceling statement due to conflict with recovery")
    error = PostgresFailures("p", 1).of(broken_off)

    assert isinstance(error, StatementTimeout)
    assert error.retry
