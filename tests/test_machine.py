"""Whatever is asked in whatever order: store, views and a model of plain dicts agree."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from projections import CustomerSession, CustomerSessions
from sessions import Refused, SessionStore
from sessions.commands import Command
from tests.conftest import Clock
from tests.machines import OnPostgres
from tests.plain_model import Dict, Model

pytestmark = pytest.mark.no_cover


def _mostly(valid: list[Any], *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([*valid * 6, *others])


SESSIONS, PROFILES = st.sampled_from("stuvw"), st.sampled_from(["p", "q", ""])
CODES = _mostly(["A", "B", "C" * 100], "", "D" * 101)
POSITIONS, SKUS = _mostly([0, 1], 2, -1), st.sampled_from("ab")
QUANTITIES = _mostly([1, 2, 3], 0, 9_998, 10_000, 10_001)
PRICES = _mostly(["1", "1.00", "0.1", "0", "12345678.901"], "-1", "1e12", "0.0000001")
NAMES = _mostly(["a", "B_2"], "a-b")
ATTRIBUTES = st.dictionaries(NAMES, st.sampled_from([None, 1, 1.0, "x", [None]]), max_size=2)
IDENTIFIERS = _mostly([[], ["i"], ["i", "j"]], ["i"] * 5, ["i"] * 6)


def _object(optional: Dict, **required: Any) -> st.SearchStrategy[Dict]:
    return st.fixed_dictionaries(required, optional=optional)


ADDRESSES = (
    _object({}, position=POSITIONS),
    _object({}, sku=SKUS),
    _object({"position": POSITIONS, "sku": SKUS}),
)
UNITS = _object({"quantity": QUANTITIES})
BACK = st.builds(lambda address, units: address | units, st.one_of(ADDRESSES), UNITS)
LINE = {"quantity": QUANTITIES, "name": st.sampled_from(["", "x"]), "attributes": ATTRIBUTES}
CART = st.lists(_object(LINE, sku=SKUS, price=PRICES), max_size=3)
PLAIN = [{"sku": sku, "price": "0.1", "quantity": 2} for sku in "ab"]
OPENING = _object(
    {"profileId": PROFILES, "coupon": CODES, "referral": CODES, "attributes": ATTRIBUTES,
     "total": PRICES, "identifiers": IDENTIFIERS, "state": st.sampled_from(["open", "closed"]),
     "cartItems": CART},
)  # fmt: skip
FIELDS = {
    "add-item": _object(LINE, sku=SKUS, price=PRICES),
    "set-quantity": st.builds(dict, st.one_of(ADDRESSES), quantity=QUANTITIES),
    "remove-item": st.one_of(ADDRESSES),
    "replace-cart": _object({"total": PRICES}, cartItems=CART),
    "apply-coupon": _object({}, coupon=CODES),
    "apply-referral": _object({}, referral=CODES),
    "set-attributes": _object({}, attributes=ATTRIBUTES),
    "set-identifiers": _object({}, identifiers=IDENTIFIERS),
    "set-profile": _object({}, profileId=PROFILES),
    "set-discount": _object({}, label=SKUS, value=PRICES),
    "remove-discount": _object({}, label=SKUS),
    "return": _object({}, items=st.lists(BACK, max_size=2)),
    **dict.fromkeys(["remove-coupon", "remove-referral", "close", "cancel", "reopen"], _object({})),
}


def _commands(*tags: str) -> st.SearchStrategy[Dict]:
    return st.one_of(*[_object({}, command=st.just(tag)).flatmap(_with_fields) for tag in tags])


def _with_fields(command: Dict) -> st.SearchStrategy[Dict]:
    return FIELDS[command["command"]].map(lambda fields: {**command, **fields})


CHANGES = _commands(*FIELDS)
EDITS = _commands("add-item", "set-quantity", "remove-item", "replace-cart", "set-discount")
RETURNS = _commands("return", "return", "return", "reopen")
# Where two values of a command are wrong, either may be named first.
EITHER = {"InvalidValue", "LimitExceeded"}


def _seen(view: CustomerSession) -> Dict:
    seen: Dict = json.loads(view.to_json(), parse_float=Decimal)
    return seen


class InMemory(RuleBasedStateMachine):
    url = "memory:"

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.model = Model()
        self.past: list[tuple[str, Dict, Dict]] = []
        self.open()

    def open(self) -> None:
        self.store = SessionStore.open(self.url.format(self.directory.name), now=self.clock)
        self.views = CustomerSessions(self.store)

    @initialize(profile=PROFILES)
    def begin_plainly(self, profile: str) -> None:
        plain = {"command": "open", "profileId": profile, "cartItems": PLAIN}
        for session_id in "stu":
            self.ask(session_id, plain)

    @precondition(lambda self: len(self.model.sessions) < 5)
    @rule(session_id=SESSIONS, fields=OPENING)
    def begin(self, session_id: str, fields: Dict) -> None:
        self.ask(session_id, {"command": "open", **fields})

    @rule(session_id=SESSIONS, commands=st.lists(EDITS, min_size=1, max_size=3))
    def shop(self, session_id: str, commands: list[Dict]) -> None:
        for command in commands:
            self.ask(session_id, command)

    @rule(session_id=SESSIONS, commands=st.lists(RETURNS, max_size=3))
    def close(self, session_id: str, commands: list[Dict]) -> None:
        discount = {"command": "set-discount", "label": "a", "value": "5"}
        for command in (discount, {"command": "close"}, *commands):
            self.ask(session_id, command)

    @rule()
    def repeat(self) -> None:
        self.ask(*self.asked)

    @rule(session_id=SESSIONS, command=CHANGES)
    def ask(self, session_id: str, command: Dict) -> None:
        self.asked = session_id, command
        self.clock.move(seconds=1)
        now = self.clock().isoformat().replace("+00:00", "Z")
        asked: Any = msgspec.json.decode(json.dumps(command), type=Command)

        expected = self.model.ask(session_id, command, now)
        try:
            done = self.store.execute(session_id, asked)
        except Refused as refusal:
            refused = type(refusal).__name__
            assert refused == expected or {refused, expected} == EITHER
            return

        assert expected == ""
        session = self.model.sessions[session_id]
        assert bool(done.events) == (session["updated"] == now)
        moment = {"version": done.version, "position": self.store.position, "as_of": self.clock()}
        self.past.append((session_id, moment, self.model.shown(session_id)))
        assert _seen(self.views.get(session_id)) == self.model.shown(session_id)

    @rule(asked=st.lists(st.tuples(SESSIONS, CHANGES), max_size=4))
    def load(self, asked: list[tuple[str, Dict]]) -> None:
        with self.store.batch():
            for session_id, command in asked:
                self.ask(session_id, command)

    @invariant()
    def a_customers_sessions_are_in_order(self) -> None:
        for profile in ("p", "q") if self.past else ():
            found = [view.integration_id for view in self.views.of_profile(profile)]
            assert found == self.model.of_profile(profile)

    def teardown(self) -> None:
        try:
            for session_id, moment, shown in self.past:
                for kind, value in moment.items():
                    assert _seen(self.views.get(session_id, **{kind: value})) == shown
                    if kind != "version":
                        assert shown in map(_seen, self.views.all(**{kind: value}))
            if self.past:
                assert [_seen(view) for view in self.views.all()] == [
                    self.model.shown(session_id) for session_id in sorted(self.model.sessions)
                ]
                log = list(self.store.log())
                assert [recorded.position for recorded in log] == list(range(1, len(log) + 1))
        finally:
            self.store.close()
            self.directory.cleanup()


class InFile(InMemory):
    url = "sqlite:///{}/store.db"

    @rule()
    def come_back(self) -> None:
        self.store.close()
        self.open()


class InPostgres(OnPostgres, InFile):
    pass


QUIET = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), stateful_step_count=40
)
TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(QUIET, max_examples=20)
TestInFile = InFile.TestCase
TestInFile.settings = settings(QUIET, max_examples=5)


def test_in_postgres(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InPostgres, "server", postgres)
    run_state_machine_as_test(InPostgres, settings=settings(QUIET, max_examples=4))
