"""Every event changes a session, or begins one: none is missing where they are folded."""

from typing import get_args

import pytest

from sessions import Event, evolve
from sessions.session import STEPS
from tests.scenario import NOW, OPENED, given


def test_every_event_has_its_step() -> None:
    assert set(STEPS) == set(get_args(Event))


def test_a_stream_that_is_opened_again_begins_again() -> None:
    session = given(OPENED).session

    assert evolve(session, OPENED, NOW) == evolve(None, OPENED, NOW)


def test_a_stream_begins_with_an_opening() -> None:
    closed = next(kind for kind in get_args(Event) if kind.__name__ == "CouponRemoved")

    with pytest.raises(ValueError, match="begins with SessionOpened, not CouponRemoved"):
        evolve(None, closed("A"), NOW)
