"""Reading and changing a database behind a store's back, as its owner could."""

from __future__ import annotations

import re
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sessions.errors import StorageFailed
from sessions.sql.dialect import SQLITE
from sessions.url import database_of
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.sql.connection import Connection
    from sessions.sql.database import Database

GUARDS = ("events_refuse_update", "events_refuse_delete")
UNGUARD = "SELECT set_config('session_replication_role', 'replica', true)"

_POSTGRES = (
    (
        "SELECT table_name, column_name, data_type, coalesce(collation_name, ''), is_nullable "
        "FROM information_schema.columns WHERE table_schema = current_schema()"
    ),
    (
        "SELECT replace(indexdef, current_schema(), '') FROM pg_indexes "
        "WHERE schemaname = current_schema()"
    ),
    (
        "SELECT relname, CAST(relreplident AS text) FROM pg_class "
        "WHERE relnamespace = to_regnamespace(current_schema()) AND relkind = 'r'"
    ),
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = to_regnamespace(current_schema())",
)


@contextmanager
def unguarded(database: Database) -> Iterator[Connection]:
    """A transaction in which the log can be changed; after it, it cannot."""
    with database.writing() as connection:
        if database.dialect is not SQLITE:
            connection.execute(UNGUARD)
            yield connection
            return
        for guard in GUARDS:
            connection.execute(f"DROP TRIGGER {guard}")
        yield connection
        for statement in database.dialect.refuse_changes:
            connection.execute(statement)


def opened(url: str) -> closing[Database]:
    """The database at a URL, without a store's checks."""
    return closing(database_of(url, lock_timeout=30))


def dump(url: str, relations: Sequence[str]) -> dict[str, list[Any]]:
    """All rows of some relations."""
    with opened(url) as database:
        return {name: sorted(database.query(f"SELECT * FROM {name}")) for name in relations}


def definitions(url: str) -> list[str]:
    """What a store is made of, without the numbers of builds and the names of indexes."""
    with opened(url) as database:
        if database.dialect is SQLITE:
            rows = database.query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
        else:
            rows = [row for sql in _POSTGRES for row in described(database, sql)]
    made = [re.sub(r"_build_[0-9]+|\"", "", " ".join(row)) for row in rows]
    return sorted(re.sub(r"(?<= INDEX )\w+", "", each) for each in made)


def described(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """What the server says of its relations; it is asked again if one elsewhere was dropped."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        with suppress(StorageFailed):
            return database.query(sql)
    return database.query(sql)


def change(url: str, *statements: str) -> None:
    """Tamper with a store; every statement changes something.

    SQLite 3.34 counts no rows for a DELETE without a condition.
    """
    with opened(url) as database, unguarded(database) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0
