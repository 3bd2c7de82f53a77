"""What did each event change? A session's view, field by field, before and after."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from projections.customer_session import fold
from sessions.documents import to_json
from sessions.recorded import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sessions.session import Line


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of the view that an event changed.

    Attributes:
        path: The field in the view's JSON, such as `cartItems[0].quantity`. A name that is no
            identifier is quoted: `discounts["spring sale"]`.
        before: Its value before the event; None if there was no such field.
        after: Its value after the event; None if there is no such field.
        added: Whether the field is new: then `before` is not a null.
        removed: Whether the field is gone: then `after` is not a null.
    """

    path: str
    before: Any
    after: Any
    added: bool = False
    removed: bool = False


class Step(msgspec.Struct, frozen=True):
    """An event of a session, and what it changed in the view.

    Attributes:
        recorded: The event in its envelope.
        changes: The fields of the view that it changed.
    """

    recorded: Recorded
    changes: list[Change]

    def to_json(self) -> str:
        """One JSON object: a line of `sessions timeline --json`."""
        return to_json(self.recorded.as_dict() | {"changes": self.changes})


def steps(events: Iterable[Recorded]) -> Iterator[Step]:
    """A step for each event of a session, from the first."""
    view = None
    lines: Sequence[Line] = ()
    before: dict[str, Any] = {}
    for recorded in events:
        view = fold(view, recorded)
        after = msgspec.to_builtins(
            view.customer_session(), builtin_types=(Decimal, datetime), str_keys=True
        )
        for place, (was, line) in enumerate(zip(lines, view.session.lines, strict=False)):
            if was is line:  # a cart may have a thousand lines, and an event changes one
                after["cartItems"][place] = before["cartItems"][place]
        yield Step(recorded, list(_changes("", before, after)))
        before, lines = after, view.session.lines


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:  # noqa: ANN401  JSON
    if before is after:
        return
    match before, after:
        case dict(), dict():
            for name in [*after, *(name for name in before if name not in after)]:
                yield from _changes(
                    _inner(path, name), before.get(name, UNSET), after.get(name, UNSET)
                )
        case list(), list():
            for i in range(max(len(before), len(after))):
                yield from _changes(f"{path}[{i}]", _at(before, i), _at(after, i))
        case _ if repr(before) != repr(after):  # 1, 1.0, true and -0.0 count as different values
            added, removed = before is UNSET, after is UNSET
            yield Change(
                path,
                None if added else before,
                None if removed else after,
                added=added,
                removed=removed,
            )


def _inner(path: str, name: str) -> str:
    if not name.isidentifier():
        return f"{path}[{to_json(name)}]"
    return f"{path}.{name}" if path else name


def _at(values: list[Any], index: int) -> Any:  # noqa: ANN401  JSON
    return values[index] if index < len(values) else UNSET
