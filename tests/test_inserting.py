"""Rows are written in as few statements as a database takes them best."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import pytest

from sessions.postgres.connection import Collected, numbered
from sessions.sql.creating import created
from sessions.sql.dialect import POSTGRES
from sessions.sql.inserting import Insert
from sessions.sql.tables import APPLICATION_ID, Column, Table
from tests.postgres_server import new_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

import psycopg

MOST = 65_535  # what a statement of PostgreSQL's takes


def table_of(columns: int) -> Table:
    more = [Column(f"c{number}", "integer") for number in range(columns - 1)]
    return Table("wide", (APPLICATION_ID, *more), key=("application_id", "c0"))


def rows_of(count: int, columns: int) -> Sequence[Sequence[int]]:
    return [[1, number, *[number] * (columns - 2)] for number in range(count)]


@pytest.mark.parametrize("columns", [2, 18, 255, 256, 300, 1600])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 63, 100, 600])
def test_many_rows_are_written_by_few_statements_that_a_server_takes(
    count: int, columns: int
) -> None:
    rows, collected = rows_of(count, columns), Collected()

    Insert(table_of(columns), POSTGRES)(collected, rows)

    values = [parameters for _, parameters in collected.statements]
    assert list(chain.from_iterable(values)) == list(chain.from_iterable(rows))
    assert all(len(each) <= MOST for each in values)
    fewest = -(-count // min(256, MOST // columns))
    assert len(collected.statements) <= 3 * fewest + 4
    assert [numbered(sql)[1] for sql, _ in collected.statements] == list(map(len, values))


def test_the_widest_rows_are_written_on_a_real_server(postgres: str) -> None:
    table, rows = table_of(300), rows_of(600, 300)
    with new_schema(postgres) as url, psycopg.connect(postgres, autocommit=True) as server:
        schema = url.rpartition("schema=")[2]
        server.execute(f"CREATE SCHEMA {schema}".encode())
        server.execute(f"SET search_path = {schema}".encode())
        for statement in created(table, POSTGRES):
            server.execute(statement.encode())
        collected, cursor = Collected(), psycopg.RawCursor(server)

        Insert(table, POSTGRES, table.upsert(POSTGRES))(collected, rows)
        for sql, parameters in collected.statements:
            cursor.execute(numbered(sql)[0].encode(), parameters)

        assert cursor.execute(b"SELECT * FROM wide ORDER BY c0").fetchall() == [*map(tuple, rows)]
