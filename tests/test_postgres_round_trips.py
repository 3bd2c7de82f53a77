"""What PostgreSQL is asked in one round trip, and what stays prepared on its side."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from projections import verify
from sessions import OpenSession, SessionStore
from sessions.postgres.failures import PostgresFailures
from sessions.postgres.place import place_of
from sessions.postgres.pool import Connections
from sessions.postgres.round_trip import MOST_PREPARED, RoundTrips
from tests.conftest import add

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.postgres.round_trip import Answer, ServerConnection
    from sessions.sql.connection import Statement

PREPARED = "SELECT statement FROM pg_prepared_statements ORDER BY statement"
KINDS = {int: "bigint", bool: "boolean", Decimal: "numeric"}


@pytest.fixture
def raw(postgres_url: str) -> Iterator[ServerConnection]:
    failures = PostgresFailures(postgres_url, 5)
    connections = Connections(place_of(postgres_url), lock_timeout=5, failures=failures)
    with connections.connect() as raw:
        raw.trips.ask([("SET default_transaction_read_only = off", ())])
        yield raw


def ask(raw: ServerConnection, sql: str, *parameters: object) -> Answer:
    (answer,) = raw.trips.ask([(sql, parameters)])
    return answer


def prepared(raw: ServerConnection) -> list[Any]:
    return [sql for (sql,) in ask(raw, PREPARED)]


def test_each_of_several_statements_gets_its_own_answer(raw: ServerConnection) -> None:
    ask(raw, "CREATE TEMPORARY TABLE made (id bigint, what text)")

    both = ("INSERT INTO made VALUES ($1, $2), ($3, $4)", (1, "a", 2**40, None))
    inserted, found, changed = raw.trips.ask(
        [both, ("SELECT * FROM made ORDER BY id", ()), ("DELETE FROM made WHERE id = $1", (1,))]
    )

    assert (inserted.rowcount, changed.rowcount) == (2, 1)
    assert found.fetchall() == list(found) == [(1, "a"), (2**40, None)]


def test_what_answers_with_no_rows_has_none_to_be_fetched(raw: ServerConnection) -> None:
    answer = ask(raw, "SET application_name = 'x'")

    assert answer.rowcount == -1
    with pytest.raises(psycopg.ProgrammingError, match="no rows"):
        answer.fetchall()


@pytest.mark.parametrize("value", [0, 2**20, -(2**62), "", "é 🛒", True, None, Decimal("1.50")])
def test_a_value_comes_back_as_it_went(raw: ServerConnection, value: object) -> None:
    kind = {int: "bigint", str: "text", bool: "boolean", Decimal: "numeric"}.get(
        type(value), "text"
    )

    for _ in range(3):
        assert ask(raw, f"SELECT CAST($1 AS {kind})", value).fetchall() == [(value,)]


def test_nothing_is_asked_in_vain(raw: ServerConnection) -> None:
    assert raw.trips.ask([]) == []


def test_a_statement_that_comes_again_is_prepared_once_for_all_its_values(
    raw: ServerConnection,
) -> None:
    sql = "SELECT $1 + 1"

    for number in (1, 2**20, 2**40):
        assert ask(raw, sql, number).fetchall() == [(number + 1,)]
    again = raw.trips.ask([("SELECT $1 + 2", (1,))] * 3)
    raw.trips.ask([("SELECT $1 + 2", (1,))] * 3)

    assert [answer.fetchall() for answer in again] == [[(3,)]] * 3
    assert prepared(raw) == [sql, "SELECT $1 + 2"]


def test_a_statement_without_values_is_not_worth_preparing(raw: ServerConnection) -> None:
    for _ in range(3):
        ask(raw, "SELECT 1")

    assert prepared(raw) == []


def test_the_statements_that_are_used_least_are_let_go(raw: ServerConnection) -> None:
    often = "SELECT $1 - 1"

    for number in range(MOST_PREPARED + 10):
        ask(raw, often, 1)
        for _ in range(2):
            ask(raw, f"SELECT $1 + {number}", 1)

    left = prepared(raw)
    for _ in range(20):
        ask(raw, "BEGIN")
        ask(raw, "ROLLBACK")
    assert prepared(raw) == left  # what is let go makes no room for more to be
    kept = prepared(raw)
    assert often in kept
    assert f"SELECT $1 + {MOST_PREPARED + 9}" in kept
    assert "SELECT $1 + 0" not in kept
    assert len(kept) <= MOST_PREPARED


def test_after_an_error_nothing_else_is_done_and_the_next_question_is_answered(
    raw: ServerConnection,
) -> None:
    ask(raw, "CREATE TEMPORARY TABLE made (id bigint)")
    insert = "INSERT INTO made VALUES ($1)"

    with pytest.raises(psycopg.errors.DivisionByZero):
        raw.trips.ask([(insert, (1,)), ("SELECT 1 / $1", (0,)), (insert, (2,))])

    assert ask(raw, "SELECT * FROM made").fetchall() == []
    assert raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_statement_that_fails_is_parsed_anew_the_next_time(raw: ServerConnection) -> None:
    sql = "SELECT * FROM made WHERE id < $1"
    ask(raw, "CREATE TEMPORARY TABLE made AS SELECT 1 AS id")
    for _ in range(2):
        assert ask(raw, sql, 9).fetchall() == [(1,)]
    ask(raw, "ALTER TABLE made ADD more text DEFAULT 'x'")

    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
        ask(raw, sql, 9)

    for _ in range(3):
        assert ask(raw, sql, 9).fetchall() == [(1, "x")]
    assert prepared(raw) == [sql]


def test_what_is_let_go_in_a_transaction_that_failed_is_let_go_after_it(
    raw: ServerConnection,
) -> None:
    for _ in range(2):
        ask(raw, "SELECT 1 / $1", 1)
    ask(raw, "BEGIN")
    with pytest.raises(psycopg.errors.DivisionByZero):
        ask(raw, "SELECT 1 / $1", 0)

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        ask(raw, "SELECT $1 + 1", 1)
    ask(raw, "ROLLBACK")

    assert prepared(raw) == []


def test_a_value_that_cannot_be_sent_leaves_the_connection_as_it_was(
    raw: ServerConnection,
) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="cannot adapt"):
        ask(raw, "SELECT $1", object())

    assert ask(raw, "SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("sql", ["COPY pg_type TO STDOUT", "COPY made FROM STDIN"])
def test_a_copy_is_refused_and_ends_the_connection(raw: ServerConnection, sql: str) -> None:
    ask(raw, "CREATE TEMPORARY TABLE made (id bigint)")

    with pytest.raises(psycopg.ProgrammingError, match="COPY"):
        ask(raw, sql)

    assert raw.closed


def test_a_server_that_ends_the_connection_says_why(postgres: str, raw: ServerConnection) -> None:
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (raw.info.backend_pid,))

    with pytest.raises(psycopg.errors.AdminShutdown):
        raw.trips.ask([("SELECT 1", ()), ("SELECT 2", ()), ("SELECT 3", ())])

    assert raw.closed
    with pytest.raises(psycopg.OperationalError):
        ask(raw, "SELECT 1")


def test_more_than_fits_on_the_way_goes_both_ways(raw: ServerConnection) -> None:
    large = "x" * 3_000_000

    answers = raw.trips.ask([("SELECT CAST($1 AS text)", (large,))] * 4)

    assert [answer.fetchall() == [(large,)] for answer in answers] == [True] * 4


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements went to a server in each round trip."""
    counted: list[int] = []
    ask = RoundTrips.ask

    def counting(self: RoundTrips, statements: Sequence[Statement]) -> list[Answer]:
        counted.append(len(statements))
        return ask(self, statements)

    monkeypatch.setattr(RoundTrips, "ask", counting)
    return counted


def test_a_writer_among_others_has_a_command_done_in_two_round_trips(
    postgres_url: str, trips: list[int]
) -> None:
    with SessionStore.open(postgres_url) as mine, SessionStore.open(postgres_url) as other:
        for store, session in [(mine, "m"), (other, "o"), (mine, "n"), (other, "p")]:
            store.execute(session, OpenSession(profile_id="p"))
        trips.clear()

        mine.execute("t", OpenSession(profile_id="p"), idempotency_key="k")

        assert len(trips) == 2
        assert mine.execute("t", OpenSession(profile_id="p"), idempotency_key="k").version == 1
        assert [verify(store) for store in (mine, other)] == [[], []]


def test_a_question_in_a_batch_is_answered_though_its_relation_has_a_column_more(
    postgres_url: str,
) -> None:
    sql = "SELECT * FROM customer_sessions WHERE session_id = ?"
    with SessionStore.open(postgres_url) as store, SessionStore.open(postgres_url) as other:
        store.execute("s", OpenSession())
        for _ in range(2):
            with store.batch():
                store.execute("s", add())
                assert store.query(sql, ["s"])
        with other.recorder.database.writing() as connection:
            connection.execute("ALTER TABLE customer_sessions ADD more text DEFAULT 'x'")

        with store.batch():
            store.execute("s", add())
            ((*_, more),) = store.query(sql, ["s"])
            assert more == "x"
            store.execute("s", add())

        assert store.execute("s", add()).version == 6
        assert verify(store) == []


def test_a_writer_that_is_alone_has_a_command_on_what_it_holds_done_in_one_round_trip(
    postgres_url: str, trips: list[int]
) -> None:
    with SessionStore.open(postgres_url) as store:
        store.execute("s", OpenSession())
        store.execute("s", add())
        trips.clear()

        store.execute("s", add())

        assert len(trips) == 1
