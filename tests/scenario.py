"""Given what happened, when a command comes, then these events happen, or it is refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from typing import NamedTuple

import pytest

from sessions import Refused, SessionOpened
from sessions.claims import Usage
from sessions.commands import Command
from sessions.decide import Decision, Known, asks, decide
from sessions.events import Event
from sessions.log.mapper import Mapper
from sessions.session import Session, evolve

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)  # when the given events happened
NOW = AT + timedelta(hours=1)  # when the command is decided
OPENED = SessionOpened(first_session=True)


class When(NamedTuple):
    session: Session | None
    decide: Callable[[], Decision]

    def then(self, *events: Event) -> None:
        stored = Mapper().encode
        assert list(map(stored, self.decide().events)) == list(map(stored, events))

    def refused(self, error: type[Refused], **fields: object) -> None:
        with pytest.raises(error) as caught:
            self.decide()
        assert type(caught.value) is error
        assert {name: caught.value.fields.get(name) for name in fields} == fields

    def after(self) -> Session:
        """The session that the decision leads to."""
        decision = self.decide()
        return folded(*decision.events, session=self.session, at=decision.at)


class Given(NamedTuple):
    session: Session | None

    def when(self, command: Command, now: datetime = NOW, used: Usage = Usage()) -> When:  # noqa: B008  frozen
        known = Known(
            "order-1001", now, {claim.limit: used for claim in asks(command, self.session)}
        )
        return When(self.session, partial(decide, command, self.session, known))


def given(*events: Event) -> Given:
    """A session with this history; without events there is no session."""
    return Given(folded(*events) if events else None)


def folded(*events: Event, session: Session | None = None, at: datetime = AT) -> Session:
    folded = reduce(lambda state, event: evolve(state, event, at), events, session)
    assert folded is not None
    return folded
