"""A job: what a caller asks for in one call, on its way to a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sessions.errors import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.commits.answers import Executed, Request
    from sessions.recorded import Recorded


class Attempt(NamedTuple):
    """A late commit (`late_commits.py`), as a job that has events in it knows it.

    Attributes:
        first: The first event of the commit.
        outcome: What the job's caller gets if the log has it.
    """

    first: Recorded
    outcome: list[Executed]


def _nobody() -> None:
    pass


class Job:
    """What a caller asks for, and what comes of it.

    Attributes:
        error: What its caller gets in place of an answer.
        done: Whether there is an answer, or an error.
        attempt: A commit of it that may still come; while there is one, it is decided under the
            lock alone, and only where the log does not have that.
        leads: Whether it has the lead, or is to take it.
        is_leading: Whether a thread leads for it, where a task waits.
        withdrawn: Whether its caller waits no more.
        passes_on: Whether its caller waits at a gate, and wakes the next who is answered.
        wake: Wakes its caller, to get the answer or to lead.
        wake_again: For who was interrupted while it woke a task, which may not be awake.
    """

    error: BaseException | None = None
    done = False
    attempt: Attempt | None = None
    leads = False
    is_leading = False
    withdrawn = False
    passes_on = False
    wake: Callable[[], object] = staticmethod(_nobody)
    wake_again: Callable[[], object] = staticmethod(_nobody)

    def __init__(
        self,
        requests: Sequence[Request],
        key: str | None,
        meta: dict[str, Any],
        *,
        dry_run: bool = False,
    ) -> None:
        self.requests = requests
        self.key = key
        self.meta = meta
        self.dry_run = dry_run
        self.executed: list[Executed] = []

    def finish(self, outcome: list[Executed] | Exception) -> None:
        """Say what came of it."""
        self.attempt = None
        if isinstance(outcome, OutcomeUnknown) and self.key is not None:
            outcome.of_key()
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.executed = outcome
        self.done = True

    def answer(self) -> list[Executed]:
        """What was executed; or else its error is raised."""
        error, self.error = self.error, None  # its traceback leads here: a circle
        try:
            if error is not None:
                raise error
        finally:
            del error
        return self.executed
