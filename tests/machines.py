"""What the state machines of the tests share."""

from __future__ import annotations

from contextlib import ExitStack

from hypothesis.stateful import RuleBasedStateMachine

from tests.postgres_server import new_schema


class OnPostgres(RuleBasedStateMachine):
    """What a state machine needs to run on PostgreSQL: each in a schema of its own.

    Attributes:
        server: The URL of the server.
        url: The URL of the machine's store.
    """

    server = ""

    def __init__(self) -> None:
        self._schema = ExitStack()
        self.url = self._schema.enter_context(new_schema(self.server))
        super().__init__()

    def teardown(self) -> None:
        with self._schema:
            super().teardown()
