"""The sessions that a writer holds in memory, and whether each is proved to be current."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from sessions.events import SESSION
from sessions.session import Session, evolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sessions.recorded import Recorded

_SESSIONS = 1024


class Held(msgspec.Struct, frozen=True, gc=False):
    """A session and where its stream ends: version and position; None before it begins."""

    session: Session | None = None
    version: int = 0
    position: int = 0

    def after(self, recorded: Recorded) -> Held:
        """The session after the next event of its stream."""
        session = evolve(self.session, recorded.event, recorded.at)
        return Held(session, recorded.version, recorded.position)


_UNSEEN = (-1, Held())


class Memory:
    """The sessions used last, each with the epoch in which it was seen.

    Events that others record are folded in as they come. If it is not known what others recorded, a
    new epoch begins: a session of an older epoch has to be brought up to date with the events after
    its version.

    Attributes:
        generation: How often it has forgotten everything: what was asked for because of what it
            held before that is of no use.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[int, Held]] = OrderedDict()
        self._epoch = 0
        self.generation = 0

    def begin_epoch(self) -> None:
        """Others may have written: no held session is proved to be current any more."""
        self._epoch += 1

    def forget(self) -> None:
        """Hold nothing: the log is no longer the same one."""
        self._held.clear()
        self.generation += 1

    def last_seen(self, session_id: str) -> tuple[Held, bool]:
        """The session as it was last seen, and whether that is proved to be current."""
        epoch, held = self._held.get(session_id, _UNSEEN)
        return held, epoch == self._epoch

    def touched_by(self, rows: Sequence[Sequence[Any]]) -> set[int]:
        """Of rows of a log, the positions of those that belong to held sessions."""
        held = self._held
        return {row[0] for row in rows if row[2] in held and row[1] == SESSION}

    def catch_up(self, recorded: Recorded) -> None:
        """Fold in an event that another writer recorded; once, however often it comes."""
        epoch, held = self._held.get(recorded.stream_id, _UNSEEN)
        is_proved = recorded.category == SESSION and epoch == self._epoch
        if is_proved and recorded.version > held.version:
            self._held[recorded.stream_id] = (epoch, held.after(recorded))

    def hold(self, states: Mapping[str, Held]) -> None:
        """Hold sessions as they are now."""
        for session_id, held in states.items():
            if held.session is not None:
                self._held[session_id] = (self._epoch, held)
                self._held.move_to_end(session_id)
        while len(self._held) > _SESSIONS:
            self._held.popitem(last=False)
