"""A cart session in plain SQL: one JSON row a session, changed in place, without a history.

Money stands in the JSON as a string, because a JSON number would come back as a float.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, cast

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
INSERT = "INSERT INTO sessions (id, state, profile_id, updated, doc) VALUES (?, ?, ?, ?, ?)"
UPDATE = "UPDATE sessions SET state = ?, profile_id = ?, updated = ?, doc = ? WHERE id = ?"
SELECT = "SELECT doc FROM sessions WHERE id = ?"


class Item(TypedDict):
    sku: str
    name: str
    price: str
    quantity: int


class Document(TypedDict):
    profile: str
    items: list[Item]
    coupon: str
    discounts: dict[str, str]
    state: str


class PlainSqlSide:
    """One method a command, one durable transaction each, on one connection."""

    def __init__(self, directory: Path) -> None:
        self._db = sqlite3.connect(directory / "plain.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def open(self, session_id: str, profile: str) -> None:
        document = Document(profile=profile, items=[], coupon="", discounts={}, state="open")
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(INSERT, (session_id, *_columns(document)))

    def add_item(self, session_id: str, sku: str, name: str, price: Decimal, quantity: int) -> None:
        with self._changing(session_id) as document:
            document["items"].append(Item(sku=sku, name=name, price=str(price), quantity=quantity))

    def set_quantity(self, session_id: str, position: int, quantity: int) -> None:
        with self._changing(session_id) as document:
            document["items"][position]["quantity"] = quantity

    def apply_coupon(self, session_id: str, coupon: str) -> None:
        with self._changing(session_id) as document:
            document["coupon"] = coupon

    def set_discount(self, session_id: str, label: str, value: Decimal) -> None:
        with self._changing(session_id) as document:
            document["discounts"][label] = str(value)

    def close_session(self, session_id: str) -> None:
        with self._changing(session_id) as document:
            document["state"] = "closed"

    def read(self, session_id: str) -> Document:
        row = self._db.execute(SELECT, (session_id,)).fetchone()
        if row is None:
            raise LookupError(session_id)
        return cast("Document", json.loads(row[0]))

    @contextmanager
    def _changing(self, session_id: str) -> Iterator[Document]:
        # IMMEDIATE takes the write lock before the read, so that no change is lost in between.
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            document = self.read(session_id)
            if document["state"] != "open":
                message = f"session {session_id} is {document['state']}"
                raise ValueError(message)
            yield document
            self._db.execute(UPDATE, (*_columns(document), session_id))


def _columns(document: Document) -> tuple[str, str, str, str]:
    updated = datetime.now(UTC).isoformat()
    doc = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return document["state"], document["profile"], updated, doc
