"""Projections whose views list every event that was folded into them, and what they should be.

So a view shows each skipped or doubled event. `plainly` is the same fold over a log, in a dict.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from projections import Column, Projection, Rows
from sessions.events import ItemAdded, ProfileChanged, SessionOpened

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sessions import SessionStore
    from sessions.recorded import Recorded
    from sessions.sql.tables import Table

POISON, UNSHOWN = "poison", "unshown"
"""A sku and a profile on whose events every fold fails; a sku that no row can be made of."""

_poisonous = True


class PoisonError(ValueError):
    """What the folds raise."""


def mend() -> None:
    """Let the folds succeed on every event from now on."""
    globals()["_poisonous"] = False


def poison() -> None:
    """Let the folds fail on some events from now on."""
    globals()["_poisonous"] = True


def _check(word: str, forbidden: str) -> None:
    if _poisonous and word == forbidden:
        raise PoisonError(word)


class Cart(msgspec.Struct, frozen=True):
    """The view of a session: the events that it is made of, and the units that were added."""

    positions: tuple[int, ...] = ()
    units: dict[str, int] = {}
    amount: Decimal = Decimal(0)

    @property
    def newest(self) -> int:
        return self.positions[-1]


def _cart(view: Cart | None, recorded: Recorded) -> Cart:
    view = view or Cart()
    units, amount, event = view.units, view.amount, recorded.event
    if isinstance(event, ItemAdded):
        sku = event.item.sku
        _check(sku, POISON)
        units = units | {sku: units.get(sku, 0) + event.quantity}
        amount += event.item.price * event.quantity
    return Cart((*view.positions, recorded.position), units, amount)


def _units(view: Cart) -> list[tuple[str, int]]:
    for sku in view.units:
        _check(sku, UNSHOWN)
    return [(sku, units) for sku, units in view.units.items() if units < 20]


CARTS = Projection(
    name="carts",
    version=1,
    view=Cart,
    fold=_cart,
    columns=(Column("newest", "integer"), Column("amount", "money")),
    indexes=(("application_id", "newest"),),
    rows=(Rows("carts_units", (Column("sku"), Column("units", "integer")), ("sku",), _units),),
)


class Profile(msgspec.Struct, frozen=True):
    """The view of a profile: the events that it is made of, and the sessions that it has."""

    positions: tuple[int, ...] = ()
    there: tuple[str, ...] = ()


def _profiles(recorded: Recorded) -> Sequence[str]:
    match recorded.event:
        case SessionOpened(profile_id=new):
            return [new] if new else []
        case ProfileChanged(old_profile_id=old, profile_id=new):
            shared = f"moved {recorded.position % 16}"
            return [profile for profile in (old, new, shared) if profile]
        case _:
            return []


def _profile(view: Profile | None, recorded: Recorded) -> Profile:
    view = view or Profile()
    match recorded.event:
        case SessionOpened(profile_id=new) | ProfileChanged(profile_id=new):
            _check(new, POISON)
        case _:
            pass
    there = sorted({*view.there} ^ {recorded.stream_id})
    return Profile((*view.positions, recorded.position), tuple(there))


def _there(view: Profile) -> list[tuple[str]]:
    return [(session_id,) for session_id in view.there]


PROFILES = Projection(
    name="profiles",
    version=1,
    view=Profile,
    fold=_profile,
    keys=_profiles,
    types=(SessionOpened, ProfileChanged),
    rows=(Rows("profiles_there", (Column("session_id", "id"),), ("session_id",), _there),),
)


def named(projection: Projection[Any], name: str, mode: Any) -> Projection[Any]:
    """The same projection under another name."""
    rows = [msgspec.structs.replace(rows, name=f"{name}_rows") for rows in projection.rows]
    return replace(projection, name=name, rows=tuple(rows), mode=mode)


@dataclass
class Plain:
    """What a log is folded into: views, rows, and parked keys."""

    views: dict[str, Any] = field(default_factory=dict)
    rows: set[tuple[Any, ...]] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)


def plainly(
    projection: Projection[Any],
    log: Iterable[Recorded],
    skipped: Collection[tuple[str, int]] = (),
) -> Plain:
    """Fold a log, one event after the other."""
    plain, (rows,) = Plain(), projection.rows
    for recorded in log:
        for key in map(str, projection.touched(recorded)):
            if key in plain.waiting or (key, recorded.position) in skipped:
                continue
            try:
                view = projection.fold(plain.views.get(key), recorded)
                list(rows.of(view))
            except PoisonError:
                plain.waiting[key] = recorded.position
            else:
                plain.views[key] = view
    plain.rows = {(key, *row) for key, view in plain.views.items() for row in rows.of(view)}
    return plain


def wrong(store: SessionStore, projection: Projection[Any], log: Iterable[Recorded]) -> set[Any]:
    """The keys and the rows of stored views that are not the plain fold of the log."""
    plain, storage, (rows,) = plainly(projection, log), projection.storage, projection.rows
    views = {row[1]: storage.from_row(row[1:]) for row in _rows(store, storage.table)}
    found = {row[1:] for row in _rows(store, rows.table(projection.key))}
    keys = views.keys() | plain.views.keys()
    different = {key for key in keys if views.get(key) != plain.views.get(key)}
    return different | (found ^ plain.rows)


def _rows(store: SessionStore, table: Table) -> list[tuple[Any, ...]]:
    """The rows of the store's application."""
    return [row for row in store.query(table.select()) if row[0] == store.application_id]
