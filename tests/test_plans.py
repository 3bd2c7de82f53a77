"""What a writer looks for under the lock is found by an index, whatever the planner knows."""

from __future__ import annotations

from typing import Any

import msgspec

from projections.customer_session import TABLE
from sessions import OpenSession, SessionStore

NOBODY = ["x", "y", "z"]


def test_a_server_without_statistics_reads_nothing_but_what_is_looked_for(
    postgres_url: str,
) -> None:
    with SessionStore.open(postgres_url) as store:
        with store.batch():
            for name in map(str, range(300)):
                store.execute(name, OpenSession(profile_id=name), idempotency_key=name)
        recorder = store.recorder
        views = TABLE.select_each(
            ["session_id"], 3, recorder.database.dialect, "application_id = ?"
        )

        for sql, parameters in (
            recorder.streams("session", NOBODY),
            recorder.answers(NOBODY),
            *recorder.claims.asks([(limit, "holder") for limit in NOBODY]),
            (views, (*NOBODY, store.application_id)),
        ):
            ((plan,),) = store.query(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)

            assert rows_read(msgspec.json.decode(plan)[0]["Plan"]) == 0, sql


def rows_read(node: dict[str, Any]) -> float:
    """How many rows a plan has read of relations and indexes, those that it left out too."""
    is_scan = "Relation Name" in node or "Index Name" in node
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows = sum(node.get(name, 0) for name in names) * node["Actual Loops"] if is_scan else 0
    return float(rows) + sum(map(rows_read, node.get("Plans", [])))
