"""What is looked for by an id is found by an index that has it, without statistics."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import CustomerHistories, CustomerSessions
from projections.customer_session import PROJECTION
from projections.pages import applications_of, count_of_events
from sessions import AddItem, OpenSession, SessionStore
from sessions.sql.dialect import POSTGRES
from sessions.sql.head import HEAD
from sessions.views.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sessions.sql.connection import Query, Statement

SESSIONS = 300
FEW = 20
NOBODY = ["x", "y", "z"]

OF_STORE = re.compile(
    r"(?:SCAN|SEARCH) (?:TABLE )?(?:events|answers|claims|limits|attachments|customer_sessions)\b"
)
FOUND = re.compile(r"SCAN (?:(?:TABLE )?_found|SUBQUERY \d+|CONSTANT ROW)$")
"""What goes through the applications that are found, as any version of SQLite says it."""
BY_AN_ID = re.compile(r"\b(?:stream_id|idempotency_key|limit_name|profile_id|session_id)=")


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    with SessionStore.open(url) as opened:
        with opened.batch():
            for name in map(str, range(SESSIONS)):
                opened.execute(name, OpenSession(profile_id=name), idempotency_key=name)
        for name in "123":
            opened.execute(name, AddItem(sku="9696", price=Decimal(1)))
        yield opened


def for_a_commit(store: SessionStore, _: Query) -> list[Statement]:
    recorder = store.recorder
    claims = recorder.claims.asks([(limit, "holder") for limit in NOBODY])
    return [recorder.streams("session", NOBODY), recorder.answers(NOBODY), *claims]


def for_views_that_are_not_held(store: SessionStore, query: Query) -> None:
    views = Views(PROJECTION, store.application_id, store.recorder.database.dialect, build=1)
    views.fold(query, [[*store.events(name)][-1] for name in "123"])


def for_a_customers_sessions(store: SessionStore, _: Query) -> None:
    assert [view.integration_id for view in CustomerSessions(store).of_profile("7")] == ["7"]


def for_a_customers_history(store: SessionStore, _: Query) -> None:
    assert CustomerHistories(store).get("7").profile_id == "7"


@pytest.mark.parametrize(
    "ask",
    [
        for_a_commit,
        for_views_that_are_not_held,
        for_a_customers_sessions,
        for_a_customers_history,
    ],
)
def test_no_more_is_read_than_what_is_looked_for(
    ask: Callable[[SessionStore, Query], list[Statement] | None],
    store: SessionStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query, asked = store.rows, []

    def recording(sql: str, parameters: Sequence[object] = (), **_: object) -> list[Any]:
        asked.append((sql, parameters))
        return query(sql, parameters)

    with monkeypatch.context() as watched:
        watched.setattr(store, "rows", recording)
        asked += ask(store, recording) or []

    assert asked
    for sql, parameters in asked:
        if store.recorder.database.dialect is POSTGRES:
            ((plan,),) = store.query(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
            assert rows_read(msgspec.json.decode(plan)[0]["Plan"]) <= FEW, sql
        elif sql != HEAD:  # the log's end is found by the index of positions
            steps = [step for *_, step in store.query(f"EXPLAIN QUERY PLAN {sql}", parameters)]
            assert [
                step for step in steps if OF_STORE.match(step) and not BY_AN_ID.search(step)
            ] == []


def test_the_applications_are_found_from_one_to_the_next(store: SessionStore, url: str) -> None:
    for application in (7, 322):
        with SessionStore.open(url, application_id=application) as other:
            other.execute("1", OpenSession())
    query, asked = store.recorder.database.query, []

    def recording(sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        asked.append((sql, parameters))
        return query(sql, parameters)

    assert applications_of(recording, PROJECTION.name, "answers", "parked") == [1, 7, 322]
    assert count_of_events(store.recorder.database) == SESSIONS + 3 + 2

    for sql, parameters in asked:
        if store.recorder.database.dialect is POSTGRES:
            ((plan,),) = store.query(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
            assert rows_read(msgspec.json.decode(plan)[0]["Plan"]) <= FEW, sql
        else:
            steps = [step for *_, step in store.query(f"EXPLAIN QUERY PLAN {sql}", parameters)]
            assert [
                step for step in steps if step.startswith("SCAN") and not FOUND.match(step)
            ] == []


def rows_read(node: dict[str, Any]) -> float:
    """How many rows a plan has read of relations and indexes, those that it left out too."""
    is_scan = "Relation Name" in node or "Index Name" in node
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows = sum(node.get(name, 0) for name in names) * node["Actual Loops"] if is_scan else 0
    return float(rows) + sum(map(rows_read, node.get("Plans", [])))
