"""The databases, and each side on them.

A `Database` can be sent to another process, which opens the sides itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Identifier

from sessions.postgres.place import Place, place_of
from tests.benchmarks.eventsourcing_side import EventsourcingSide, on_postgres, on_sqlite
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.plain_postgres_side import PlainPostgresSide
from tests.benchmarks.plain_sqlite_side import PlainSqliteSide
from tests.postgres_server import new_schema

PlainSide = PlainSqliteSide | PlainPostgresSide


class Database(NamedTuple):
    name: str
    ours: Callable[[], OursSide]
    stock: Callable[[], EventsourcingSide]
    plain: Callable[[], PlainSide]


def sqlite_in(directory: Path) -> Database:
    directory.mkdir(exist_ok=True)
    return Database(
        "SQLite",
        partial(OursSide, sqlite_url(directory / "ours.db")),
        partial(EventsourcingSide, on_sqlite(directory / "eventsourcing.db")),
        partial(PlainSqliteSide, directory / "plain.db"),
    )


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"


@contextmanager
def postgres_at(server: str) -> Iterator[Database]:
    """Each side has a schema of its own."""
    with new_schema(server) as ours, made_schema(server) as stock, made_schema(server) as plain:
        yield Database(
            "PostgreSQL",
            partial(OursSide, ours),
            partial(EventsourcingSide, on_postgres(stock)),
            partial(PlainPostgresSide, plain),
        )


@contextmanager
def made_schema(server: str) -> Iterator[Place]:
    with new_schema(server) as url:
        place = place_of(url)
        with psycopg.connect(place.server) as connection:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(place.schema)))
        yield place
