"""Arbitrary histories of a session: a command that opens it, and others that may be allowed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st

from sessions import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CancelSession,
    CartItem,
    CloseSession,
    OpenSession,
    Product,
    Refused,
    RemoveCoupon,
    RemoveDiscount,
    RemoveItem,
    RemoveReferral,
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
from sessions.claims import Usage
from sessions.commands import Command
from sessions.decide import Decision, Known, asks, decide
from sessions.session import Session, evolve
from tests.scenario import NOW


class Step(NamedTuple):
    """An allowed command: what it was decided on, and what the decision made of it."""

    command: Command
    known: Known
    before: Session | None
    decision: Decision
    after: Session


def steps(commands: list[Command], used: Usage) -> list[Step]:
    """The steps of those of the commands that are allowed."""
    session: Session | None = None
    taken: list[Step] = []
    for number, command in enumerate(commands):
        now = NOW + timedelta(seconds=number)
        known = Known("order-1001", now, {claim.limit: used for claim in asks(command)})
        before = session
        try:
            decision = decide(command, before, known)
        except Refused:
            continue
        for event in decision.events:
            session = evolve(session, event, decision.at)
        if session is not None:
            taken.append(Step(command, known, before, decision, session))
    return taken


amounts = st.decimals(0, Decimal("999999999999.999999"), places=6)
money = st.sampled_from([Decimal("0.10"), Decimal("59.9"), Decimal("1E+2"), Decimal(0)]) | amounts
few = st.integers(1, 20)
quantities = st.sampled_from([1, 2, 3, 4, 5, 9_990, 10_001])
skus = st.sampled_from(["a", "b", "é\U0001f600"])
texts = st.sampled_from(["x", "y", '\u2028\\"']) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
attributes = st.dictionaries(st.sampled_from(["a", "b", "C_1"]), values, max_size=3)
likely = st.sampled_from([{}, {"a": 1}, {"a": True}]) | attributes
ITEM: dict[str, Any] = {
    "sku": skus,
    "price": st.sampled_from([Decimal(1), Decimal("0.1")]) | money,
    "quantity": few,
    "name": st.sampled_from(["", "n"]),
    "product": st.sampled_from([None, Product("p")]),
    "weight": st.none() | money,
    "attributes": likely,
}
items = st.lists(st.builds(CartItem, **ITEM), max_size=3)
LINE: dict[str, Any] = {
    "position": st.sampled_from([0, 0, 0, 1, 2, None]),
    "sku": st.sampled_from([None, None, None, "a"]),
}
codes = st.sampled_from(["A", "B"])
labels = st.sampled_from(["l", "m"])

opening = st.builds(
    OpenSession,
    profile_id=st.sampled_from(["", "p", "q"]),
    cart_items=items,
    coupon=codes | st.just(""),
    referral=codes | st.just(""),
    identifiers=st.lists(texts, max_size=5),
    attributes=attributes,
    total=st.none() | money,
    state=st.sampled_from(["open", "open", "open", "open", "closed"]),
)
adding = st.builds(AddItem, **ITEM | {"quantity": few | quantities})
editing = st.one_of(
    st.builds(SetQuantity, quantity=quantities, **LINE),
    st.builds(RemoveItem, **LINE),
    st.builds(ReplaceCart, cart_items=items, total=st.none() | money),
    st.builds(ApplyCoupon, coupon=codes),
    st.builds(RemoveCoupon),
    st.builds(ApplyReferral, referral=codes),
    st.builds(RemoveReferral),
    st.builds(SetAttributes, attributes=likely),
    st.builds(SetIdentifiers, identifiers=st.lists(texts, max_size=5)),
    st.builds(SetProfile, profile_id=st.sampled_from(["", "p", "q"])),
)
discounting = st.builds(SetDiscount, label=labels, value=money) | st.builds(
    RemoveDiscount, label=labels
)
closing = st.builds(CloseSession)
reopening = st.builds(ReopenSession)
units = st.builds(ReturnItem, quantity=st.none() | st.integers(1, 3), **LINE)
returning = st.builds(ReturnItems, items=st.lists(units, min_size=1, max_size=2))
cancelling = st.builds(CancelSession)
likelihoods = [
    (adding, 5), (editing, 8), (discounting, 3), (closing, 2), (reopening, 2), (returning, 3)
]  # fmt: skip
any_kind = [kind for kind, times in likelihoods for _ in range(times)] + [cancelling]
afterwards = st.lists(st.sampled_from(any_kind).flatmap(lambda kind: kind), min_size=8, max_size=25)
commands = st.builds(lambda first, others: [first, *others], opening, afterwards)
usages = st.sampled_from([Usage(), Usage(count=1), Usage(count=1, held=True)])
histories = st.builds(steps, commands, usages)
