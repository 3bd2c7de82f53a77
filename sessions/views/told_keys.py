"""The keys of an event, whatever a projection's function returns or raises for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sessions.keys import UNTOLD, Key, is_reserved, misfit
from sessions.kinds import fits
from sessions.views.again import again, check_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.recorded import Recorded
    from sessions.sql.tables import Column


@dataclass(frozen=True)
class ToldKeys:
    """Asks a projection's function for the keys of an event.

    Attributes:
        name: The projection's name.
        column: The column of its keys.
        keys: The function.
    """

    name: str
    column: Column
    keys: Callable[[Recorded], Sequence[Key]]

    def of(self, recorded: Recorded) -> Sequence[Key]:
        """The keys of the views that an event changes, each once.

        `UNTOLD` is the only one if the function raises or does not return a list; a `misfit` stands
        for each key of another kind.
        """
        try:
            return tuple(dict.fromkeys(self._told(recorded)))
        except Exception as error:  # noqa: BLE001  the event's, if it is raised again
            try:
                return tuple(dict.fromkeys(again(partial(self._told, recorded), error)))
            except Exception as second:  # noqa: BLE001  it was raised again
                check_memory(second)
                return (UNTOLD,)

    def _told(self, recorded: Recorded) -> list[Key]:
        """What the function returns for an event.

        Raises:
            Exception: What it raised.
            TypeError: It returned one text, whose characters are no keys.
        """
        keys = self.keys(recorded)
        if isinstance(keys, str | bytes):
            message = f"`keys` of {self.name} returned {keys!r} instead of a list of keys"
            raise TypeError(message)
        return [self.key_of(key) for key in keys]

    def key_of(self, key: Key) -> Key:
        """A key as a plain text or number, or the `misfit` that stands for what cannot be a key.

        Raises:
            TypeError: It cannot be a key of a dict either.
        """
        if not fits(self.column.kind, key) or is_reserved(key):
            return misfit(key)
        return str.__str__(key) if isinstance(key, str) else key

    def check(self, key: Key, recorded: Recorded) -> None:
        """Raise if a key of an event cannot be one, or could not be told.

        Raises:
            Exception: What the function raised, or it did not return a list.
            ValueError: It is not of the kind of the key's column.
        """
        if key == UNTOLD:
            self._told(recorded)
        if is_reserved(key):
            message = f"{self.name}.{self.column.name}: {self.column.kind}, not {key}"
            raise ValueError(message)
