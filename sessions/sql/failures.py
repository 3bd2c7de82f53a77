"""Turns the errors of a database into the store's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from sessions.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Sequence


class Failures(ABC):
    """A context manager that turns a database's errors into the store's.

    Attributes:
        kind: The class of the database's errors.
        database: What the database is called.
        least: The oldest version of it that the library is tried with.
    """

    kind: type[Exception]
    database: str
    least: tuple[int, ...]

    def __init__(self, path: str, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.kind):
            raise self.of(error) from error

    def check_version(self, found: Sequence[int]) -> None:
        """Raise for a version of the database that the library is not tried with.

        Raises:
            StorageFailed: It is older.
        """
        if tuple(found) < self.least:
            least, this = (".".join(map(str, version)) for version in (self.least, found))
            reason = f"{self.database} {least} or newer is needed, and this is {this}"
            raise StorageFailed(path=self._path, reason=reason)

    @abstractmethod
    def of(self, error: Any) -> Exception:  # noqa: ANN401  each database has its own
        """The store's error for one of the database's."""
