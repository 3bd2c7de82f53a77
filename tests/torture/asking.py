"""Random requests: mixed commands on sessions, profiles and keys that callers share."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from sessions import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CancelSession,
    CartItem,
    CloseSession,
    OpenSession,
    RemoveCoupon,
    RemoveDiscount,
    RemoveItem,
    ReopenSession,
    ReplaceCart,
    ReturnItem,
    ReturnItems,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
    SetQuantity,
)
from tests.torture.journal import DRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from sessions import Command

SESSIONS, PROFILES, KEYS = 8, 5, 150
"""How many callers share at a time; those of earlier rounds are used too."""

LOADED_INTO = 12
"""How many sessions of a round the bulk loads write to."""

PER_SESSION = 6
"""After how many requests of a caller a new session replaces the oldest one."""

_KINDS: dict[str, tuple[int, Callable[[Random, Place], Command]]] = {
    "open": (4, lambda *drawn: _opening(*drawn)),  # noqa: PLW0108  it stands below
    "add": (16, lambda random, _: _adding(random)),
    "quantity": (8, lambda random, _: _quantity(random)),
    "remove": (3, lambda random, _: RemoveItem(position=random.randrange(3))),
    "replace": (3, lambda random, _: ReplaceCart(cart_items=_items(random), total=_total(random))),
    "coupon": (6, lambda random, _: ApplyCoupon(coupon=random.choice("AB"))),
    "no coupon": (2, lambda _, __: RemoveCoupon()),
    "referral": (2, lambda random, _: ApplyReferral(referral=random.choice("RS"))),
    "attributes": (3, lambda random, _: _attributes(random)),
    "identifiers": (2, lambda random, _: SetIdentifiers(identifiers=[random.choice("xy")])),
    "profile": (6, lambda random, at: SetProfile(profile_id=_profile(random, at))),
    "discount": (3, lambda random, _: SetDiscount(label="l", value=Decimal(random.randrange(3)))),
    "no discount": (1, lambda _, __: RemoveDiscount(label="l")),
    "close": (4, lambda _, __: CloseSession()),
    "reopen": (8, lambda _, __: ReopenSession()),
    "return": (3, lambda random, _: _returning(random)),
    "cancel": (1, lambda _, __: CancelSession()),
}
_WEIGHTS = [weight for weight, _ in _KINDS.values()]
_MAKERS = [make for _, make in _KINDS.values()]
_HOW = {"one": 60, "many": 10, "all": 6, DRY: 6}


@dataclass(frozen=True)
class Place:
    """How far a caller has come: the round, and how many requests it has made in it."""

    round_: int
    asked: int


@dataclass(frozen=True)
class Wanted:
    """What a caller wants to ask."""

    how: str
    requests: list[tuple[str, Command]]
    key: str | None = None
    expected: int | None = None


def wanted(random: Random, at: Place) -> Wanted:
    """A request to make in a round, without a key."""
    if random.random() < 0.15:
        return Wanted("one", [(_newest(at), _opening(random, at))])
    how = random.choices(list(_HOW), list(_HOW.values()))[0]
    number = random.randrange(2, 6) if how in {"many", "all"} else 1
    session = _session(random, at)
    requests = [
        (session if how != "all" else _session(random, at), _command(random, at))
        for _ in range(number)
    ]
    if how == "many" and random.random() < 0.5:
        requests[0] = (session, _opening(random, at))
    return Wanted(how, requests)


@lru_cache(4)
def keyed(seed: int, round_: int) -> list[Wanted]:
    """The requests that all callers of a round make, with the same keys."""
    random = Random(f"{seed}/{round_}/keys")
    found: list[Wanted] = []
    while len(found) < KEYS:
        drawn = wanted(random, Place(round_, len(found) * PER_SESSION))
        if drawn.how != DRY:
            found.append(Wanted(drawn.how, drawn.requests, f"r{round_}-k{len(found)}"))
    return found


def loaded_into(round_: int) -> list[str]:
    """The sessions that all bulk loads of a round write to; each loader begins by opening them."""
    return [f"r{round_}-shared{n}" for n in range(LOADED_INTO)]


def one_event(random: Random, round_: int, new: str) -> Wanted:
    """A request that makes one event, once those sessions are open; `new` is an unused id."""
    way = random.random()
    if way < 0.2:
        profile = f"r{round_}-p{random.randrange(PROFILES) + 1}"
        return Wanted("one", [(f"loaded-{new}", OpenSession(profile_id=profile))])
    session = random.choice(loaded_into(round_))
    if way < 0.25:
        return Wanted("one", [(session, SetProfile(profile_id=new))])
    return Wanted("one", [(session, SetAttributes(attributes={"loaded": new}))])


def _command(random: Random, at: Place) -> Command:
    return random.choices(_MAKERS, _WEIGHTS)[0](random, at)


def _earlier(random: Random, at: Place) -> int:
    return random.randrange(at.round_ + 1) if random.random() < 0.1 else at.round_


def _newest(at: Place) -> str:
    return f"r{at.round_}-s{at.asked // PER_SESSION}"


def _session(random: Random, at: Place) -> str:
    newest = at.asked // PER_SESSION
    number = max(0, newest - int(random.random() * SESSIONS))
    return f"r{_earlier(random, at)}-s{number}"


def _profile(random: Random, at: Place) -> str:
    number = random.randrange(PROFILES + 1)
    return f"r{_earlier(random, at)}-p{number}" if number else ""


def _items(random: Random) -> list[CartItem]:
    count = random.randrange(4)
    return [CartItem(sku=random.choice("abc"), price=_price(random)) for _ in range(count)]


def _price(random: Random) -> Decimal:
    return Decimal(random.choice(["1", "9.95", "59.90"]))


def _total(random: Random) -> Decimal | None:
    return random.choice([None, Decimal(42)])


def _opening(random: Random, at: Place) -> OpenSession:
    return OpenSession(
        profile_id=_profile(random, at),
        coupon=random.choice(["", "A", "B"]),
        cart_items=_items(random),
        state="closed" if random.random() < 0.1 else "open",
    )


def _adding(random: Random) -> AddItem:
    attributes = {"a": random.randrange(2)} if random.random() < 0.3 else {}
    return AddItem(
        sku=random.choice("abc"),
        price=_price(random),
        quantity=random.choice([0, 1, 2, 3, 3000]),  # 0 is refused, and 3000 often too many
        attributes=attributes,
    )


def _quantity(random: Random) -> SetQuantity:
    quantity = random.randrange(1, 5)
    if random.random() < 0.3:
        return SetQuantity(sku=random.choice("abc"), quantity=quantity)
    return SetQuantity(position=random.randrange(3), quantity=quantity)


def _attributes(random: Random) -> SetAttributes:
    return SetAttributes(attributes={random.choice("ab"): random.choice([None, 1, 1.5, {"x": []}])})


def _returning(random: Random) -> ReturnItems:
    quantity = random.choice([None, 1, 2])
    return ReturnItems(items=[ReturnItem(position=random.randrange(2), quantity=quantity)])
