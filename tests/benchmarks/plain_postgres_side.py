"""The plain SQL side on PostgreSQL."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from sessions.postgres.place import Place
from tests.benchmarks.plain_sql_side import Document, PlainSqlSide, now

TABLE = (
    "CREATE TABLE IF NOT EXISTS sessions (id text PRIMARY KEY, state text NOT NULL, "
    "profile_id text NOT NULL, updated timestamptz NOT NULL, doc jsonb NOT NULL)"
)
INDEX = "CREATE INDEX IF NOT EXISTS sessions_by_profile ON sessions (profile_id)"
INSERT = "INSERT INTO sessions (state, profile_id, updated, doc, id) VALUES (%s, %s, %s, %s, %s)"
UPDATE = "UPDATE sessions SET state = %s, profile_id = %s, updated = %s, doc = %s WHERE id = %s"
SELECT = "SELECT doc FROM sessions WHERE id = %s"
LOCK = "SELECT doc FROM sessions WHERE id = %s FOR UPDATE"


class PlainPostgresSide(PlainSqlSide[psycopg.Connection[Any]]):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._db.execute(TABLE)
        self._db.execute(INDEX)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._place.server, autocommit=True)
        connection.execute("SELECT set_config('search_path', %s, false)", (self._place.schema,))
        assert connection.execute("SHOW synchronous_commit").fetchall() == [("on",)]
        return connection

    def _transaction(self) -> AbstractContextManager[object]:
        return self._db.transaction()

    def _insert(self, session_id: str, document: Document) -> None:
        self._db.execute(INSERT, (*_columns(document), session_id))

    def _update(self, session_id: str, document: Document) -> None:
        self._db.execute(UPDATE, (*_columns(document), session_id))

    def _locked(self, session_id: str) -> Document:
        return self._document(LOCK, session_id)

    def read(self, session_id: str) -> Document:
        return self._document(SELECT, session_id)

    def _document(self, select: str, session_id: str) -> Document:
        row = self._db.execute(cast("Any", select), (session_id,)).fetchone()
        if row is None:
            raise LookupError(session_id)
        return cast("Document", row[0])


def _columns(document: Document) -> tuple[str, str, datetime, Jsonb]:
    return document["state"], document["profile"], now(), Jsonb(document)
