"""A job: what a caller asks for in one call, on its way to a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sessions.errors import OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.commits.answers import Executed, Request
    from sessions.recorded import Recorded


class Attempt(NamedTuple):
    """A late commit (`late_commits.py`), as known to a job that has events in it.

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
        attempt: A commit of it that may still come. While there is one, the job is decided only
            under the lock, and only if the log does not have that commit.
        leads: Whether it has the lead, or is to take it.
        is_leading: Whether a thread leads for it, if its caller is a task.
        withdrawn: Whether its caller has stopped waiting.
        passes_on: Whether its caller waits at a gate, and will wake the next answered caller.
        wake: Wakes its caller, to get the answer or to lead.
        wake_again: To be called if `wake` was interrupted: a task may not be awake then.
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
        """Set its outcome."""
        self.attempt = None
        if isinstance(outcome, OutcomeUnknown) and self.key is not None:
            outcome.of_key()
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.executed = outcome
        self.done = True

    def answer(self) -> list[Executed]:
        """Return what was executed, or raise its error."""
        error, self.error = self.error, None  # its traceback refers to this: a cycle
        try:
            if error is not None:
                raise error
        finally:
            del error
        return self.executed
