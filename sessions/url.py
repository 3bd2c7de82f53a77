"""Where a store is: the URLs that name one."""

from __future__ import annotations

import re
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sessions.errors import InvalidURL
from sessions.sqlite import SqliteDatabase
from sessions.sqlite_connections import MEMORY

if TYPE_CHECKING:
    from sessions.database import Database

_EXTRA = "it needs psycopg: pip install 'customer-sessions[postgres]'"
_PLAIN = re.compile(r"(sqlite:|\w+://)?[\w./-]*")
"""Texts that are no URL, but hold no secret either: a path, or one behind a wrong scheme."""

_HARMLESS = re.compile(r"[\w.,/-]*")
_HOSTS = re.compile(r"((\[[\da-f:.]+\]|[\w./-]*)(:\d{0,5})?(,|$))*", re.IGNORECASE)
_SERVER = re.compile(
    r"(postgres(?:ql)?://)(?:([^:@/?#]*)(?::[^@/?#]*)?(?=@))?(@?[^@/?#]*)(/[^@?#]*)?(\?[^@#]*)?"
)
_POSTGRES = ("postgresql://", "postgres://")
_OPTIONS = {
    *("schema", "pool", "host", "hostaddr", "port", "dbname", "user", "application_name"),
    *("connect_timeout", "sslmode", "sslrootcert", "target_session_attrs"),
}
"""Options whose values may be shown, if they look harmless."""

HIDDEN = "***"


def database_of(url: str, *, lock_timeout: float) -> Database:
    """The database that a URL names.

    Raises:
        InvalidURL: It names no place where a store can be.
    """
    if not isinstance(url, str):
        raise InvalidURL(url=type(url).__name__, rule="a URL is a text")
    if url.startswith(_POSTGRES):
        try:
            from sessions.postgres import PostgresDatabase  # noqa: PLC0415  psycopg is an extra
        except ImportError as error:
            raise InvalidURL(url=without_password(url), rule=_EXTRA) from error
        return PostgresDatabase(url, lock_timeout=lock_timeout)
    return SqliteDatabase(path_of(url), lock_timeout=lock_timeout)


def without_password(url: str) -> str:
    """A URL as it may be shown: in an error, a log line, a repr.

    What has the form that we know is shown without its password, and without whatever may be one
    at a wrong place; of anything else that might hold one, nothing is shown.
    """
    if url.startswith("sqlite:///") or (not url.startswith(_POSTGRES) and _PLAIN.fullmatch(url)):
        return url
    known = _SERVER.fullmatch(url)
    if known is None:
        return HIDDEN
    scheme, user, hosts, path, query = known.groups(default="")
    at, host = hosts[: hosts.startswith("@")], hosts.removeprefix("@")
    if not _HOSTS.fullmatch(unquote(host)):  # behind a port that is none, the rest may be its rest
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


def path_of(url: str) -> str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, or `memory:`.

    Raises:
        InvalidURL: It names no place where a store can be.
    """
    if url in {"memory:", "memory://"}:
        return MEMORY
    scheme, separator, rest = url.partition(":///")
    if scheme != "sqlite" or not separator:
        raise InvalidURL(
            url=without_password(url),
            rule="it begins with sqlite:/// or postgresql://, or is memory:",
        )
    if rest == MEMORY:
        raise InvalidURL(url=without_password(url), rule="a store in memory is memory:")
    if "?" in rest:
        rule = "a file takes no options, and a ? in its name is written %3F"
        raise InvalidURL(url=without_password(url), rule=rule)
    name = re.sub("^/+", "/", unquote(rest))
    rule = _rule_broken_by(name)
    if rule:
        raise InvalidURL(url=without_password(url), rule=rule)
    return str(Path(name).absolute())


def _rule_broken_by(name: str) -> str:
    """Why there can be no store in a file of a name; "" if there can."""
    try:
        name.encode()
        path = Path(name).absolute()
        if not name or "\0" in name:
            return "it names no file"
        if _is_directory(path):
            return "it names a directory, not a file"
        if not _is_directory(path.parent):
            return f"the directory {path.parent} does not exist"
    except UnicodeEncodeError:
        return "it names a file in Unicode text"
    except OSError as error:
        return f"the system refuses it: {error.strerror}"
    return ""


def _is_directory(path: Path) -> bool:
    """Whether a path is a directory's; unlike `Path.is_dir`, it tells what the system refuses.

    Raises:
        OSError: Nobody may look there, a name is too long, or links go round in circles.
    """
    try:
        return S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
