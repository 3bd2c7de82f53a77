"""Every command in every state: the full table, and that the state is looked at first."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

import pytest

from sessions import (
    AddItem,
    ApplyCoupon,
    ApplyReferral,
    CancelSession,
    CartItem,
    CloseSession,
    IllegalTransition,
    Item,
    ItemAdded,
    ItemsReturned,
    OpenSession,
    RemoveCoupon,
    RemoveDiscount,
    RemoveItem,
    RemoveReferral,
    ReopenSession,
    ReplaceCart,
    ReturnedLine,
    ReturnItem,
    ReturnItems,
    SessionCancelled,
    SessionClosed,
    SessionExists,
    SessionNotClosed,
    SessionNotFound,
    SessionNotOpen,
    SessionReopened,
    SetAttributes,
    SetDiscount,
    SetIdentifiers,
    SetProfile,
    SetQuantity,
)
from sessions.commands import Command, name_of
from sessions.errors import Refused
from sessions.events import Event, State
from tests.scenario import AT, NOW, OPENED, given

IN_CART = ItemAdded(0, Item("6478", Decimal(20)), 2, 2)
CLOSED = SessionClosed(Decimal(40))
ONE_BACK = ItemsReturned((ReturnedLine(0, "6478", Decimal(20), 1),))

HISTORIES: dict[str, list[Event]] = {
    "none": [],
    "open": [OPENED, IN_CART],
    "closed": [OPENED, IN_CART, CLOSED],
    "partially_returned": [OPENED, IN_CART, CLOSED, ONE_BACK],
    "cancelled": [OPENED, IN_CART, SessionCancelled("open")],
    # other ways to the same states
    "open (reopened)": [OPENED, IN_CART, CLOSED, SessionReopened(AT)],
    "closed (again)": [OPENED, IN_CART, CLOSED, SessionReopened(AT), CLOSED],
    "partially_returned (all)": [OPENED, IN_CART, CLOSED, ONE_BACK, ONE_BACK],
    "cancelled (closed)": [OPENED, IN_CART, CLOSED, SessionCancelled("closed", AT)],
}

Row = tuple[type[Refused] | None, ...]  # none, open, closed, partially_returned, cancelled

OPENING: Row = (None, SessionExists, SessionExists, SessionExists, SessionExists)
EDITING: Row = (SessionNotFound, None, SessionNotOpen, SessionNotOpen, SessionNotOpen)
CANCELLING: Row = (SessionNotFound, None, None, None, IllegalTransition)
REOPENING: Row = (SessionNotFound, SessionNotClosed, None, SessionNotClosed, SessionNotClosed)
RETURNING: Row = (SessionNotFound, SessionNotClosed, None, None, SessionNotClosed)

A_SHIRT: dict[str, Any] = {"sku": "6478", "price": Decimal(20)}
WRONG: dict[str, Any] = {"sku": "", "price": Decimal(-1), "quantity": 0}

# each command as it may be asked, the same with values that are wrong, and when it may be asked
TABLE: list[tuple[Command, Command, Row]] = [
    (OpenSession(), OpenSession(profile_id="\0"), OPENING),
    (AddItem(**A_SHIRT), AddItem(**WRONG), EDITING),
    (SetQuantity(position=0, quantity=5), SetQuantity(quantity=0), EDITING),
    (RemoveItem(sku="6478"), RemoveItem(position=-1), EDITING),
    (
        ReplaceCart(cart_items=[CartItem(**A_SHIRT)]),
        ReplaceCart(cart_items=[CartItem(**WRONG)]),
        EDITING,
    ),
    (ApplyCoupon(coupon="A"), ApplyCoupon(coupon=""), EDITING),
    (RemoveCoupon(), RemoveCoupon(at=AT.replace(tzinfo=None)), EDITING),
    (ApplyReferral(referral="A"), ApplyReferral(referral=""), EDITING),
    (RemoveReferral(), RemoveReferral(at=AT - timedelta(1)), EDITING),
    (SetAttributes(attributes={"a": 1}), SetAttributes(attributes={"1": 1}), EDITING),
    (SetIdentifiers(identifiers=["a"]), SetIdentifiers(identifiers="a"), EDITING),
    (SetProfile(profile_id="cust-7"), SetProfile(profile_id="\0"), EDITING),
    (SetDiscount(label="a", value=Decimal(1)), SetDiscount(label="", value=Decimal(-1)), EDITING),
    (RemoveDiscount(label="a"), RemoveDiscount(label=""), EDITING),
    (CloseSession(), CloseSession(at=NOW + timedelta(1)), EDITING),
    (CancelSession(), CancelSession(at=AT - timedelta(1)), CANCELLING),
    (ReopenSession(), ReopenSession(at=AT - timedelta(1)), REOPENING),
    (ReturnItems(items=[ReturnItem(position=0)]), ReturnItems(items=[]), RETURNING),
]


def test_no_command_is_missing_from_the_table() -> None:
    assert [type(command) for command, _, _ in TABLE] == list(get_args(Command))
    assert [type(wrong) for _, wrong, _ in TABLE] == list(get_args(Command))


def test_no_state_is_missing_from_the_table() -> None:
    states = list(get_args(State))
    assert list(HISTORIES)[:5] == ["none", *states]
    for name, history in list(HISTORIES.items())[1:]:
        session = given(*history).session
        assert session is not None
        assert session.state == name.split(maxsplit=1)[0]


def cases() -> list[Any]:
    cases = []
    column = {"none": 0, "open": 1, "closed": 2, "partially_returned": 3, "cancelled": 4}
    for command, wrong, row in TABLE:
        for name in HISTORIES:
            state = name.split(maxsplit=1)[0]
            error = row[column[state]]
            title = f"{name_of(command)} when {name}"
            cases.append(pytest.param(command, wrong, name, error, id=title))
    return cases


@pytest.mark.parametrize(("command", "wrong", "history", "error"), cases())
def test_a_command_is_allowed_or_refused_by_the_state(
    command: Command, wrong: Command, history: str, error: type[Refused] | None
) -> None:
    session = given(*HISTORIES[history])
    nothing_left = history == "partially_returned (all)" and isinstance(command, ReturnItems)
    if error is None and not nothing_left:
        session.when(command).decide()
    elif error is not None:
        fields = {"session": "order-1001"}
        if issubclass(error, IllegalTransition):
            fields |= {"state": history.split(maxsplit=1)[0], "command": name_of(command)}
        session.when(command).refused(error, **fields)
        session.when(wrong).refused(error, **fields)  # the state is checked before the values


@pytest.mark.parametrize(("command", "wrong", "history", "error"), cases())
def test_wrong_values_are_refused_where_the_state_allows_the_command(
    command: Command, wrong: Command, history: str, error: type[Refused] | None
) -> None:
    if error is None:
        with pytest.raises(Refused) as caught:
            given(*HISTORIES[history]).when(wrong).decide()
        assert type(command) is type(wrong)
        assert "field" in caught.value.fields
        assert not isinstance(caught.value, IllegalTransition | SessionExists | SessionNotFound)


def test_an_illegal_transition_names_the_state_and_the_command() -> None:
    with pytest.raises(SessionNotOpen, match="'order-1001' is cancelled: add-item needs an open"):
        given(*HISTORIES["cancelled"]).when(AddItem(**A_SHIRT)).decide()
    with pytest.raises(SessionNotClosed, match="'order-1001' is open: reopen needs a closed"):
        given(*HISTORIES["open"]).when(ReopenSession()).decide()
    with pytest.raises(IllegalTransition, match="is cancelled: cancel is not possible"):
        given(*HISTORIES["cancelled"]).when(CancelSession()).decide()


@pytest.mark.parametrize("error", [SessionNotOpen, SessionNotClosed])
def test_every_error_of_a_state_is_an_illegal_transition(error: type[Refused]) -> None:
    assert issubclass(error, IllegalTransition)
    assert issubclass(IllegalTransition, Refused)
    assert not error.retry
