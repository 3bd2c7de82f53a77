"""A rebuild builds beside what is there, can be stopped at any moment, and switches at once."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest
from msgspec import structs
from psycopg.sql import SQL, Identifier

from projections import (
    Column,
    CustomerSessions,
    Projection,
    Runner,
    StoredProjection,
    drop,
    installed,
    rebuild,
    status,
    verify,
)
from projections.comparing import compare_builds
from projections.rebuilding import building, catching_up
from sessions import (
    CloseSession,
    InvalidValue,
    OpenSession,
    ReopenSession,
    SessionsError,
    SessionStore,
    SetProfile,
    StoreBusy,
    StoreNotFound,
    ViewsDiffer,
)
from sessions.errors import (
    ProjectionNotFound,
    ProjectionNotKept,
    ProjectionNotLoaded,
    ProjectionTooOld,
    RebuildRunning,
    StorageFailed,
    ViewBehind,
)
from sessions.sql import inserting
from sessions.views import kept
from tests.conftest import add, in_threads
from tests.sample_projections import MENDED, SALES, SPEND, Spend, count, in_mode, inline
from tests.waiting import SOON, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from projections.comparing import Compared
    from sessions.sql.connection import Connection
    from sessions.sql.head import Build, Mode
    from tests.conftest import OpenStore

MODES: tuple[Mode, ...] = ("inline", "followed", "live")
BUILDS = (
    "SELECT name, build, version, mode, status FROM projections WHERE name = 'spend' ORDER BY 2"
)


@pytest.fixture
def store(open_store: OpenStore) -> SessionStore:
    """A store that keeps sales and spend inline."""
    store = open_store(projections=in_mode("inline", MENDED, SPEND))
    fill(store, "a", 3)
    return store


def fill(store: SessionStore, name: str, sessions: int) -> None:
    for number in range(sessions):
        session = f"{name}{number}"
        store.execute(session, OpenSession(profile_id="p"))
        store.execute(session, add("x"))
        store.execute(session, SetProfile(profile_id="q"))
        store.execute(session, CloseSession())


def knows(store: SessionStore, *projections: Projection[Any]) -> SessionStore:
    """The same store, opened by a process that knows other projections."""
    database = store.recorder.database
    return SessionStore(database, 1, read_only=True, projections=in_mode("inline", *projections))


def is_free(store: SessionStore) -> bool:
    """Whether nobody rebuilds."""
    with store.recorder.database.held("rebuild") as held:
        return held is not None


def spend(store: SessionStore) -> StoredProjection[Any]:
    return StoredProjection(store, next(e for e in store.projections if e.name == "spend"))


def small_pages(monkeypatch: pytest.MonkeyPatch, left: int = 0) -> None:
    """Every batch is of three events, and so many may be left for the switch."""
    monkeypatch.setattr(catching_up, "_PAGE", 3)
    monkeypatch.setattr(catching_up, "_LEFT_FOR_SWITCH", left)
    monkeypatch.setattr(inserting, "_MANY", 1)


# --- beside


def test_a_batch_is_as_long_as_folds_are_fast(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch)
    monkeypatch.setattr("projections.pages._FIRST", 2)
    fast: list[int] = []
    rebuild(store, lambda done, _: fast.append(done))
    monkeypatch.setattr("projections.pages._SECONDS", 0)
    slow: list[int] = []

    rebuild(store, lambda done, _: slow.append(done))

    assert fast == [2, 5, 8, 11, 12, 12]
    assert slow == [*range(2, 13), 12]


def test_it_says_what_it_did(store: SessionStore) -> None:
    told: list[tuple[int, int]] = []

    done = rebuild(store, lambda *progress: told.append(progress))

    assert done.projections == ["attachments 1", "customer_sessions 1", "sales 1", "spend 1"]
    assert (done.events, done.switched, done.parked) == (12, True, 0)
    assert told[-1] == (12, 12)
    assert [(each.projection, each.differing) for each in done.compared] == [
        (label, []) for label in done.projections
    ]
    assert verify(store) == []


def test_only_what_is_named_is_built(store: SessionStore) -> None:
    before = {each.name: each.build for each in status(store)}

    done = rebuild(store, names=["spend"])

    assert done.projections == ["spend 1"]
    now = {each.name: each.build for each in status(store) if each.status == "current"}
    assert [name for name in now if now[name] != before[name]] == ["spend"]


def test_names_that_can_be_read_once_are_as_good_as_a_list(store: SessionStore) -> None:
    done = rebuild(store, names=iter(["spend"]), mode="followed")
    Runner(store, iter(["spend"])).run(until=store.position)

    assert done.projections == ["spend 1"]
    assert StoredProjection(store, SPEND).position == store.position


def test_what_was_taken_for_new_may_be_there(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A projection says of each event, wrongly, that it begins a view, and none is held."""
    small_pages(monkeypatch)
    monkeypatch.setattr(catching_up, "HELD", 0)
    wrong = replace(SPEND, version=2, begins=lambda _: True)

    assert rebuild(knows(store, MENDED, wrong), names=["spend"]).switched

    ((document,),) = store.query("SELECT document FROM spend WHERE profile_id = 'p'")
    assert msgspec.json.decode(document, type=Spend) == Spend(0, 1)  # of the last page alone


def test_claims_are_given_back_and_taken_again_across_pages(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch)
    store = open_store()
    for session in ("a", "b"):
        store.execute(session, OpenSession(profile_id="p", coupon="C"))
        for command in (CloseSession(), ReopenSession(), CloseSession()):
            store.execute(session, command)
    store.execute("a", ReopenSession())
    store.execute("a", CloseSession())

    assert rebuild(store).switched

    assert store.query("SELECT used FROM limits WHERE limit_name LIKE 'coupon%'") == [(2,)]
    assert verify(store) == []


def test_others_write_and_read_while_it_builds(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch, left=5)
    store = open_store(projections=in_mode("inline", MENDED, SPEND))
    fill(store, "a", 5)
    builder = knows(store, MENDED, SPEND)
    ends = threading.Event()

    def write() -> int:
        written = 0
        while not ends.is_set() and written < 200:
            store.execute(f"w{written}", OpenSession(profile_id="p"))
            written += 1
            assert spend(store).get("p") == Spend(5 + written, 5)
        return written

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            rebuilt = [rebuild(builder) for _ in range(3)]
        finally:
            ends.set()
        written = writer.result()

    assert all(done.switched for done in rebuilt)
    assert [each.differing for done in rebuilt for each in done.compared] == [[]] * 12
    assert spend(store).get("p") == Spend(5 + written, 5)
    assert verify(store) == []


def test_what_is_written_in_its_progress_is_in_what_it_builds(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch)
    written = iter(range(20))
    told = []

    def write(done: int, total: int) -> None:
        told.append((done, total))
        for number in written:
            store.execute(f"w{number}", OpenSession(profile_id="p"))
            if number % 2:
                return

    assert rebuild(knows(store, MENDED, SPEND), write).switched

    assert [each for each in told if each[0] > each[1]] == []
    assert spend(store).get("p") == Spend(23, 3)
    assert store.execute("last", OpenSession(profile_id="p")).position == 33
    assert spend(store).get("p") == Spend(24, 3)
    assert verify(store) == []


def test_the_switch_needs_one_connection_alone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "_PAGE", 3)
    known = in_mode("inline", MENDED, SPEND)
    with (
        SessionStore.open(postgres_url, projections=known) as store,
        SessionStore.open(postgres_url, 2, projections=known) as other,
        SessionStore.open(
            f"{postgres_url}&pool=2", read_only=True, lock_timeout=10, projections=known
        ) as builder,
        ExitStack() as finally_,
    ):
        fill(store, "a", 3)

        def take_the_other_connection(done: int, _: int) -> None:
            if done == 12 and store.position == 12:
                fill(store, "b", 1)
                fill(other, "new", 1)
                database: Any = builder.recorder.database
                taken = database._connections.take()
                finally_.callback(taken.give_back)

        assert rebuild(builder, take_the_other_connection).events == 20

        assert verify(store) == verify(other) == []


# --- stopping and going on


def test_one_that_was_stopped_goes_on_where_it_was(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch)
    before = store.query("SELECT * FROM spend ORDER BY profile_id")

    seen: list[int] = []
    while not (done := rebuild(store, stop=lambda: len(seen) < 4)).switched:
        seen.append(done.events)
        assert store.query(BUILDS)[-1][2:] == (1, "inline", "building")
        assert store.query("SELECT * FROM spend ORDER BY profile_id") == before
        store.execute(f"w{len(seen)}", OpenSession(profile_id="w"))
        before = store.query("SELECT * FROM spend ORDER BY profile_id")
        assert verify(store) == []

    assert seen == [3, 6, 9, 12]
    assert (done.done_before, done.events) == (12, 16)
    assert spend(store).get("w") == Spend(4)
    assert verify(store) == []


class Stop(Exception):  # noqa: N818  it is no error
    """Whatever ends a rebuild."""


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_one_that_broke_off_leaves_what_is_there_and_goes_on(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    small_pages(monkeypatch)

    def break_off(done: int, _: int) -> None:
        if done >= 6:
            raise error

    with pytest.raises(error):
        rebuild(store, break_off)
    assert [row[4] for row in store.query(BUILDS)] == ["current", "building"]
    store.execute("b", OpenSession(profile_id="p"))
    assert spend(store).get("p") == Spend(4, 3)
    told: list[int] = []
    rebuild(store, lambda done, _: told.append(done))

    assert told[0] > 6
    assert [row[4] for row in store.query(BUILDS)] == ["old", "current"]
    assert spend(store).get("p") == Spend(4, 3)
    assert verify(store) == []


REBUILD = """
import sys, time
from projections import rebuild
from projections.rebuilding import catching_up
from sessions import SessionStore
from sessions.sql import inserting
from tests.sample_projections import MENDED, SPEND, in_mode
catching_up._PAGE, catching_up._LEFT_FOR_SWITCH, inserting._MANY = 3, 0, 1
def say(done, total):
    print(done, flush=True)
    time.sleep(60 if done >= int(sys.argv[2]) else 0)
known = in_mode("inline", MENDED, SPEND)
with SessionStore.open(sys.argv[1], read_only=True, projections=known) as store:
    rebuild(store, say)
"""


def test_a_process_that_is_killed_leaves_what_is_there_and_the_next_goes_on(
    url: str, pytestconfig: pytest.Config
) -> None:
    with SessionStore.open(url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 4)
        for position in (3, 9):
            command = [sys.executable, "-c", REBUILD, url, str(position)]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, cwd=pytestconfig.rootpath
            ) as process:
                assert process.stdout is not None
                while int(process.stdout.readline()) < position:
                    pass
                with pytest.raises(RebuildRunning):
                    rebuild(store)
                with pytest.raises(RebuildRunning):
                    drop(store, "spend")
                os.kill(process.pid, signal.SIGKILL)
            assert verify(store) == []
            until(lambda: is_free(store))  # a server is late to notice that a process is gone

        assert rebuild(store).events == 16
        assert [row[2:] for row in store.query(BUILDS)] == [
            (1, "inline", "old"),
            (1, "inline", "current"),
        ]
        assert verify(store) == []


def test_only_one_rebuilds_at_a_time(store: SessionStore) -> None:
    other, refused = knows(store, MENDED, SPEND), []

    def also(_: int, __: int) -> None:
        for call in (rebuild, lambda opened: drop(opened, "spend")):
            with pytest.raises(RebuildRunning) as running:
                call(other)
            refused.append(running.value.retry)

    rebuild(store, also)

    assert refused == [True] * len(refused)
    assert refused


def test_one_that_fails_as_it_begins_is_not_said_to_be_overtaken(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def full(*what: Any) -> Iterator[Connection]:
        with writing(*what) as connection:
            yield connection
            raise StorageFailed(path="the store", reason="the disk is full")

    store.execute("s", OpenSession())
    database = store.recorder.database
    writing = database.writing
    with monkeypatch.context() as failing:
        failing.setattr(database, "writing", full)
        with pytest.raises(StorageFailed, match="the disk is full"):
            rebuild(store)

    assert rebuild(store).switched


def test_one_that_is_overtaken_before_its_switch_leaves_what_the_other_made(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store.recorder.database
    monkeypatch.setattr(type(database), "held", lambda *_: nullcontext(enter_result=True))
    left: list[Sequence[tuple[object, ...]]] = []

    def overtaken(*given: Any) -> list[Compared]:
        monkeypatch.setattr(building, "compare_builds", compare_builds)
        assert rebuild(knows(store, MENDED, SPEND), names=["spend"], mode="live").switched
        left.append(store.query(BUILDS))
        return compare_builds(*given)

    monkeypatch.setattr(building, "compare_builds", overtaken)
    with pytest.raises(RebuildRunning):  # nothing is written before, as there are no relations
        rebuild(store, names=["spend"], mode="live")

    assert [store.query(BUILDS)] == left


def other_rebuilds(other: SessionStore) -> None:
    assert rebuild(other).switched


def other_begins_to_rebuild(other: SessionStore) -> None:
    assert not rebuild(other, stop=lambda: True).switched


def other_drops_what_is_built(other: SessionStore) -> None:
    for name in ("attachments", "customer_sessions", "sales", "spend"):
        assert drop(other, name)


@pytest.mark.parametrize(
    "meanwhile", [other_rebuilds, other_begins_to_rebuild, other_drops_what_is_built]
)
@pytest.mark.parametrize("at", [3, 9, 12])
def test_one_that_lost_its_right_with_its_connection_yields_to_the_other(
    store: SessionStore,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[SessionStore], None],
    at: int,
) -> None:
    small_pages(monkeypatch)
    database = store.recorder.database
    monkeypatch.setattr(type(database), "held", lambda *_: nullcontext(enter_result=True))
    other = knows(store, MENDED, SPEND)
    left: list[Sequence[tuple[object, ...]]] = []

    def lose_the_right(done: int, _: int) -> None:
        if done == at and not left:
            meanwhile(other)
            left.append(store.query(BUILDS))

    if (meanwhile, at) == (other_begins_to_rebuild, 12):
        assert rebuild(store, lose_the_right).switched  # the other had nothing left to do
    else:
        with pytest.raises(RebuildRunning):
            rebuild(store, lose_the_right)
        assert [store.query(BUILDS)] == left

    assert verify(store) == []
    assert rebuild(store).switched
    assert verify(store) == []


def test_what_one_gives_back_the_next_has_at_once(sqlite_url: str) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.make()
        assert times_refused(store) == 0


def test_what_one_gives_back_the_next_has_at_once_on_postgresql(postgres_url: str) -> None:
    with SessionStore.open(postgres_url) as store:
        assert times_refused(store) == 0


def times_refused(store: SessionStore) -> int:
    """How often one who comes next, of two hundred, does not get what nobody holds."""
    refused = 0
    for _ in range(200):
        with store.recorder.database.held("rebuild") as alone:
            refused += not alone
    return refused


def test_an_attempt_for_another_version_or_mode_is_begun_anew(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch)
    rebuild(store, names=["spend"], stop=lambda: True)
    newer = knows(store, replace(SPEND, version=2))
    rebuild(newer, names=["spend"], stop=lambda: True)
    rebuild(newer, names=["spend"], mode="followed", stop=lambda: True)

    builds = store.query(BUILDS)
    assert [row[2:] for row in builds] == [
        (1, "inline", "current"),
        (2, "followed", "building"),
    ]
    names = store.recorder.database.relations(store.query)
    assert sum(name.startswith("spend_build_") for name in names) == 1
    assert drop(newer, "spend") == ["spend 2"]
    assert not [name for name in relations(store) if name.startswith("spend_")]
    assert store.query("SELECT * FROM positions") == []


def relations(store: SessionStore) -> set[str]:
    return store.recorder.database.relations(store.query)


def test_the_build_before_stays_until_it_is_dropped_or_built_once_more(store: SessionStore) -> None:
    (built,) = store.query(BUILDS)
    for _ in range(3):
        before = built
        rebuild(store)
        old, built = store.query(BUILDS)
        assert old == (*before[:4], "old")
        assert built[2:] == (1, "inline", "current")
        found = store.query(f"SELECT profile_id FROM spend_build_{old[1]} ORDER BY profile_id")
        assert found == [("p",), ("q",)]
        tables = [name for name in relations(store) if re.fullmatch("sales_build_[0-9]+", name)]
        assert len(tables) == 1

    assert drop(store, "spend") == ["spend 1"]
    assert drop(store, "spend") == []
    assert store.query(BUILDS) == [built]
    assert f"spend_build_{old[1]}" not in relations(store)
    assert verify(store) == []
    fill(store, "b", 1)
    assert verify(store) == []


def test_a_store_that_is_given_its_projections_asks_for_no_others_where_views_differ(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded() -> None:
        raise ProjectionNotLoaded(name="broken", value="nowhere:P", reason="no module")

    monkeypatch.setattr("sessions.store.installed", loaded)
    with store.recorder.database.writing() as connection:
        connection.execute("DELETE FROM spend")

    assert rebuild(store).switched
    assert verify(store) == []


def test_what_is_dropped_is_not_written_out_once_more(sqlite_url: str, tmp_path: Path) -> None:
    with SessionStore.open(sqlite_url) as store:
        with store.batch():
            for number in range(200):
                store.execute(f"s{number}", OpenSession(attributes={"note": "x" * 1000}))
        rebuild(store)
        with closing(sqlite3.connect(tmp_path / "store.db")) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        assert drop(store, "customer_sessions")

        written = (tmp_path / "store.db-wal").stat().st_size
        assert written < (tmp_path / "store.db").stat().st_size / 10


def test_an_inline_projection_that_is_uninstalled_is_kept_by_no_writer_after_a_rebuild_of_all(
    store: SessionStore,
) -> None:
    without = knows(store, MENDED)
    database = store.recorder.database
    assert rebuild(knows(store, MENDED, SPEND)).retired == []
    assert rebuild(without, names=["sales"]).retired == []
    with pytest.raises(ViewsDiffer, match="spend 1"):
        SessionStore(database, 1, projections=without.projections)

    assert rebuild(without).retired == ["spend 1"]
    assert rebuild(without).retired == []

    writer = SessionStore(database, 1, projections=without.projections)
    writer.execute("b", OpenSession(profile_id="p"))
    assert [row[2:] for row in store.query(BUILDS)] == [(1, "inline", "old")]
    assert verify(without) == []
    with pytest.raises(ViewsDiffer):
        store.execute("c", OpenSession(profile_id="p"))


def test_one_that_is_followed_stays_when_all_others_are_rebuilt_where_it_is_not_installed(
    store: SessionStore,
) -> None:
    rebuild(store, names=["spend"], mode="followed")

    assert rebuild(knows(store, MENDED)).retired == []

    assert [row[3:] for row in store.query(BUILDS)] == [("inline", "old"), ("followed", "current")]


def test_the_claims_alone_are_rebuilt_as_often_as_one_likes(open_store: OpenStore) -> None:
    store = open_store(projections=[])
    store.execute("a", OpenSession(profile_id="p"))

    assert [rebuild(store).switched for _ in range(3)] == [True] * 3
    assert verify(store) == []


@pytest.mark.parametrize("mode", MODES)
def test_all_of_a_projection_is_dropped_where_it_is_not_installed(
    store: SessionStore, mode: Mode
) -> None:
    rebuild(store, names=["spend"], mode=mode)
    rebuild(store, names=["spend"], mode="inline", stop=lambda: True)
    without = knows(store, MENDED)

    assert drop(without, "spend") == ["spend 1"] * 3

    assert store.query(BUILDS) == []
    assert not [name for name in relations(store) if name.startswith("spend")]
    assert store.query("SELECT * FROM positions") == []
    assert verify(without) == []
    with pytest.raises(ProjectionNotFound, match="'spend'"):
        drop(without, "spend")


def test_several_projections_are_built_in_one_pass(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    log_rows = type(store.recorder).log_rows

    def counted(self: Any, query: Any, after: int, *arguments: Any) -> Any:
        reads.append(after)
        return log_rows(self, query, after, *arguments)

    with monkeypatch.context() as patched:
        small_pages(patched)
        patched.setattr(type(store.recorder), "log_rows", counted)
        patched.setattr(building, "compare_builds", lambda *_: [])
        rebuild(store)

    assert sorted(set(reads)) == [0, 3, 6, 9, 12]
    assert len([after for after in reads if after < 12]) == 4
    assert verify(store) == []


# --- versions


class Moves(msgspec.Struct, frozen=True):
    """How many sessions came to a profile: what spend says in its next version."""

    came: int = 0
    seen: int = 0


def moves(view: Moves | None, recorded: Any) -> Moves:
    before = view or Moves()
    return Moves(before.came + (recorded.type != "SessionOpened"), before.seen + 1)


SPEND_2: Projection[Any] = Projection(
    name="spend",
    version=2,
    view=Moves,
    fold=moves,
    keys=SPEND.keys,
    key=SPEND.key,
    types=SPEND.types,
    columns=(Column("seen", "integer"),),
)


def test_a_new_version_with_other_columns_refuses_old_writers_from_the_switch_on(
    store: SessionStore,
) -> None:
    newer = knows(store, MENDED, SPEND_2)
    with pytest.raises(ProjectionNotKept, match="spend 2"):
        spend(newer).get("p")

    done = rebuild(newer, names=["spend"])

    assert done.compared == []  # there is nothing to compare it with
    assert store.query("SELECT profile_id, seen FROM spend ORDER BY profile_id") == [
        ("p", 6),
        ("q", 3),
    ]
    with pytest.raises(ViewsDiffer):
        store.execute("b", OpenSession(profile_id="p"))
    with pytest.raises(ProjectionNotKept, match="spend 1"):
        spend(store).get("p")
    writer = SessionStore(
        store.recorder.database, 1, projections=in_mode("inline", MENDED, SPEND_2)
    )
    writer.execute("b", OpenSession(profile_id="p"))
    assert spend(writer).get("p") == Moves(3, 7)
    assert verify(writer) == []


def test_back_to_the_version_before_is_a_rebuild_too(store: SessionStore) -> None:
    rebuild(knows(store, MENDED, SPEND_2), names=["spend"])

    for names in ([], ["spend"]):
        with pytest.raises(ProjectionTooOld, match="keeps spend 2, but this process has spend 1"):
            rebuild(store, names=names)
    assert rebuild(store, names=["spend"], allow_older=True).switched

    store.execute("b", OpenSession(profile_id="p"))
    assert spend(store).get("p") == Spend(4, 3)
    assert verify(store) == []


def test_a_projection_that_the_store_does_not_keep_yet_is_built_in_its_own_mode(
    open_store: OpenStore,
) -> None:
    older = open_store()
    fill(older, "a", 3)
    for projection, mode in ((MENDED, "followed"), (replace(SPEND, mode="inline"), "inline")):
        store = SessionStore(older.recorder.database, 1, read_only=True, projections=[projection])
        assert rebuild(store, names=[projection.name]).switched
        assert [each.mode for each in status(store) if each.name == projection.name] == [mode]
    with pytest.raises(ViewsDiffer):
        older.execute("b", OpenSession())


@pytest.mark.parametrize("mode", ["inline", "followed"])
def test_one_that_is_renamed_and_keeps_its_relations_is_told_whose_they_are(
    open_store: OpenStore, mode: Mode
) -> None:
    older = open_store(projections=in_mode(mode, SALES))
    older.execute("a", OpenSession())
    Runner(older).run(until=1)
    renamed = in_mode(mode, replace(SALES, name="sold"))
    store = SessionStore(older.recorder.database, 1, read_only=True, projections=renamed)

    with pytest.raises(ViewsDiffer) as refused:
        rebuild(store, names=["sold"])

    assert (refused.value.stored, refused.value.found) == ("sales 1", "sold 1 with sold_lines")
    assert "run `sessions projections drop sales`" in refused.value.advice
    if mode == "followed":
        with pytest.raises(ViewsDiffer, match="projections drop sales"):
            Runner(store).run(until=1)
    assert drop(store, "sales") == ["sales 1"]
    assert rebuild(store, names=["sold"]).switched
    assert verify(store) == []


def test_a_relation_that_another_one_takes_meanwhile_is_told_and_nothing_is_switched(
    open_store: OpenStore,
) -> None:
    store = open_store()
    store.execute("a", OpenSession())
    database, followed = store.recorder.database, in_mode("followed", SALES)
    other = SessionStore(database, 1, projections=followed)
    renamed = in_mode("inline", replace(SALES, name="sold"))
    building = SessionStore(database, 1, read_only=True, projections=renamed)

    def begun(*_: object) -> None:
        Runner(other).run(until=1)  # it begins the sales

    with pytest.raises(ViewsDiffer) as refused:
        rebuild(building, begun, names=["sold"])

    assert (refused.value.stored, refused.value.found) == ("sales 1", "sold 1 with sold_lines")
    assert StoredProjection(other, SALES).get("a") is not None


def with_relations(name: str, *relations: str, version: int = 1) -> Projection[Any]:
    """Sales under a name, with the lines in each of some further relations."""
    rows = [structs.replace(MENDED.rows[0], name=relation) for relation in relations]
    return replace(MENDED, name=name, version=version, mode="inline", rows=tuple(rows))


@pytest.mark.parametrize(
    ("one", "other"), [(["b", "c"], []), (["c"], ["b"]), ([], ["b", "c"])], ids=str
)
def test_a_relation_may_go_over_to_another_projection_in_one_rebuild(
    open_store: OpenStore, one: list[str], other: list[str]
) -> None:
    before = with_relations("first", "b"), with_relations("second", "c")
    older = open_store(projections=before)
    older.execute_many("s", [OpenSession(), add("x"), add("y")])
    now = with_relations("first", *one, version=2), with_relations("second", *other, version=2)
    database = older.recorder.database

    rebuilt = rebuild(SessionStore(database, 1, read_only=True, projections=now))

    assert rebuilt.switched
    store = SessionStore(database, 1, projections=now)
    store.execute("s", add("z"))
    assert [len(store.query(f"SELECT 1 FROM {name}")) for name in ("b", "c")] == [3, 3]
    assert verify(store) == []
    assert rebuild(store).switched
    assert verify(store) == []


def test_a_relation_that_another_projection_has_is_refused_before_anything_is_folded(
    open_store: OpenStore,
) -> None:
    older = open_store(projections=(with_relations("first", "b"), with_relations("second", "c")))
    older.execute("s", OpenSession())
    now = with_relations("first", "b", "c", version=2), with_relations("second", version=2)
    store = SessionStore(older.recorder.database, 1, read_only=True, projections=now)
    told: list[int] = []

    with pytest.raises(ViewsDiffer, match=r"the views second 1, .* first 2 with c: rebuild second"):
        rebuild(store, lambda done, _: told.append(done), names=["first"])

    assert told == []
    assert [each.status for each in status(older)] == ["current"] * 2


# --- modes


@pytest.mark.parametrize("one", MODES)
@pytest.mark.parametrize("other", MODES)
def test_a_mode_is_changed_into_any_other_and_back(
    open_store: OpenStore, one: Mode, other: Mode
) -> None:
    store = open_store(projections=in_mode(one, MENDED, SPEND))
    fill(store, "a", 2)

    for number, mode in enumerate((other, one, other, one)):
        rebuild(store, names=["sales", "spend"], mode=mode)
        assert {
            e.mode for e in status(store) if e.name in {"sales", "spend"} and e.status == "current"
        } == {mode}
        last = store.execute(f"b{number}", OpenSession(profile_id="p")).position
        Runner(store).run(until=last)
        assert spend(store).get("p") == Spend(3 + number, 2)
        assert ("spend" in relations(store)) == (mode != "live")
        assert verify(store) == []


def test_without_a_mode_it_stays_as_it_is(store: SessionStore) -> None:
    rebuild(store, names=["spend"], mode="followed")
    store.execute("b", OpenSession(profile_id="p"))

    rebuild(store)

    assert store.query(BUILDS)[-1][3] == "followed"
    assert spend(store).position == 13
    assert spend(store).get("p") == Spend(4, 3)


# --- what is refused


def test_what_it_cannot_do_is_refused_and_changes_nothing(store: SessionStore) -> None:
    before = store.query(BUILDS)
    with pytest.raises(ProjectionNotFound, match="'spent'"):
        rebuild(store, names=["spend", "spent"])
    with pytest.raises(InvalidValue, match="mode: one of inline, followed, live"):
        rebuild(store, mode="lively")  # type: ignore[arg-type]  # it is wrong
    with pytest.raises(InvalidValue, match="since queries in SQL need"):
        rebuild(store, names=["customer_sessions"], mode="live")
    with store.batch(), pytest.raises(SessionsError, match="batch"):
        rebuild(store)

    assert store.query(BUILDS) == before


def test_other_columns_under_the_same_version_are_refused_before_anything_is_built(
    store: SessionStore,
) -> None:
    before = store.query(BUILDS)
    other = knows(store, replace(SPEND, columns=(*SPEND.columns, Column("gone", "integer"))))

    with pytest.raises(ViewsDiffer) as refused:
        rebuild(other, names=["spend"])

    assert refused.value.advice == "raise its version, and run `sessions projections rebuild spend`"
    assert store.query(BUILDS) == before


@pytest.mark.parametrize("read_only", [True, False])
def test_where_nothing_is_there_is_nothing_to_rebuild_to_drop_or_to_let_go_on(
    url: str, tmp_path: Path, *, read_only: bool
) -> None:
    with SessionStore.open(url, read_only=read_only, projections=[SPEND]) as store:
        if url.startswith("postgres") and not read_only:
            pytest.skip("it is made when it is opened")
        stored = StoredProjection(store, SPEND)
        for work in (
            lambda: rebuild(store),
            lambda: drop(store, "spend"),
            lambda: stored.retry("p"),
            lambda: stored.skip("p"),
            lambda: status(store),
        ):
            with pytest.raises(StoreNotFound):
                work()
        with pytest.raises((StoreNotFound, ViewBehind)):
            stored.wait(1, timeout=0)

    assert list(tmp_path.iterdir()) == []


# --- comparing


@pytest.mark.parametrize("mode", ["inline", "followed"])
def test_it_tells_which_keys_differed(open_store: OpenStore, mode: Mode) -> None:
    store = open_store(projections=in_mode(mode, MENDED, SPEND))
    fill(store, "a", 3)
    Runner(store).run(until=12)
    with store.recorder.database.writing() as connection:
        connection.execute("UPDATE sold_lines SET units = 5 WHERE session_id = 'a1'")
        connection.execute("UPDATE spend SET opened = 5 WHERE profile_id = 'q'")
        connection.execute("DELETE FROM sales WHERE session_id = 'a2'")

    done = rebuild(store)

    differed = {each.projection: (each.views, sorted(each.differing)) for each in done.compared}
    assert differed["sales 1"] == (3, ["a1", "a2"])
    assert differed["spend 1"] == (2, ["q"])
    assert differed["customer_sessions 1"] == (3, [])
    assert verify(store) == []


def test_what_a_follower_has_not_come_to_is_no_difference(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("followed", MENDED, SPEND))
    fill(store, "a", 2)
    Runner(store).run(until=3)
    fill(store, "b", 2)

    done = rebuild(store)

    assert [each.differing for each in done.compared] == [[]] * 4
    assert spend(store).position == 16


def test_a_query_goes_on_though_a_rebuild_has_changed_the_columns(postgres_url: str) -> None:
    with SessionStore.open(f"{postgres_url}&pool=3", projections=in_mode("inline", SPEND)) as store:
        fill(store, "a", 1)
        asked = "SELECT * FROM spend WHERE application_id = ?"
        for _ in range(3):
            before = in_threads(3, lambda _: store.query(asked, (1,)))
        with store.batch():
            fill(store, "b", 1)
            store.query(asked, (1,))
            store.query(asked, (1,))
        with store.recorder.database.writing() as connection:
            connection.execute("ALTER TABLE spend ADD more text DEFAULT 'x'")

        after = in_threads(3, lambda _: store.query(asked, (1,)))
        with store.batch():
            fill(store, "c", 1)
            inside = store.query(asked, (1,))

        width = len(before[0][0]) + 1
        assert {len(row) for rows in [*after, inside] for row in rows} == {width}


# --- the switch


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
def test_who_asks_by_sql_always_sees_one_whole_build(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch, left=5)
    store = open_store(projections=in_mode("inline", MENDED, SPEND))
    fill(store, "a", 10)
    builder = open_store(read_only=True, projections=in_mode("inline", MENDED, SPEND))
    ends = threading.Event()

    def ask() -> list[tuple[Any, ...]]:
        seen = []
        while not ends.is_set():
            seen += store.query(
                "SELECT count(*), sum(units), (SELECT sum(opened) FROM spend) FROM sold_lines"
            )
            assert len(CustomerSessions(store).of_profile("q")) == 10
        return seen

    with ThreadPoolExecutor(2) as pool:
        askers = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(6):
                rebuild(builder)
        finally:
            ends.set()
        seen = {row for asker in askers for row in asker.result()}

    assert seen == {(10, 10, 10)}


def test_a_writer_that_holds_views_goes_on_from_the_new_build(store: SessionStore) -> None:
    """What a writer holds in memory is of the old build; the new one may have other rows."""
    mended = replace(SPEND, fold=lambda view, recorded: count(count(view, recorded), recorded))
    rebuild(knows(store, MENDED, mended), names=["spend"])
    assert spend(store).get("p") == Spend(6, 6)

    store.execute("b", OpenSession(profile_id="p"))

    assert spend(store).get("p") == Spend(7, 6)


def test_applications_are_rebuilt_together(open_store: OpenStore) -> None:
    stores = [open_store(number, projections=in_mode("inline", MENDED, SPEND)) for number in (1, 2)]
    if stores[0].recorder.database.in_memory:
        pytest.skip("in memory each application has a database of its own")
    for number, store in enumerate(stores):
        fill(store, "a", number + 1)

    done = rebuild(stores[1])

    assert done.events == 12
    assert sorted(
        (e.application_id, e.views) for e in done.compared if e.projection == "sales 1"
    ) == [
        (1, 1),
        (2, 2),
    ]
    for number, store in enumerate(stores):
        fill(store, "b", 1)
        assert spend(store).get("p") == Spend(number + 2, number + 2)
        assert verify(store) == []


def test_an_attempt_of_sales_leaves_no_trace_in_what_people_see(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pages(monkeypatch)
    rebuild(store, names=["sales"], stop=lambda: True)

    assert StoredProjection(store, SALES).get("a0") is not None
    assert [(e.status, e.position) for e in status(store) if e.name == "sales"] == [
        ("current", 12),
        ("building", 3),
    ]
    assert drop(store, "sales") == ["sales 1"]
    assert verify(store) == []


@pytest.mark.parametrize(
    "changed",
    [
        replace(SALES, columns=(*SALES.columns, Column("lines", "integer"))),
        replace(SALES, rows=(msgspec.structs.replace(SALES.rows[0], name="others"),)),
        replace(SALES, columns=()),
    ],
    ids=["a column more", "another relation", "a column less"],
)
def test_an_attempt_that_has_other_columns_is_begun_anew(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, changed: Projection[Any]
) -> None:
    small_pages(monkeypatch)
    database, found = store.recorder.database, []
    for each in (SALES, changed):
        known = in_mode("inline", replace(each, version=7), SPEND)
        found.append(SessionStore(database, 1, read_only=True, projections=known))
    stopped = rebuild(found[0], names=["sales"], stop=lambda: True)
    assert not stopped.switched

    assert rebuild(found[1], names=["sales"]).switched
    assert verify(found[1]) == []


@pytest.fixture
def reading(postgres: str, postgres_url: str) -> Iterator[psycopg.Connection]:
    """Somebody whose transaction has read a view."""
    schema = postgres_url.rpartition("schema=")[2]
    with psycopg.connect(postgres) as connection:
        sql = SQL("SELECT count(*) FROM {}.customer_sessions").format(Identifier(schema))
        with SessionStore.open(postgres_url) as store:
            store.execute("s", OpenSession())
            connection.execute(sql)
            yield connection


@pytest.mark.parametrize("kind", [None, "VIEW", "MATERIALIZED VIEW", "ANALYZE"])
def test_writers_go_on_while_a_switch_waits_for_somebody_who_reads(
    postgres_url: str, reading: psycopg.Connection, kind: str | None
) -> None:
    schema = Identifier(postgres_url.rpartition("schema=")[2])
    if kind == "ANALYZE":  # which locks as a vacuum does, and gives way to nobody
        reading.rollback()
        reading.execute(SQL("ANALYZE {}.customer_sessions").format(schema))
    elif kind is not None:  # of people, and he has read that alone
        reading.rollback()
        made = "CREATE {} {}.mine AS SELECT session_id FROM {}.customer_sessions"
        reading.execute(SQL(made).format(SQL(kind), schema, schema))
        reading.commit()
        reading.execute(SQL("SELECT count(*) FROM {}.mine").format(schema))
    with (
        SessionStore.open(postgres_url) as store,
        SessionStore.open(postgres_url, lock_timeout=1.0) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        begun = threading.Event()
        rebuilding = pool.submit(rebuild, store, lambda *_: begun.set())
        assert begun.wait(SOON)
        for number in range(20):
            writer.execute(f"s{number}", OpenSession(profile_id="p"))
            time.sleep(0.1)
        assert not rebuilding.done()
        reading.rollback()

        assert rebuilding.result(SOON).switched
        assert rebuilding.result().events == 21
        assert verify(store) == []


def test_a_switch_and_a_drop_give_up_after_the_lock_timeout(
    postgres_url: str, reading: psycopg.Connection
) -> None:
    with SessionStore.open(postgres_url, lock_timeout=0.4) as store:
        with pytest.raises(StoreBusy) as busy:
            rebuild(store)
        assert busy.value.retry
        reading.rollback()
        assert rebuild(store).switched

        schema, name = Identifier(postgres_url.rpartition("schema=")[2]), "customer_sessions"
        number = next(e.build for e in status(store) if (e.name, e.status) == (name, "old"))
        old = Identifier(f"{name}_build_{number}")
        reading.execute(SQL("SELECT count(*) FROM {}.{}").format(schema, old))
        with pytest.raises(StoreBusy):
            drop(store, name)
        reading.rollback()
        assert drop(store, name) == ["customer_sessions 1"]


def test_who_reads_views_again_and_again_meets_no_deadlock(
    postgres: str, postgres_url: str, reading: psycopg.Connection
) -> None:
    schema = Identifier(postgres_url.rpartition("schema=")[2])
    views = [Identifier(f"mine_{number}") for number in range(3)]
    reading.rollback()
    for view in views:
        made = "CREATE VIEW {}.{} AS SELECT session_id FROM {}.customer_sessions"
        reading.execute(SQL(made).format(schema, view, schema))
    reading.commit()
    done = threading.Event()

    def read() -> int:
        times = 0
        with psycopg.connect(postgres, autocommit=True) as connection:
            while not done.is_set():
                view = views[times % len(views)]
                connection.execute(SQL("SELECT count(*) FROM {}.{}").format(schema, view))
                times += 1
        return times

    with SessionStore.open(postgres_url) as store, ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            assert all(rebuild(store).switched for _ in range(5))
        finally:
            done.set()
        assert all(reader.result(SOON) for reader in readers)


def test_a_drop_does_not_wait_for_who_reads_what_stays(
    postgres_url: str, reading: psycopg.Connection
) -> None:
    with SessionStore.open(postgres_url, lock_timeout=0.4) as store:
        reading.rollback()
        assert rebuild(store).switched
        schema = Identifier(postgres_url.rpartition("schema=")[2])
        reading.execute(SQL("SELECT count(*) FROM {}.customer_sessions").format(schema))

        assert drop(store, "customer_sessions") == ["customer_sessions 1"]


def test_a_stop_is_heard_while_a_switch_waits(
    postgres_url: str, reading: psycopg.Connection
) -> None:
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(len(asked) > 1)
        return asked[-1]

    with SessionStore.open(postgres_url) as store:
        stopped = rebuild(store, stop=stop)
        assert (stopped.switched, stopped.events) == (False, 1)
        reading.rollback()
        assert rebuild(store).switched


def test_a_build_made_anew_after_a_drop_is_not_taken_for_the_one_before(url: str) -> None:
    def spend(store: SessionStore) -> Build:
        return kept.builds(store.query, "current")["spend"]

    with SessionStore.open(url, projections=inline(SPEND)) as store:
        store.execute("s", OpenSession(profile_id="p"))
        before = spend(store)
        without = SessionStore(store.recorder.database, 1, read_only=True, projections=installed())
        assert drop(without, "spend") == ["spend 1"]
        rebuild(store, names=["spend"], mode="inline")

        assert spend(store).number == before.number
        assert spend(store) != before
        store.execute("t", OpenSession(profile_id="p"))
        assert verify(store) == []
