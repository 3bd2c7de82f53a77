"""The URLs that name a store on PostgreSQL."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from sessions.errors import InvalidURL
from sessions.sql.shown_url import is_server, shown_part, without_password

SCHEMA = "customer_sessions"
"""The schema of a store, unless its URL says `schema=`."""

POOL_SIZE = 10
"""How many connections a store has at most, unless its URL says `pool=`."""

_OURS = ("schema", "pool")
_NUMBERS = {
    *("connect_timeout", "tcp_user_timeout"),
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
}
_LEAST_POOL, _LARGEST_POOL = 2, 1000
_LONGEST_NAME = 64


class Place(msgspec.Struct, frozen=True):
    """Where a store on PostgreSQL is.

    Attributes:
        server: The URL for libpq, without our own options.
        schema: The schema that holds the store.
        pool_size: How many connections there may be at a time.
    """

    server: str
    schema: str = SCHEMA
    pool_size: int = POOL_SIZE

    def __repr__(self) -> str:  # the server's text may hold a password
        return f"Place({self.schema!r}, {self.pool_size!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # msgspec makes one of all fields
        return [("schema", self.schema), ("pool_size", self.pool_size)]


def place_of(url: str) -> Place:
    """The place that a URL names.

    Raises:
        InvalidURL: libpq does not take it, or `schema` or `pool` is not valid or is given twice.
    """
    shown = without_password(url)
    server, ours = _split(url)
    if not (is_server(url) and _is_taken(server)):
        rule = "it must be postgresql://user@host:port/database?schema=name, with options of libpq"
        unknown = _unknown_options(server)
        if unknown:
            rule = f"libpq has no option {', '.join(unknown)}"
        raise InvalidURL(url=shown, rule=rule)
    schema, pool = ours.get("schema", SCHEMA), ours.get("pool", str(POOL_SIZE))
    if not _is_free_name(schema):
        rule = f"schema= must be a name of 1 to {_LONGEST_NAME - 1} bytes, not PostgreSQL's own"
        raise InvalidURL(url=shown, rule=rule)
    if not (re.fullmatch("[0-9]{1,9}", pool) and _LEAST_POOL <= int(pool) <= _LARGEST_POOL):
        rule = f"pool= must be {_LEAST_POOL} to {_LARGEST_POOL} connections"
        raise InvalidURL(url=shown, rule=rule)
    for name, value in options_of(server).items():
        if name in _NUMBERS and not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value):
            raise InvalidURL(url=shown, rule=f"{name}= must be a whole number")
    return Place(server, schema, int(pool))


def _split(url: str) -> tuple[str, dict[str, str]]:
    """The part of a URL that is libpq's, as it is written, and our own options.

    Raises:
        InvalidURL: One of our own options is given twice, or is no text.
    """
    base, _, query = url.partition("?")
    libpqs: list[str] = []
    ours: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        name, _, value = option.partition("=")
        if unquote(name) in _OURS:
            if unquote(name) in ours:
                rule = f"{unquote(name)}= must be given only once"
                raise InvalidURL(url=without_password(url), rule=rule)
            try:
                ours[unquote(name)] = unquote(value, errors="strict")
            except UnicodeDecodeError:
                rule = f"{unquote(name)}= must be Unicode text"
                raise InvalidURL(url=without_password(url), rule=rule) from None
        else:
            libpqs.append(option)
    return f"{base}?{'&'.join(libpqs)}" if libpqs else base, ours


def _is_free_name(schema: str) -> bool:
    """Whether a schema can have this name."""
    try:
        length = len(schema.encode())
    except UnicodeEncodeError:
        return False
    is_special = "\0" in schema or schema[:3] == "pg_" or schema == "$user"  # not ours then
    return 0 < length < _LONGEST_NAME and not is_special


def _unknown_options(server: str) -> list[str]:
    """The names of options that libpq does not know, as they may be shown."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    options = [option.partition("=") for option in server.partition("?")[2].split("&")]
    names = [unquote(name) for name, is_set, _ in options if is_set]
    return [shown_part(name) for name in names if name not in known]


def _is_taken(server: str) -> bool:
    """Whether libpq takes it; its reason is not told, since it may show a password."""
    try:
        ports = options_of(server).get("port", "").replace(",", "")
    except (ValueError, psycopg.Error):
        return False
    return "\0" not in server and (not ports or ports.isdecimal())


def options_of(server: str) -> dict[str, str]:
    """The options that libpq finds in a URL."""
    return {name: str(value) for name, value in conninfo_to_dict(server).items()}
