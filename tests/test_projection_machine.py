"""However projections are run, stopped, switched and mended, their views are one plain fold."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from projections import Projection, Runner, StoredProjection, drop, rebuild, verify
from projections.folding import BuildOf, Tracked
from projections.pages import read_page
from sessions import OpenSession, RebuildRunning, Refused, SessionStore, SetProfile, ViewParked
from sessions.views import kept
from sessions.views.installed import installed
from sessions.views.views import Views
from tests import histories
from tests.conftest import add
from tests.counting import (
    CARTS,
    POISON,
    PROFILES,
    UNSHOWN,
    Plain,
    mend,
    named,
    plainly,
    poison,
)
from tests.machines import OnPostgres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions import Command, Recorded

pytestmark = pytest.mark.no_cover

MODES = ("inline", "followed", "live")
COUNTING = {
    f"{of.name}_{mode}": named(of, f"{of.name}_{mode}", mode)
    for of in (CARTS, PROFILES)
    for mode in MODES
}
KNOWN = (*installed(), *COUNTING.values())
SMALL = (
    ("projections.rebuilding.catching_up", "_PAGE", 3),
    ("projections.rebuilding.catching_up", "_LEFT_FOR_SWITCH", 2),
    ("projections.rebuilding.catching_up", "HELD", 2),
    ("projections.running.post", "HELD", 2),
    ("projections.running.going_on", "PAGE", 2),
    (
        "projections.verifying.verification",
        "read_page",
        lambda *given, **by: read_page(*given, **by | {"size": 5}),
    ),
    ("sessions.views.inline", "HELD", 1),
    ("sessions.views.views", "_READ_TOGETHER", 2),
)

SESSIONS, NAMES, STORES = st.sampled_from("stu"), st.sampled_from([*COUNTING]), st.integers(0, 1)
KINDS = [histories.opening, histories.adding, histories.editing, histories.closing]
KINDS += [histories.reopening, histories.returning]
COMMANDS = st.sampled_from(KINDS).flatmap(lambda kind: kind)
PROFILE = st.builds(SetProfile, profile_id=st.sampled_from(["", "p", "q"]))
POISONS = st.sampled_from([add(POISON), add(UNSHOWN), SetProfile(profile_id=POISON)])


class InMemory(RuleBasedStateMachine):
    url = "memory:"
    open_stores = 1

    def __init__(self) -> None:
        super().__init__()
        self.opened = ExitStack()
        directory = self.opened.enter_context(tempfile.TemporaryDirectory())
        for module, name, value in SMALL:
            self.opened.enter_context(patch.object(import_module(module), name, value))
        self.url = self.url.format(directory)
        self.log: list[Recorded] = []
        self.modes = {name: projection.mode for name, projection in COUNTING.items()}
        self.skipped: dict[str, set[tuple[str, int]]] = {name: set() for name in COUNTING}
        self.mended = False
        poison()
        self.stores = [self.open() for _ in range(self.open_stores)]

    def open(self) -> SessionStore:
        return SessionStore.open(self.url, projections=KNOWN)

    def store(self, number: int = 0) -> SessionStore:
        return self.stores[number % len(self.stores)]

    def stored(self, name: str, number: int = 0) -> StoredProjection[Any]:
        return StoredProjection(self.store(number), COUNTING[name])

    def plain(self, name: str, position: int) -> Plain:
        return plainly(COUNTING[name], self.log[:position], self.skipped[name])

    # --- writing

    @initialize(profile=st.sampled_from(["", "p"]))
    def begin(self, profile: str) -> None:
        self.ask("s", [OpenSession(profile_id=profile)])
        self.ask("t", [OpenSession(profile_id="q"), add("a")])

    @rule(
        session_id=SESSIONS,
        commands=st.lists(COMMANDS | PROFILE, min_size=1, max_size=4),
        at=STORES,
    )
    def ask(self, session_id: str, commands: Sequence[Command], at: int = 0) -> None:
        for command in commands:
            with suppress(Refused):
                self.store(at).execute(session_id, command)

    @rule(asked=st.lists(st.tuples(SESSIONS, COMMANDS | PROFILE), max_size=5), at=STORES)
    def load(self, asked: list[tuple[str, Command]], at: int) -> None:
        with self.store(at).batch():
            for session_id, command in asked:
                self.ask(session_id, [command], at)

    @rule(session_id=SESSIONS, command=POISONS, at=STORES)
    def poison(self, session_id: str, command: Command, at: int) -> None:
        self.ask(session_id, [command], at)

    # --- following

    @rule(page=st.integers(1, 7), pages=st.integers(1, 4), name=NAMES | st.none(), at=STORES)
    def follow(self, page: int, pages: int, name: str | None, at: int) -> None:
        store = self.store(at)
        followed = [each for each in COUNTING if self.modes[each] == "followed"]
        if followed:
            come = min(self.stored(each).position for each in followed)
            until = min(come + page * pages, store.position)
            Runner(store, [name] if name else (), page=page).run(until=until)

    @rule(at=STORES)
    def catch_up(self, at: int) -> None:
        store = self.store(at)
        Runner(store, page=3).run(until=store.position)
        assert verify(store) == []

    @rule(name=NAMES, after=st.integers(0, 50), size=st.integers(1, 9))
    def deliver_again(self, name: str, after: int, size: int) -> None:
        """What is delivered twice is folded once."""
        store, database = self.store(), self.store().recorder.database
        build = kept.builds(store.query, "current")[name]
        come = self.stored(name).position
        if build.mode != "followed":
            return
        views = Views(COUNTING[name], 1, database.dialect, build=build.number)
        part = Tracked(BuildOf(COUNTING[name], views), database, build, 1)
        page = read_page(store, store.query, min(after, come), until=come, size=size)
        part.take(store.query, page)
        with database.writing() as connection:
            part.write(connection)

    # --- rebuilding

    @rule(
        name=NAMES | st.none(),
        mode=st.sampled_from(MODES) | st.none(),
        batches=st.integers(1, 9),
        at=STORES,
    )
    def build(self, name: str | None, mode: Any, batches: int, at: int) -> None:
        left = iter(range(batches))
        done = rebuild(
            self.store(at),
            names=[name] if name else (),
            mode=mode if name else None,
            stop=lambda: next(left, None) is None,
        )
        if done.switched and name and mode:
            self.modes[name] = mode
        assert done.switched or done.compared == []
        if self.mended:
            self.retry_all()

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        drop(self.store(), name)

    # --- what waits

    @rule(name=NAMES, number=st.integers(0, 9), at=STORES)
    def skip(self, name: str, number: int, at: int) -> None:
        stored = self.stored(name, at)
        parked = stored.parked()
        if parked:
            chosen = parked[number % len(parked)]
            try:
                goes_on = stored.skip(chosen.key)
            except RebuildRunning:  # it was stopped: what it has made would not know
                assert name in kept.builds(self.store().query, "building")
                return
            self.skipped[name].add((chosen.key, chosen.position))
            assert goes_on == (chosen.key not in self.plain(name, stored.position).waiting)

    @rule(name=NAMES, at=STORES)
    def skip_beside_a_build(self, name: str, at: int) -> None:
        self.build(name, None, 1, at)
        self.skip(name, 0, at)
        self.build(name, None, 99, at)
        self.skip(name, 0, at)

    @rule(name=NAMES, at=STORES)
    def retry(self, name: str, at: int) -> None:
        stored = self.stored(name, at)
        for each in stored.parked():
            assert stored.retry(each.key) == self.mended

    @rule()
    def mend(self) -> None:
        mend()
        self.mended = True
        self.retry_all()

    def retry_all(self) -> None:
        for name in COUNTING:
            self.retry(name, 0)

    # --- what is true at any time

    @invariant()
    def views_are_the_fold_of_what_they_have_come_to(self) -> None:
        self.log += self.store().log(len(self.log))
        for name in COUNTING:
            stored = self.stored(name)
            mode = kept.builds(self.store().query, "current")[name].mode
            assert mode == self.modes[name]
            assert stored.position <= len(self.log)
            assert mode == "followed" or stored.position == len(self.log)
            plain = self.plain(name, stored.position)
            if mode != "live":
                self.check_stored(stored.projection, plain)
                assert {each.key: each.position for each in stored.parked()} == plain.waiting
            self.check_answers(stored, plain, None)

    def check_stored(self, projection: Projection[Any], plain: Plain) -> None:
        query, storage, (rows,) = self.store(1).query, projection.storage, projection.rows
        found = query(storage.table.select(), ())
        assert {row[1]: storage.from_row(row[1:]) for row in found} == plain.views
        for row in found:  # SQLite's numbers are of 15 digits; the document is exact
            told = [float(getattr(plain.views[row[1]], c.name)) for c in projection.columns]
            assert [float(value) for value in row[2:-1]] == pytest.approx(told)
        relation = rows.table(projection.key)
        assert sorted(row[1:] for row in query(relation.select(), ())) == sorted(plain.rows)

    @rule(name=NAMES, position=st.integers(0, 200), at=STORES)
    def look_back(self, name: str, position: int, at: int) -> None:
        position = min(position, len(self.log))
        plain = self.plain(name, position)
        self.check_answers(self.stored(name, at), plain, position)

    def check_answers(
        self, stored: StoredProjection[Any], plain: Plain, position: int | None
    ) -> None:
        for key in {*plain.views, *plain.waiting, "unheard of"}:
            try:
                view = stored.get(key, position=position)
            except ViewParked as parked:
                assert parked.fields["position"] == plain.waiting[key]  # noqa: PT017  one of two right answers
            else:
                assert key not in plain.waiting
                assert view == plain.views.get(key)

    def teardown(self) -> None:
        try:
            if self.log:
                self.catch_up(1)
                self.views_are_the_fold_of_what_they_have_come_to()
                done = rebuild(self.store())
                assert self.mended or [each for each in done.compared if each.differing] == []
                if self.mended:
                    self.retry_all()
                self.catch_up(0)
                self.views_are_the_fold_of_what_they_have_come_to()
        finally:
            for store in self.stores:
                store.close()
            self.opened.close()


class InFile(InMemory):
    url = "sqlite:///{}/store.db"
    open_stores = 2

    @rule(at=STORES)
    def come_back(self, at: int) -> None:
        self.stores[at].close()
        self.stores[at] = self.open()


class InPostgres(OnPostgres, InFile):
    pass


QUIET = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), stateful_step_count=30
)
TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(QUIET, max_examples=10)
TestInFile = InFile.TestCase
TestInFile.settings = settings(QUIET, max_examples=5)


def test_in_postgres(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InPostgres, "server", postgres)
    run_state_machine_as_test(InPostgres, settings=settings(QUIET, max_examples=4))
