"""The head: where an application's log ends, and which views the store keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import replace

from sessions.errors import CopyUnfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HEAD = (
    "SELECT (SELECT max(position) FROM events WHERE application_id = ?), "
    "name, build, version, mode, revision "
    "FROM (SELECT 1) AS one LEFT JOIN projections ON status = 'current' ORDER BY name"
)
"""Where an application's log ends, and the current builds: one row per build, or one without."""

CATCH_UP = 1000
"""How many events of others a writer folds into what it holds; more are not worth it."""

COPY = "(copy)"
"""Marks a store as a copy that is not complete yet; no projection can have this name."""

Mode = Literal["inline", "followed", "live"]
"""How a projection is kept: with the command, behind the log, or only folded when it is asked."""


class Build(msgspec.Struct, frozen=True):
    """A version of a projection as the store keeps it, in relations of its own.

    Attributes:
        name: The projection.
        number: What tells it from every other build in the store.
        version: The projection's version.
        mode: How it is kept.
        revision: Raised when its views change otherwise than by following the log.
    """

    name: str
    number: int
    version: int
    mode: Mode
    revision: int

    @property
    def label(self) -> str:
        """What people call it, such as "attachments 1"."""
        return f"{self.name} {self.version}"

    def revised(self) -> Build:
        """The build after its views were changed otherwise than by following the log."""
        return replace(self, revision=self.revision + 1)


class Head(msgspec.Struct, frozen=True):
    """Where an application's log ends, and which views the store keeps."""

    position: int
    views: tuple[Build, ...]

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Head:
        """The head, from the rows of `HEAD`."""
        views = [Build(*row[1:]) for row in rows if row[1] is not None]
        return cls(rows[0][0] or 0, tuple(views))

    @property
    def signature(self) -> str:
        """The views as PostgreSQL compares them (`confirm_writing`)."""
        return ", ".join([f"{v.name} {v.number} {v.mode} {v.revision}" for v in self.views])


def check_whole(current: Iterable[Build]) -> None:
    """Raise if the store with these current builds is the target of a copy that is not complete.

    Raises:
        CopyUnfinished: It is being copied to, or the copy was interrupted.
    """
    if any(each.name == COPY for each in current):
        raise CopyUnfinished
