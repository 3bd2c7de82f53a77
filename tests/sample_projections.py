"""Projections for the tests: sales of each session, and what each profile spends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace as changed

from projections import Column, Projection, Rows
from sessions.events import (
    ItemAdded,
    ItemRemoved,
    ProfileChanged,
    QuantityChanged,
    SessionClosed,
    SessionOpened,
)
from sessions.views.installed import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessions.recorded import Recorded
    from sessions.sql.head import Mode

V = TypeVar("V")

BAD = "bad"
"""The item on which the fold of sales fails."""


class Line(msgspec.Struct, frozen=True):
    """Units of an item that were sold, and when the session was closed."""

    sku: str
    units: int
    closed: datetime | None = None


class Sales(msgspec.Struct, frozen=True):
    """What a session sells."""

    total: Decimal = Decimal(0)
    lines: tuple[Line, ...] = ()


def sell(view: Sales | None, recorded: Recorded) -> Sales:
    """A fold that never fails."""
    before = view or Sales()
    match recorded.event:
        case ItemAdded(position=at, item=item, quantity=more, line_quantity=units):
            lines = list(before.lines)
            lines[at : at + 1] = [Line(item.sku, units)]
            return changed(before, lines=tuple(lines), total=before.total + item.price * more)
        case ItemRemoved(position=at, item=item, quantity=units):
            lines = [*before.lines[:at], *before.lines[at + 1 :]]
            return changed(before, lines=tuple(lines), total=before.total - item.price * units)
        case QuantityChanged(position=at, quantity=units):
            lines = list(before.lines)
            lines[at] = changed(lines[at], units=units)
            return changed(before, lines=tuple(lines))
        case SessionClosed():
            lines = [changed(line, closed=recorded.at) for line in before.lines]
            return changed(before, lines=tuple(lines))
        case _:
            return before


def refuse(view: Sales | None, recorded: Recorded) -> Sales:
    """The same fold before it was fixed: it fails on one item."""
    if isinstance(recorded.event, ItemAdded) and recorded.event.item.sku == BAD:
        message = "a bad item"
        raise ValueError(message)
    return sell(view, recorded)


def _lines(view: Sales) -> list[tuple[object, ...]]:
    return [(line.sku, line.units, line.closed) for line in view.lines]


SALES = Projection(
    name="sales",
    version=1,
    view=Sales,
    fold=refuse,
    key=Column("session_id", "id"),
    columns=(Column("total", "money"),),
    rows=(
        Rows(
            "sold_lines",
            (Column("sku", "id"), Column("units", "integer"), Column("closed", "time", True)),  # noqa: FBT003  nullable
            key=("sku",),
            of=_lines,
            indexes=(("application_id", "sku"),),
        ),
    ),
)
MENDED = replace(SALES, fold=sell)


class Spend(msgspec.Struct, frozen=True):
    """How many sessions a profile has, and how many came and went."""

    opened: int = 0
    came: int = 0
    gone: int = 0


def profiles(recorded: Recorded) -> Sequence[str]:
    """The profiles that an event touches."""
    match recorded.event:
        case SessionOpened(profile_id=profile):
            return (profile,)
        case ProfileChanged(old_profile_id=old, profile_id=new):
            return (old, new)
        case _:
            return ()


def count(view: Spend | None, recorded: Recorded) -> Spend:
    """A profile does not know which of the two it is: it only counts that a session moved."""
    before = view or Spend()
    match recorded.event:
        case SessionOpened():
            return changed(before, opened=before.opened + 1)
        case _:
            return changed(before, came=before.came + 1)


SPEND = Projection(
    name="spend",
    version=1,
    view=Spend,
    fold=count,
    keys=profiles,
    key=Column("profile_id", "id"),
    types=(SessionOpened, ProfileChanged),
    columns=(Column("opened", "integer"), Column("came", "integer")),
)


def inline(*projections: Projection[Any]) -> tuple[Projection[Any], ...]:
    """The installed projections, and others that are inline."""
    return in_mode("inline", *projections)


def followed(*projections: Projection[Any]) -> tuple[Projection[Any], ...]:
    """The installed projections, and others that are followed."""
    return in_mode("followed", *projections)


def in_mode(mode: Mode, *projections: Projection[Any]) -> tuple[Projection[Any], ...]:
    """The installed projections, and others in a mode."""
    return (*installed(), *[replace(each, mode=mode) for each in projections])


def with_fold(fold: Callable[[Any, Recorded], Any], **options: Any) -> Projection[Any]:
    """The sales with another fold."""
    return replace(SALES, fold=fold, **options)


def there(view: V | None) -> V:
    """A view that some event has touched."""
    assert view is not None
    return view
