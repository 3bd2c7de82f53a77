"""What may be asked by SQL: one SELECT, which neither sets nor begins anything."""

from __future__ import annotations

import re
from functools import lru_cache

from sessions.errors import StorageFailed

_SELECT = re.compile(
    r"""
    (?: [\s(]
      | --[^\r\n]*+ (?: \r?\n | $)
      | /\* (?: [^*/] | \*(?!/) | /(?!\*) )*+ \*/
    )*+
    (?: SELECT | WITH | VALUES | EXPLAIN ) \b""",
    re.IGNORECASE | re.VERBOSE,
)
"""What is before it is never read in two ways. Databases differ on a comment within a comment, and
on a line that ends with a mere carriage return: neither is taken."""


@lru_cache(maxsize=512)
def is_select(sql: str) -> bool:
    """Whether a statement begins as a SELECT does.

    One that writes in spite of that is refused by the database. What only sets something (`SET`,
    `PRAGMA`) is not: it would be set for whoever asks next on the same connection.
    """
    return _SELECT.match(sql) is not None


def no_select(path: str, sql: str) -> StorageFailed:
    """What is raised for a statement that is none."""
    return StorageFailed(path=path, reason=f"a query is one SELECT, not {sql!r}")
