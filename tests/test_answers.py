"""What a caller does to an answer is the caller's: nothing that is held or written changes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import astuple

from sessions import AddItem, OpenSession, Recorded, SetAttributes
from sessions.log.mapper import encode_json
from tests.conftest import add
from tests.test_stored_form import GOLDEN

if TYPE_CHECKING:
    from projections import CustomerSessions
    from sessions import Command, SessionStore
    from sessions.events import Event

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


def spoil(value: Any) -> None:
    """Change all that can be changed of a value."""
    match value:
        case dict():
            for inner in value.values():
                spoil(inner)
            value["spoilt"] = Decimal(666)
        case list():
            for inner in value:
                spoil(inner)
            value.append(666)
        case tuple():
            for inner in value:
                spoil(inner)
        case _ if hasattr(value, "__struct_fields__"):
            spoil(astuple(value))
        case _:
            pass


@pytest.mark.parametrize("event", [event for event, _, _ in GOLDEN])
def test_no_event_has_anything_that_changes_in_common_with_a_callers(event: Event) -> None:
    recorded = Recorded(1, 1, "session", "s", 1, AT, AT, "id", {"actor": ["ada"]}, event)
    before = encode_json(recorded)

    apart = recorded.apart()
    assert apart == recorded
    spoil(apart)

    assert encode_json(recorded) == before


@pytest.mark.parametrize(
    "command",
    [
        add(),
        AddItem(sku="b", price=Decimal(1), attributes={"a": [1]}),
        SetAttributes(attributes={"a": {}}),
    ],
)
def test_what_a_caller_adds_to_an_answer_is_in_no_event_and_no_view(
    store: SessionStore, views: CustomerSessions, command: Command
) -> None:
    with store.batch():
        store.execute("s", OpenSession())
        answer = store.execute("s", command)
        before = encode_json(answer.events)
        spoil(answer.events)
        store.execute("s", add("later"))

    assert encode_json(list(store.log(1, until=2))) == before
    assert "spoilt" not in views.get("s").to_json()
    assert store.answered("none") is None
