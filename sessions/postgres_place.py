"""Where a store on PostgreSQL is: the URLs that name one."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec
import psycopg

from sessions.errors import InvalidURL
from sessions.url import is_server, without_password

SCHEMA = "customer_sessions"
"""Where a store is, unless its URL says `schema=`."""

POOL_SIZE = 10
"""How many connections a store has at most, unless its URL says `pool=`."""

_LEAST_POOL, _LARGEST_POOL = 2, 1000
_LONGEST_NAME = 64


class Place(msgspec.Struct, frozen=True):
    """Where a store on PostgreSQL is.

    Attributes:
        server: What libpq takes: the URL without the parts that are ours.
        schema: The schema that holds the store.
        pool_size: How many connections there may be at a time.
    """

    server: str
    schema: str = SCHEMA
    pool_size: int = POOL_SIZE

    def __repr__(self) -> str:  # the server's text may hold a password
        return f"Place({self.schema!r}, {self.pool_size!r})"


def place_of(url: str) -> Place:
    """The place that a URL names.

    Raises:
        InvalidURL: libpq does not take it, or `schema` or `pool` makes no sense.
    """
    shown = without_password(url)
    parts = _split(url)
    given = parse_qsl(parts.query, keep_blank_values=True) if parts else []
    rest = urlencode([(n, v) for n, v in given if n not in {"schema", "pool"}], quote_via=quote)
    server = urlunsplit((*parts[:3], rest, "")) if parts else ""
    if not _is_taken(server):
        rule = "postgresql://user@host:port/database?schema=name, with options of libpq"
        raise InvalidURL(url=shown, rule=rule)
    ours = dict(given)
    schema, pool = ours.get("schema", SCHEMA), ours.get("pool", str(POOL_SIZE))
    if not 0 < len(schema.encode()) < _LONGEST_NAME or "\0" in schema or schema[:3] == "pg_":
        rule = f"schema= is a name of at most {_LONGEST_NAME - 1} bytes, not of PostgreSQL's own"
        raise InvalidURL(url=shown, rule=rule)
    if not (pool.isdecimal() and _LEAST_POOL <= int(pool) <= _LARGEST_POOL):
        rule = f"pool= is {_LEAST_POOL} to {_LARGEST_POOL} connections"
        raise InvalidURL(url=shown, rule=rule)
    return Place(server, schema, int(pool))


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url) if is_server(url) else None
    except ValueError:
        return None


def _is_taken(server: str) -> bool:
    """Whether libpq takes it; why not stays unsaid, since its words may show a password."""
    try:
        return bool(server) and bool(psycopg.conninfo.conninfo_to_dict(server))
    except (ValueError, psycopg.Error):
        return False
