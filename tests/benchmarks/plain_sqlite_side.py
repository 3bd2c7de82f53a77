"""The plain SQL side on SQLite."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from tests.benchmarks.plain_sql_side import Document, PlainSqlSide, now

BUSY_SECONDS = 30
SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    profile_id TEXT NOT NULL,
    updated TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_by_profile ON sessions (profile_id);
"""
INSERT = "INSERT INTO sessions (state, profile_id, updated, doc, id) VALUES (?, ?, ?, ?, ?)"
UPDATE = "UPDATE sessions SET state = ?, profile_id = ?, updated = ?, doc = ? WHERE id = ?"
SELECT = "SELECT doc FROM sessions WHERE id = ?"


class PlainSqliteSide(PlainSqlSide[sqlite3.Connection]):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE takes the write lock before the read, so no change in between is lost.
        connection = self._db
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def _insert(self, session_id: str, document: Document) -> None:
        self._db.execute(INSERT, (*_columns(document), session_id))

    def _update(self, session_id: str, document: Document) -> None:
        self._db.execute(UPDATE, (*_columns(document), session_id))

    def _locked(self, session_id: str) -> Document:
        return self.read(session_id)

    def read(self, session_id: str) -> Document:
        row = self._db.execute(SELECT, (session_id,)).fetchone()
        if row is None:
            raise LookupError(session_id)
        return cast("Document", json.loads(row[0]))


def _columns(document: Document) -> tuple[str, str, str, str]:
    doc = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return document["state"], document["profile"], now().isoformat(), doc
