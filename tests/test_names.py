"""Names that people may give to relations and columns are names on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from projections import Column, Projection, Rows, rebuild, verify
from sessions import CloseSession, OpenSession
from sessions.sql.creating import created
from sessions.sql.inserting import Insert
from sessions.views.names import RESERVED, check_table
from tests.conftest import add
from tests.sample_projections import Sales, inline, sell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions import SessionStore
    from tests.conftest import OpenStore

pytestmark = pytest.mark.no_cover

ON_SQLITE = "autoincrement glob indexed pragma query raise regexp rowid virtual"
"""Words of SQLite that PostgreSQL does not have."""

_TYPES = (
    "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace "
    "AND typtype = 'b' AND typname ~ '^[a-z]' AND typname !~ '^pg_'"
)


@pytest.fixture(scope="module")
def keywords(postgres: str) -> dict[str, str]:
    """All words of SQL, and of which sort each is on PostgreSQL: R and T are no names."""
    with psycopg.connect(postgres) as connection:
        sorts = connection.execute("SELECT word, catcode FROM pg_get_keywords()").fetchall()
        types = connection.execute(_TYPES).fetchall()
    return {**dict.fromkeys([*ON_SQLITE.split(), *[name for (name,) in types]], "-"), **dict(sorts)}


def test_no_word_that_is_reserved_is_a_name(keywords: dict[str, str]) -> None:
    assert {word for word, sort in keywords.items() if sort in "RT"} - RESERVED == set()


def numbers(names: Sequence[str], of: str) -> Rows[Sales]:
    """Rows for the items that were sold, with a number in each of some columns."""
    return Rows(
        of,
        tuple([Column(name, "integer") for name in names]),
        key=(names[0],),
        of=lambda view: [(number, *[9] * (len(names) - 1)) for number, _ in enumerate(view.lines)],
        indexes=(("application_id", names[-1]),),
    )


def test_any_other_word_may_be_the_name_of_a_column(
    open_store: OpenStore, keywords: dict[str, str]
) -> None:
    words = sorted(keywords.keys() - RESERVED)
    rows = [numbers([*words[first:], *words[:first]], f"with_{first}") for first in range(3)]
    key = Column("session_id", "id")
    sold = Projection(name="sold", version=1, view=Sales, fold=sell, key=key, rows=tuple(rows))

    store = open_store(projections=inline(sold))
    store.execute_many("a", [OpenSession(), add("x"), add("y")])
    store.execute("a", add("z"))
    store.execute("a", CloseSession())

    assert rebuild(store, names=["sold"]).switched
    assert verify(store) == []


def test_any_other_word_may_be_the_name_of_a_relation(
    store: SessionStore, keywords: dict[str, str]
) -> None:
    store.make()
    database = store.recorder.database
    dialect = database.dialect
    with database.writing() as connection:
        for word in sorted(keywords.keys() - RESERVED):
            table = numbers(["number"], word).table(Column("key", "id"))
            check_table(table)
            for statement in created(table, dialect):
                connection.execute(statement)
            Insert(table, dialect, table.upsert(dialect))(connection, [(1, "a", 1), (1, "a", 2)])
            database.rename(connection, word, f"{word}_build_2")
            database.rename(connection, f"{word}_build_2", word)
            second = connection.execute(table.select(table.where_key(dialect)), (1, "a", 2))
            assert second.fetchall() == [(1, "a", 2)]
            connection.execute(f"DROP TABLE {word}")
