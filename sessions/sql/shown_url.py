"""A store's URL as it may be shown: without a password, and what may be a misplaced one."""

from __future__ import annotations

import re
from urllib.parse import unquote

_PLAIN = re.compile(r"(sqlite:|\w+://)?[\w./-]*")
"""Texts that are no URL, but hold no secret either: a path, or one behind a wrong scheme."""

_SCHEME = re.compile(r"(file|memory|sqlite):|[a-z][a-z\d.+-]*://", re.IGNORECASE)
"""How URLs of other kinds begin."""

_HARMLESS = re.compile(r"[\w.,/-]*")
_HOSTS = re.compile(r"((\[[\da-f:.]+\]|[\w./-]*)(:\d{0,5})?(,|$))*", re.IGNORECASE)
_SERVER = re.compile(
    r"(postgres(?:ql)?://)(?:([^:@/?#]*)(?::[^@/?#]*)?(?=@))?(@?[^@/?#]*)(/[^@?#]*)?(\?[^@#]*)?"
)
POSTGRES = ("postgresql://", "postgres://")
_OPTIONS = {
    *("schema", "pool", "host", "hostaddr", "port", "dbname", "user", "application_name"),
    *("connect_timeout", "sslmode", "sslrootcert", "target_session_attrs"),
}
"""Options whose values may be shown, if they look harmless."""

HIDDEN = "***"


def without_password(url: str) -> str:
    """A URL as it may be shown: in an error, a log line, a repr.

    A URL of a known form is shown without its password, and without what may be a misplaced one; of
    any other URL that might hold one, only the scheme is shown.
    """
    if url.startswith("sqlite:///") or (not url.startswith(POSTGRES) and _PLAIN.fullmatch(url)):
        return url
    known = _SERVER.fullmatch(url)
    if known is None:
        begins = _SCHEME.match(url)
        return f"{begins[0]}{HIDDEN}" if begins else HIDDEN
    scheme, user, hosts, path, query = known.groups(default="")
    at, host = hosts[: hosts.startswith("@")], hosts.removeprefix("@")
    if not _HOSTS.fullmatch(unquote(host)):  # after a bad port, the rest may be a password's
        named = host.partition(":")[0]
        return f"{scheme}{shown_part(user)}{at}{shown_part(named)}:{HIDDEN}"
    options = "&".join(map(_shown_option, query[1:].split("&")))
    return f"{scheme}{shown_part(user)}{at}{host}{shown_part(path)}{query[:1]}{options}"


def is_server(url: str) -> bool:
    """Whether a URL has the form of a server's, so that it is clear what in it is a password."""
    return _SERVER.fullmatch(url) is not None


def shown_part(part: str) -> str:
    """A part of a URL as it may be shown: whatever looks like a password is hidden."""
    return part if _HARMLESS.fullmatch(unquote(part)) else HIDDEN


def _shown_option(option: str) -> str:
    name, is_set, value = option.partition("=")
    shown = shown_part(value) if unquote(name) in _OPTIONS else HIDDEN
    return f"{shown_part(name)}={shown}" if is_set else option and HIDDEN
