"""Measures what is the same on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from tests.benchmarks.crowd import crowd
from tests.benchmarks.databases import Database, postgres_at, sqlite_in, sqlite_url
from tests.benchmarks.following import follow
from tests.benchmarks.measuring import Row
from tests.benchmarks.on_postgres import one_caller, read_log
from tests.benchmarks.scale import Scale
from tests.benchmarks.verifying import verify_growth
from tests.postgres_server import new_schema

Say = Callable[[str], None]


def both(directory: Path, server: str, scale: Scale, say: Say) -> Iterator[Row]:
    """The rows of SQLite, and those of a PostgreSQL server."""
    _check_durable(server)
    yield from _alike(sqlite_in(directory / "both"), scale, say)
    with postgres_at(server) as database:
        say("PostgreSQL: one caller")
        yield from one_caller(database, scale.turns)
        yield from _alike(database, scale, say)
        say("PostgreSQL: the log")
        yield from read_log(database, scale.turns)
    say("verify")
    urls = sqlite_url(directory / "many.db"), sqlite_url(directory / "few.db")
    yield verify_growth("SQLite", urls, scale.verified)
    with new_schema(server) as many, new_schema(server) as few:
        yield verify_growth("PostgreSQL", (many, few), scale.verified)


def _alike(database: Database, scale: Scale, say: Say) -> Iterator[Row]:
    yield from crowd(database, scale.turns, say)
    say(f"{database.name}: followers")
    yield from follow(database, scale.commits)


def _check_durable(server: str) -> None:
    with psycopg.connect(server) as connection:
        for setting in (b"fsync", b"full_page_writes", b"synchronous_commit"):
            assert connection.execute(b"SHOW " + setting).fetchall() == [("on",)], setting
