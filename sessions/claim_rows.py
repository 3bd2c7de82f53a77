"""The claims of an application as rows: who holds one on which limit, and how many hold each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sessions import schema
from sessions.claims import Claim, Usage
from sessions.errors import ClaimRefused

if TYPE_CHECKING:
    import sqlite3

    from sessions.sqlite import Query

_OF_LIMIT = "application_id = ? AND limit_name = ?"
_OF_CLAIM = f"{_OF_LIMIT} AND holder = ?"


class ClaimRows:
    """Reads and writes claims; with a prefix, those of relations that are named with it."""

    def __init__(self, application_id: int, prefix: str = "") -> None:
        claims = replace(schema.CLAIMS, name=prefix + schema.CLAIMS.name)
        limits = replace(schema.LIMITS, name=prefix + schema.LIMITS.name)
        self._application_id = application_id
        self._usage = (
            f"SELECT (SELECT used FROM {limits.name} WHERE {_OF_LIMIT}), "
            f"EXISTS (SELECT 1 FROM {claims.name} WHERE {_OF_CLAIM})"
        )
        self._take = f"{claims.insert()} ON CONFLICT DO NOTHING"
        self._count = (
            f"{limits.insert()} ON CONFLICT (application_id, limit_name) "
            "DO UPDATE SET used = used + 1 WHERE ?4 IS NULL OR used < ?4"
        )
        self._release = f"DELETE FROM {claims.name} WHERE {_OF_CLAIM}"
        self._discount = f"UPDATE {limits.name} SET used = used - 1 WHERE {_OF_LIMIT}"
        self._clean = f"DELETE FROM {limits.name} WHERE {_OF_LIMIT} AND used = 0"

    def usage(self, query: Query, limit: str, holder: str) -> Usage:
        """How much of a limit is used, and whether a stream holds a claim on it."""
        of_limit = (self._application_id, limit)
        ((used, held),) = query(self._usage, (*of_limit, *of_limit, holder))
        return Usage(used or 0, bool(held))

    def take(self, connection: sqlite3.Connection, claim: Claim, holder: str) -> None:
        """Let a stream hold a claim; once, however often it takes it.

        Raises:
            ClaimRefused: The limit is used up by others.
        """
        row = (self._application_id, claim.limit, holder)
        if connection.execute(self._take, row).rowcount:
            counted = connection.execute(self._count, (*row[:2], 1, claim.at_most))
            if not counted.rowcount:
                raise ClaimRefused(limit=claim.limit)

    def release(self, connection: sqlite3.Connection, claim: Claim, holder: str) -> None:
        """Let a stream hold a claim no longer."""
        row = (self._application_id, claim.limit, holder)
        if connection.execute(self._release, row).rowcount:
            connection.execute(self._discount, row[:2])
            connection.execute(self._clean, row[:2])
