"""Does everything that the store keeps equal what happened?"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from projections.folding import Progress, silent
from projections.known import kept_here
from projections.verifying.first_event import with_first_events
from projections.verifying.verification import Moved, Verification, WithinTransaction
from sessions import rules
from sessions.errors import StorageFailed
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.verifying.difference import Difference
    from sessions.sql.connection import Connection
    from sessions.store import SessionStore


def verify(
    store: SessionStore, progress: Progress = silent, *, limit: int = 1000
) -> list[Difference]:
    """Fold the whole log afresh, and compare everything that the store keeps with the result.

    That is every row of every projection, up to the position that it has reached, and every parked
    key and claim of the application. Others may write meanwhile: all is compared in one snapshot
    of the store. Memory does not grow with the log.

    Args:
        store: The store; it may be opened read-only.
        progress: Called with the number of events done so far, and their total number.
        limit: Stop after this many differences, from 1.

    Returns:
        The differences in the order of the log, each with the first event that is not reflected.
        An empty list means that everything equals the events.

    Raises:
        StoreNotFound: There is nothing to verify.
        CopyUnfinished: The store is being copied to.
        BatchOpen: This thread has a batch open.
        InvalidValue: The limit is not a whole number from 1.
        ViewsDiffer: A projection has columns or relations that its build does not have.
    """
    rules.count("limit", limit)
    store.check_no_batch("verify")
    store.check_made()
    kept.check_whole(store.rows)
    while True:
        before = kept.builds(store.rows, "current")
        try:
            with store.recorder.database.private() as connection:
                verification = Verification(store, connection)
                with suppress(Moved), verification.relations():
                    found = list(islice(verification.differences(progress), limit))
                    return with_first_events(store, found)
        except StorageFailed:
            if kept.builds(store.rows, "current") == before:
                kept.check_columns(store.recorder.database, kept_here(store, before))
                raise  # else a relation is gone, because others have switched


def differences_within(store: SessionStore, connection: Connection) -> Iterator[Difference]:
    """What `verify` would find, within a transaction that has written but not committed.

    The transaction has the lock of everything: nobody else writes, and none is begun inside it.
    """
    verification = WithinTransaction(store, connection)
    with verification.relations():
        yield from verification.differences(silent)
