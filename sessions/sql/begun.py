"""What a writer is given when its transaction has begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sessions.sql.connection import Connection


class Begun(msgspec.Struct, frozen=True):
    """A transaction that has begun.

    Attributes:
        connection: Its connection.
        head: The rows of `HEAD`; None if they are proved to say what is known.
        news: What others wrote since, as rows of `Dialect.event`; `CATCH_UP` of them at most.
        answers: The rows of each SELECT that was to be asked; none, if asking later costs no more.
        is_late: Whether the lock is taken only with the commit.
        session: The number of the session with the server, which later ones exceed: what was known
            before a session began may be of another server, which had events that this one has not.
    """

    connection: Connection
    head: list[Any] | None
    news: Sequence[Any] = ()
    answers: Sequence[list[Any]] = ()
    is_late: bool = False
    session: int = 0
