"""The keys of views, and where events wait that have none, or one of the wrong kind."""

from __future__ import annotations

from typing import TypeAlias

from sessions.kinds import MOST_ID

Key: TypeAlias = str | int
"""What a view is found by: a text or an integer, as the key's column says."""

UNTOLD = "(untold)"
"""Where an event waits whose keys could not be told."""


class Misfit(str):
    """A key that is not of the kind of its column, under which its events wait.

    It says what it is, such as `(str) '7'`: it is neither the number 7 nor any other key.
    """

    __slots__ = ()

    @classmethod
    def of(cls, key: object) -> Misfit:
        """The misfit that a key is; any database can keep it.

        Raises:
            TypeError: It cannot be a key of a dict either.
        """
        hash(key)
        try:
            shown = f" {key!a}"
        except Exception:  # noqa: BLE001  Python does not print a huge number
            shown = ""
        return cls(f"({type(key).__name__}){shown}"[:MOST_ID])
