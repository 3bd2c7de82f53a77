"""A job: what a caller asks for in one call, on its way to a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.answers import Executed, Request


def _nobody() -> None:
    pass


class Job:
    """What a caller asks for, and what comes of it."""

    error: BaseException | None = None
    done = False
    leads = False
    is_leading = False
    withdrawn = False
    passes_on = False
    wake: Callable[[], object] = staticmethod(_nobody)
    wake_again: Callable[[], object] = staticmethod(_nobody)
    """For who was interrupted while it woke: a task, unlike a gate, may have to be woken anew."""

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
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self.executed = outcome
        self.done = True

    def answer(self) -> list[Executed]:
        """What was executed; or else its error is raised."""
        if self.error is not None:
            raise self.error
        return self.executed
