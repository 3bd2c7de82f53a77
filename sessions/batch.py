"""Transactions that many commands of one thread share: a bulk load."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from sessions.writer import DECIDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.answers import Executed
    from sessions.job import Job
    from sessions.transaction import Transaction
    from sessions.writer import Writer

COMMANDS = 1000
"""It commits at least after so many."""

SECONDS = 1.0
"""It commits with the first command after so long."""


class Batch:
    """The transactions that a bulk load shares; see `SessionStore.batch`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._process = os.getpid()
        self._transaction: Transaction | None = None
        self._commands = 0
        self._since = 0.0
        self._broken: BaseException | None = None

    @property
    def is_open(self) -> bool:
        """Whether something is executed and not committed."""
        return self._mine() is not None

    def run(self, job: Job) -> list[Executed]:
        """Decide a job's commands, all or none of them, in the batch's transaction."""
        if self._broken is not None:
            raise self._broken
        transaction = self._mine()
        if transaction is None:
            transaction = self._transaction = self._writer.begin()
            self._commands, self._since = 0, time.monotonic()
        try:
            transaction.prepare(job.requests)
            executed = transaction.run(job.requests, job.key, job.meta, dry_run=job.dry_run)
        except DECIDED:
            raise
        except BaseException as error:
            self._drop(error)
            raise
        self._commands += len(job.requests)
        if self._commands >= COMMANDS or time.monotonic() - self._since > SECONDS:
            self.commit()
        return executed

    def query(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        """All rows of one SELECT, the batch's own writes included."""
        transaction = self._mine()
        if transaction is None:
            raise AssertionError
        try:
            return transaction.query(sql, parameters)
        except BaseException as error:
            self._drop(error)
            raise

    def _drop(self, error: BaseException) -> None:
        """What was executed before is lost with this: nothing may follow as if it were not."""
        self.abandon()
        if self._commands:
            self._broken = error

    def commit(self) -> None:
        """Make what was executed so far durable."""
        transaction, self._transaction = self._mine(), None
        if transaction is not None:
            self._writer.commit(transaction)

    def abandon(self) -> None:
        """Drop what was executed since the last commit."""
        transaction, self._transaction = self._mine(), None
        if transaction is not None:
            self._writer.abandon(transaction)

    def _mine(self) -> Transaction | None:
        if self._process != os.getpid():  # after a fork the transaction is the parent's
            self._process, self._transaction = os.getpid(), None
        return self._transaction
