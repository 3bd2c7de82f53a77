"""The events of a session up to each of its moments, all in the memory of one list."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.recorded import Recorded


class Beginning(Sequence["Recorded"]):
    """The first events of a list. The list may grow behind them; what this shows never changes."""

    __slots__ = ("_length", "_list")

    def __init__(self, events: list[Recorded], length: int) -> None:
        self._list = events
        self._length = length

    def then(self, recorded: Recorded) -> Beginning:
        """These events and one more: in the same list, unless that continues with another event."""
        events, length = self._list, self._length
        if len(events) == length:
            events.append(recorded)
        if events[length] is not recorded:  # another thread may have been faster
            events = [*self, recorded]
        return Beginning(events, length + 1)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Recorded: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Recorded, ...]: ...

    def __getitem__(self, index: int | slice) -> Recorded | tuple[Recorded, ...]:
        within = range(self._length)[index]
        if isinstance(within, int):
            return self._list[within]
        return tuple(map(self._list.__getitem__, within))

    def __iter__(self) -> Iterator[Recorded]:
        return islice(self._list, self._length)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Beginning, tuple)):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[object, ...]:
        return Beginning, (list(self), self._length)
