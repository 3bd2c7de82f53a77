"""Turns the errors of a database into the store's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self


class Failures(ABC):
    """A context manager that turns a database's errors into the store's.

    Attributes:
        kind: The class of the database's errors.
    """

    kind: type[Exception]

    def __init__(self, path: str, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.kind):
            raise self.of(error) from error

    @abstractmethod
    def of(self, error: Any) -> Exception:  # noqa: ANN401  each database has its own
        """The store's error for one of the database's."""
