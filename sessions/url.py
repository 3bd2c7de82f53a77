"""The URLs that name a store."""

from __future__ import annotations

import os
import re
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sessions.errors import InvalidURL
from sessions.exits import close_at_exit
from sessions.sql.shown_url import POSTGRES, without_password
from sessions.sqlite import SqliteDatabase
from sessions.sqlite.connections import IN_MEMORY, MEMORY

if TYPE_CHECKING:
    from sessions.sql.database import Database

_UNICODE = "the name of its file must be Unicode text"
_EXTRA = "it needs psycopg: pip install 'customer-sessions[postgres]'"


def database_of(url: str, *, lock_timeout: float) -> Database:
    """The database that a URL names.

    Raises:
        InvalidURL: No store can be at this URL.
    """
    if not isinstance(url, str):
        raise InvalidURL(url=type(url).__name__, rule="a URL is a str")
    if url.startswith(POSTGRES):
        try:
            from sessions.postgres import PostgresDatabase  # noqa: PLC0415  psycopg is an extra
        except ImportError as error:
            raise InvalidURL(url=without_password(url), rule=_EXTRA) from error
        database = PostgresDatabase(url, lock_timeout=lock_timeout)
        close_at_exit(database)  # its pool waits for threads that do nothing any more, for seconds
        return database
    return SqliteDatabase(path_of(url), lock_timeout=lock_timeout)


def path_of(url: str) -> str:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, or `MEMORY`.

    Raises:
        InvalidURL: No store can be at this URL.
    """
    if url in {"memory:", "memory://"}:
        return MEMORY
    scheme, separator, rest = url.partition(":///")
    try:
        name = re.sub("^/+", "/", unquote(rest, errors="strict"))
    except UnicodeDecodeError:
        raise InvalidURL(url=without_password(url), rule=_UNICODE) from None
    if scheme != "sqlite" or not separator:
        rule = "it must begin with sqlite:/// or postgresql://, or be memory:"
    elif rest == IN_MEMORY:
        rule = "the URL of a store in memory is memory:"
    elif "?" in rest:
        rule = "a file takes no options; write a ? in its name as %3F"
    else:
        rule = _rule_broken_by(name)
    if rule:
        raise InvalidURL(url=without_password(url), rule=rule)
    return os.path.realpath(name)  # SQLite's files are beside it, and leases are by its name


def _rule_broken_by(name: str) -> str:
    """Why there can be no store in a file of this name; "" if there can."""
    try:
        name.encode()
        if not name or "\0" in name:
            return "it names no file: a file name must not be empty or contain U+0000"
        path = Path(os.path.realpath(name))
        if _is_directory(path):
            return "it names a directory, not a file"
        if not _is_directory(path.parent):
            return f"the directory {path.parent} does not exist"
    except UnicodeEncodeError:
        return _UNICODE
    except OSError as error:
        return f"the operating system refuses it: {error.strerror}"
    return ""


def _is_directory(path: Path) -> bool:
    """Whether a path is a directory's; unlike `Path.is_dir`, it tells what the system refuses.

    Raises:
        OSError: The process may not look there, a name is too long, or links form a circle.
    """
    try:
        return S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
