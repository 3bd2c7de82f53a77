"""What follows the log: each event is folded once, by one process at a time, wherever it ends."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest

from projections import Runner, StoredProjection, drop, rebuild, verify
from projections.pages import read_page
from projections.running.coming import is_followed
from sessions import (
    CloseSession,
    OpenSession,
    ReopenSession,
    SessionStore,
    SetProfile,
    StorageFailed,
)
from sessions.errors import (
    InvalidValue,
    ProjectionNotFound,
    ProjectionNotKept,
    RunnerAtWork,
    StoreClosed,
    UnknownEvent,
    ViewBehind,
)
from sessions.views.views import Views
from tests.conftest import add, in_threads
from tests.postgres_line import Line
from tests.sample_projections import MENDED, SALES, SPEND, Spend, followed, in_mode
from tests.scripts import printed_by
from tests.tampering import unguarded
from tests.waiting import SOON, come, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.pages import Page
    from sessions.sql.head import Build
    from tests.conftest import OpenStore

RUN = """
import sys
from projections import Runner
from sessions import SessionStore
from tests.sample_projections import MENDED, SPEND, followed
with SessionStore.open(sys.argv[1], read_only=True, projections=followed(MENDED, SPEND)) as store:
    runner = Runner(store, ["sales", "spend"], page=3)
    print("runs", flush=True)
    runner.run()
"""

RUN_TO_THE_END = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from projections import Runner
from sessions import OpenSession, SessionStore
from tests.sample_projections import MENDED, followed
url, how, events = sys.argv[1:]
store = SessionStore.open(url, projections=followed(MENDED))
with store.batch():
    for number in range(int(events)):
        store.execute(f"s{number}", OpenSession())
has_run = threading.Event()
def progress(done, of):
    has_run.set()
    time.sleep(0.1)
def run():
    Runner(store, page=1).run(progress=progress)
    print("ended", flush=True)
if how == "thread":
    threading.Thread(target=run).start()
else:
    ThreadPoolExecutor().submit(run)
has_run.wait()
print("main ends", flush=True)
"""


@pytest.fixture
def store(open_store: OpenStore) -> SessionStore:
    """A store with two followed projections, and some sessions."""
    store = open_store(projections=followed(MENDED, SPEND))
    fill(store, "a")
    return store


def fill(store: SessionStore, name: str, count: int = 4) -> int:
    """Sessions of one profile, some of which move to another; where the log ends then."""
    for number in range(count):
        session = f"{name}{number}"
        store.execute(session, OpenSession(profile_id="p"))
        store.execute(session, add("x", price="1"))
        store.execute(session, SetProfile(profile_id="q"))
        store.execute(session, add(f"y{number}", price="1"))
        store.execute(session, CloseSession())
    return store.position


def again(store: SessionStore) -> SessionStore:
    """Another process's view of the same store: it shares the database alone."""
    database = store.recorder.database
    return SessionStore(database, store.application_id, projections=store.projections)


def spend(store: SessionStore) -> StoredProjection[Any]:
    return StoredProjection(store, SPEND)


def sales(store: SessionStore) -> StoredProjection[Any]:
    return StoredProjection(store, SALES)


# --- exactly once


def test_a_projection_that_is_new_to_the_store_is_begun_from_the_first_event(
    open_store: OpenStore,
) -> None:
    older = open_store()
    fill(older, "a")
    store = SessionStore(older.recorder.database, 1, projections=followed(MENDED, SPEND))

    Runner(store, ["spend"]).run(until=20)

    assert spend(store).get("p") == Spend(4, 4)
    older.execute("b", OpenSession(profile_id="p"))
    assert spend(store).position == 20


@pytest.mark.parametrize("page", [1, 2, 3, 7, 1000])
def test_pages_that_are_split_anywhere_make_the_same(store: SessionStore, page: int) -> None:
    Runner(store, page=page).run(until=20)

    assert (spend(store).get("p"), spend(store).get("q")) == (Spend(4, 4), Spend(0, 4))
    assert store.query("SELECT count(*), sum(units) FROM sold_lines") == [(8, 8)]
    assert verify(store) == []


def test_views_that_are_read_a_few_at_a_time_are_all_read(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.views.views._READ_TOGETHER", 2)
    Runner(store).run(until=20)
    for number in range(4):
        store.execute(f"a{number}", ReopenSession())
        store.execute(f"a{number}", add("z", price="1"))

    Runner(store).run(until=28)  # it holds none of the four yet

    assert store.query("SELECT count(*), sum(units) FROM sold_lines") == [(12, 12)]
    assert verify(store) == []


def test_a_page_is_as_long_as_folds_are_fast(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.pages._FIRST", 2)
    fast: list[int] = []
    Runner(store, page=5).run(until=20, progress=lambda done, _: fast.append(done))
    fill(store, "b")
    monkeypatch.setattr("projections.pages._SECONDS", 0)
    slow: list[int] = []

    Runner(store, page=5).run(until=40, progress=lambda done, _: slow.append(done))

    assert fast == [2, 6, 11, 16, 20]
    assert slow == [22, *range(23, 41)]
    assert verify(store) == []


def test_progress_is_how_far_all_have_come_of_what_there_is_to_do(store: SessionStore) -> None:
    Runner(store, ["sales"]).run(until=12)
    told: list[tuple[int, int]] = []

    Runner(store, page=5).run(until=18, progress=lambda *both: told.append(both))

    assert told == [(5, 18), (10, 18), (15, 18), (18, 18)]


def test_progress_is_told_where_the_log_ends_by_now(store: SessionStore) -> None:
    runner = Runner(store, page=8)
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 1:
            store.execute("b", OpenSession())
        if done == total:
            runner.stop()

    runner.run(progress=progress)

    assert told == [(8, 20), (16, 21), (21, 21)]


def test_a_page_is_no_shorter_because_the_lock_is_waited_for(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = type(store.recorder.database)
    writing = database.writing

    def late(*given: Any) -> Any:
        time.sleep(0.3)
        return writing(*given)

    monkeypatch.setattr("projections.pages._FIRST", 4)
    monkeypatch.setattr("projections.pages._SECONDS", 0.25)
    monkeypatch.setattr(database, "writing", late)
    told: list[int] = []

    Runner(store, page=20).run(until=20, progress=lambda done, _: told.append(done))

    assert told == [4, 12, 20]


def test_each_event_is_folded_once_over_any_number_of_restarts(store: SessionStore) -> None:
    for position in range(1, 21):
        Runner(store, page=2).run(until=position)
        assert position <= spend(store).position <= position + 1

    assert spend(store).get("p") == Spend(4, 4)
    assert verify(store) == []


def test_one_that_breaks_off_between_fold_and_commit_goes_on_without_a_trace(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = type(store.recorder.database)
    writing, turns = database.writing, iter(range(1000))

    @contextmanager
    def broken(self: Any, *arguments: Any) -> Iterator[Any]:
        with writing(self, *arguments) as connection:
            yield connection
            if next(turns) % 3 == 1:
                raise StorageFailed(path="here", reason="it breaks off")

    Runner(store, page=2).run(until=4)
    monkeypatch.setattr(database, "writing", broken)
    failures = 0
    while spend(store).position < 20:
        try:
            Runner(store, page=2).run(until=20)
        except StorageFailed:
            failures += 1
    monkeypatch.undo()

    assert failures > 1
    assert spend(store).get("p") == Spend(4, 4)
    assert verify(store) == []


def test_while_many_write_each_event_is_folded_once(store: SessionStore) -> None:
    with Runner(store, page=3):
        in_threads(4, lambda number: fill(store, f"t{number}-", 3))
        come(spend(store), 80)
        come(sales(store), 80)

    assert spend(store).get("p") == Spend(16, 16)
    assert verify(store) == []


# --- who works


def test_one_works_and_the_other_takes_over(store: SessionStore) -> None:
    one, other = Runner(store), Runner(again(store))
    with one:
        until(lambda: one.working == ["sales", "spend"])
        with other:
            come(spend(store), 20)
            assert other.working == []

            one.stop()
            until(lambda: other.working == ["sales", "spend"])

            last = fill(store, "b")
            come(spend(store), last)
    assert (one.working, other.working) == ([], [])
    assert verify(store) == []


def test_two_share_the_projections_that_they_are_named(store: SessionStore) -> None:
    with Runner(store, ["sales"]) as one, Runner(again(store), ["spend"]) as other:
        come(spend(store), 20)
        come(sales(store), 20)
        until(lambda: (one.working, other.working) == (["sales"], ["spend"]))
    assert verify(store) == []


@contextmanager
def running(url: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that follows."""
    command = [sys.executable, "-W", "error", "-c", RUN, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=directory) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            yield process
        finally:
            process.kill()


def test_a_process_that_is_killed_is_followed_by_the_next_and_nothing_is_folded_twice(
    url: str, pytestconfig: pytest.Config
) -> None:
    directory = pytestconfig.rootpath
    with SessionStore.open(url, projections=followed(MENDED, SPEND)) as store:
        last = fill(store, "a")
        with running(url, directory) as one, running(url, directory) as other:
            come(spend(store), last)
            for number, process in enumerate((one, other)):
                last = fill(store, f"b{number}")
                os.kill(process.pid, signal.SIGKILL)
                process.wait(SOON)
                if process is one:
                    come(sales(store), last)
        last = fill(store, "c")
        Runner(store).run(until=last)

        assert spend(store).get("p") == Spend(16, 16)
        assert verify(store) == []


def test_stop_ends_it_in_another_thread(store: SessionStore) -> None:
    runner = Runner(store)
    thread = threading.Thread(target=runner.run)
    thread.start()
    come(spend(store), 20)

    runner.stop()

    thread.join(SOON)
    assert not thread.is_alive()
    assert runner.working == []


def test_a_stop_that_comes_while_it_looks_whether_the_interpreter_exits_is_not_lost(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, waits = Runner(store), list[float]()

    def is_exiting() -> bool:
        if waits:
            waits.clear()
            runner.stop()
        return False

    monkeypatch.setattr("projections.running.runner.is_exiting", is_exiting)
    monkeypatch.setattr(
        store.recorder.database.signal, "wait", lambda _, seconds: waits.append(seconds)
    )
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()

    thread.join(SOON)
    assert not thread.is_alive()


def test_a_stop_that_meets_an_error_ends_the_next_run(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(store)

    def turn() -> bool:
        runner.stop()
        raise StorageFailed(path="the store", reason="the disk is full")

    with monkeypatch.context() as failing:
        failing.setattr(runner, "_turn", turn)
        with pytest.raises(StorageFailed):
            runner.run()

    runner.run()  # who supervises it begins it again
    runner.run(until=20)  # that stop has had its effect
    assert spend(store).position == 20


def test_a_stop_that_comes_as_a_run_ends_by_itself_ends_the_next_run(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(store)
    posts = runner._posts
    leave = posts.leave

    def left() -> None:
        leave()
        runner.stop()

    with monkeypatch.context() as late:
        late.setattr(posts, "leave", left)
        runner.run(until=20)

    runner.run()
    assert spend(store).position == 20


FORKED = """
import os, sys
from projections import Runner, StoredProjection
from sessions import SessionStore
from tests.sample_projections import SPEND, followed
store = SessionStore.open(sys.argv[1], projections=followed(SPEND))
from tests.test_runner import fill
last = fill(store, "a")
runner = Runner(store)
with runner:
    StoredProjection(store, SPEND).wait(last)
    child = os.fork()
    if not child:
        runner.run(until=last)
        runner.__exit__(None, None, None)  # as it would leave the block
        os._exit(0)
    _, status = os.waitpid(child, 0)
assert status == 0
print(last)
"""


def test_one_runner_runs_once_at_a_time(store: SessionStore) -> None:
    with Runner(store) as runner:
        come(spend(store), 20)
        with pytest.raises(RunnerAtWork, match="this runner is already running"):
            runner.run(until=20)
        with pytest.raises(RunnerAtWork), runner:
            raise AssertionError
        last = fill(store, "more")
        come(spend(store), last)
    runner.run(until=last)
    with runner:
        come(spend(store), fill(store, "again"))


def test_a_runner_at_work_is_free_in_a_forked_child(url: str) -> None:
    assert printed_by(FORKED, url) == "20\n"


def test_a_store_that_is_closed_ends_it(url: str) -> None:
    store = SessionStore.open(url, projections=followed(MENDED))
    last = fill(store, "a")
    with Runner(store):
        come(sales(store), last)
        store.close()


def test_a_store_that_was_closed_before_is_not_followed(url: str) -> None:
    store = SessionStore.open(url, projections=followed(MENDED))
    fill(store, "a")
    store.close()

    with pytest.raises(StoreClosed):
        Runner(store).run()
    with pytest.raises(StoreClosed), Runner(store):
        raise AssertionError


def test_who_is_to_come_to_a_position_is_told_when_the_store_is_closed_before(url: str) -> None:
    store = SessionStore.open(url, projections=followed(MENDED))
    last = fill(store, "a")
    closing = threading.Timer(0.1, store.close)
    closing.start()

    with pytest.raises(StoreClosed):
        Runner(store).run(until=last + 1)
    closing.join()


def test_it_waits_for_a_store_that_nobody_has_made_yet(url: str) -> None:
    with (
        SessionStore.open(url, read_only=True, projections=followed(SPEND)) as early,
        Runner(early),
        SessionStore.open(url, projections=followed(SPEND)) as store,
    ):
        last = fill(store, "a")
        until(lambda: early.query("SELECT 1 FROM positions") != [])
        come(spend(store), last)
        assert spend(early).get("p") == Spend(4, 4)


def test_one_that_is_stopped_before_there_is_a_store_ends_well(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(projections=followed(MENDED))

    with Runner(store):
        pass

    assert caplog.records == []
    with Runner(store):
        executed = store.execute("a", OpenSession())
        come(StoredProjection(store, MENDED), executed.position)


def test_it_waits_for_a_writer_that_has_the_lock_for_long(url: str) -> None:
    with (
        SessionStore.open(url) as writer,
        SessionStore.open(url, lock_timeout=0.05, projections=followed(SPEND)) as store,
    ):
        writer.execute("a", OpenSession(profile_id="p"))
        with writer.batch():
            writer.execute("b", OpenSession(profile_id="p"))
            runner = Runner(store)
            thread = threading.Thread(target=runner.run)
            thread.start()
            thread.join(1)
            assert thread.is_alive()

        until(lambda: runner.working == ["spend"])
        come(spend(store), 2)
        runner.stop()
        thread.join(SOON)


def test_an_error_of_it_is_logged_told_to_who_waits_and_reaches_who_leaves_the_block(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError

    store = open_store(projections=followed(SPEND))
    last = store.execute("a", OpenSession()).position
    monkeypatch.setattr(Views, "fold", broken)

    def ended(runner: Runner) -> BaseException | None:
        cast("threading.Thread", runner._thread).join(SOON)
        return runner.error

    errors: list[BaseException | None] = []
    with pytest.raises(ArithmeticError) as raised, Runner(store) as runner:
        errors.append(ended(runner))
    assert errors == [raised.value]
    assert runner.error is None
    assert "this process no longer follows its projections" in caplog.text
    with pytest.raises(ViewBehind, match="this process's runner ended: ArithmeticError"):
        spend(store).wait(last)
    with pytest.raises(KeyError), Runner(store):
        raise KeyError


def test_what_fails_in_the_database_is_tried_again_by_one_that_nobody_would_begin_again(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFailed(path="the store", reason="the disk is full")

    def told() -> str:
        with pytest.raises(ViewBehind) as behind:
            spend(store).wait(last, timeout=0)
        return str(behind.value)

    store = open_store(projections=followed(SPEND))
    last = store.execute("a", OpenSession(profile_id="p")).position
    monkeypatch.setattr("projections.running.runner.AGAIN_SECONDS", 0.01)
    with monkeypatch.context() as failing:
        failing.setattr(Views, "fold", full)
        with Runner(store) as runner:
            until(lambda: caplog.text.count("tries again in") > 1)
            until(lambda: "this process's runner failed, and tries again: Storage" in told())

            failing.undo()
            come(spend(store), last)
            assert (runner.error, runner.working) == (None, ["spend"])


def test_one_that_waits_to_try_again_can_be_stopped(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFailed(path="the store", reason="the disk is full")

    store = open_store(projections=followed(SPEND))
    store.execute("a", OpenSession(profile_id="p"))
    monkeypatch.setattr("projections.running.runner.AGAIN_SECONDS", 10 * SOON)
    failing = pytest.MonkeyPatch()

    def run() -> None:
        with Runner(store) as runner:
            until(lambda: "tries again in" in caplog.text)
            failing.undo()
            store.execute("b", OpenSession())  # what is committed meanwhile ends no wait
            assert isinstance(runner.error, StorageFailed)

    began = time.monotonic()
    failing.setattr(Views, "fold", full)
    with pytest.raises(StorageFailed, match="the disk is full"):
        run()

    assert time.monotonic() - began < SOON
    assert caplog.text.count("tries again in") == 1


def test_it_can_be_run_again(open_store: OpenStore) -> None:
    store = open_store(projections=followed(SPEND))
    runner = Runner(store)
    for number in range(2):
        with runner:
            last = store.execute(f"a{number}", OpenSession(profile_id="p")).position
            come(spend(store), last)

    last = store.execute("b", OpenSession(profile_id="p")).position
    runner.run(until=last)

    assert spend(store).get("p") == Spend(3, 0)


@pytest.mark.parametrize("how", ["switched to live", "dropped"])
def test_a_projection_whose_relations_go_stops_no_other(
    url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with SessionStore.open(url, projections=followed(SALES, SPEND)) as store:
        store.execute("open", OpenSession(profile_id="p"))
        fill(store, "a")
        Runner(store).run(until=store.position)
        last = store.execute("open", add("z")).position
        database, to_do = store.recorder.database, [how]
        others = SessionStore(database, 1, read_only=True, projections=followed(SPEND))

        def read_and_go(*given: Any, **named: Any) -> Page:
            page = read_page(*given, **named)
            if page.until == last and to_do:
                if to_do.pop() == "dropped":
                    drop(others, "sales")
                else:
                    rebuild(store, names=["sales"], mode="live")
            return page

        monkeypatch.setattr("projections.running.posts.read_page", read_and_go)
        with Runner(store) as runner:
            come(spend(store), last)
            until(lambda: runner.working == ["spend"])


def test_a_projection_that_is_named_twice_is_begun_once(open_store: OpenStore) -> None:
    store = open_store(projections=in_mode("followed", MENDED))
    store.execute("a", OpenSession())

    Runner(store, ["sales", "sales"]).run(until=1)

    assert verify(store) == []


def test_a_name_that_no_projection_has_is_told(store: SessionStore) -> None:
    with pytest.raises(ProjectionNotFound, match=r"'sale': this process knows .*sales"):
        Runner(store, ["sale"])
    with pytest.raises(InvalidValue, match="names: a list of names, not 'sales'"):
        Runner(store, "sales")


def test_one_that_loses_the_right_to_work_leaves_it_to_whoever_takes_it_again(
    url: str, postgres: str
) -> None:
    with (
        SessionStore.open(url, projections=followed(SPEND)) as store,
        Runner(store, ["spend"]) as one,
    ):
        fill(store, "a")
        until(lambda: one.working == ["spend"])
        with Runner(again(store), ["spend"]) as other:
            for number in range(3):
                take_away(store, postgres, right(store))
                until(lambda: is_held(store))

                last = fill(store, f"b{number}")
                come(spend(store), last)
                until(lambda: one.working + other.working == ["spend"] and is_held(store))
        assert verify(store) == []


def test_a_file_that_cannot_be_locked_is_named_with_the_reason(
    sqlite_url: str, tmp_path: Path
) -> None:
    for what in ("spend-1", "rebuild"):
        (tmp_path / f"store.db-{what}.lock").mkdir()
    with SessionStore.open(sqlite_url, projections=followed(SPEND)) as store:
        last = fill(store, "a")
        because = r"store\.db-spend-1\.lock cannot be written: Is a directory$"

        with pytest.raises(StorageFailed, match=because):
            Runner(store).run(until=last)
        with pytest.raises(StorageFailed, match=because):
            spend(store).wait(last, timeout=0)
        with pytest.raises(StorageFailed, match=r"store\.db-rebuild\.lock cannot be written"):
            rebuild(store)


LOCK_AS_NOBODY = """
import os, sys
from sessions.errors import StorageFailed
from sessions.sqlite.inside import Inside
from sessions.sqlite.lock import held_file
with held_file(sys.argv[1], "rebuild", Inside()):
    os.chmod(f"{sys.argv[1]}-rebuild.lock", 0o444)
    if os.getuid() == 0:
        os.setresuid(65534, 65534, 65534)
    with held_file(sys.argv[1], "rebuild", Inside()) as held:
        print(held)
try:
    with held_file(sys.argv[1], "rebuild", Inside()) as held:
        print("it is held")
except StorageFailed as error:
    print(error)
"""


def test_a_file_that_is_read_only_is_not_believed_to_be_locked() -> None:
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        command = [sys.executable, "-c", LOCK_AS_NOBODY, f"{directory}/store.db"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)

    taken, free = ran.stdout.splitlines()
    assert taken == "None"
    assert free.endswith("-rebuild.lock cannot be written: it is read-only")


def take_away(store: SessionStore, server: str, what: str) -> None:
    """Let what is held be lost: with the connection on PostgreSQL, and with the file on SQLite."""
    database: Any = store.recorder.database
    if not database.dialect.joins_rows:
        Path(f"{database.path}-{what.replace('/', '-')}.lock").unlink()
        return
    lock = database._locks.of_lease(what)
    end = (
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' "
        "AND (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) = %s"
    )
    with psycopg.connect(server, autocommit=True) as connection:
        until(lambda: connection.execute(end, [lock]).fetchall() == [(True,)])


def is_held(store: SessionStore) -> bool:
    """Whether somebody holds the right to work."""
    return store.recorder.database.is_held(right(store))


# --- waiting for it


def test_who_waits_reads_what_was_written(store: SessionStore) -> None:
    with Runner(store) as runner:
        until(lambda: runner.working == ["sales", "spend"])
        for number in range(10):
            executed = store.execute(f"w{number}", OpenSession(profile_id="w"))
            spend(store).wait(executed.position, timeout=SOON)
            assert spend(store).get("w") == Spend(number + 1)


def test_who_waits_for_what_the_store_does_not_know_yet_gives_a_runner_time_to_begin(
    open_store: OpenStore,
) -> None:
    older = open_store()
    last = fill(older, "a")
    store = SessionStore(older.recorder.database, 1, projections=followed(MENDED, SPEND))

    with pytest.raises(ProjectionNotKept, match="spend 1: run `sessions projections run`, which "):
        spend(store).wait(last, timeout=0.05)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(spend(store).wait, last)
        assert not wait([waiting], timeout=0.1).done
        with Runner(store):
            waiting.result()

    assert spend(store).get("p") == Spend(4, 4)
    unknown = replace(SPEND, name="unknown", mode="inline")
    with pytest.raises(ProjectionNotKept, match="unknown 1: install it, or give it to `Sess"):
        StoredProjection(store, unknown).wait(last)


def test_who_waits_while_one_takes_over_from_another_is_not_told_that_nobody_is_at_work(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as at_work:

        def looks(opened: SessionStore, build: Build) -> bool:
            """It looks just before another runner takes over."""
            found = is_followed(opened, build)
            runner = at_work.enter_context(Runner(again(store), ["spend"]))
            until(lambda: runner.working or spend(store).position == 20)
            return found

        monkeypatch.setattr("projections.running.coming.is_followed", looks)
        spend(store).wait(20, timeout=SOON)

        assert spend(store).position == 20


def test_who_waits_in_vain_is_told_why(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Runner(store).run(until=20)
    last = store.execute("b", OpenSession(profile_id="p")).position

    with pytest.raises(ViewBehind, match="20, not 21: nobody follows the log") as behind:
        spend(store).wait(last, timeout=0.05)
    assert behind.value.retry
    with (
        store.recorder.database.held(right(store)),
        pytest.raises(ViewBehind, match=r"it is followed, but did not get there within 0\.05 s"),
    ):
        spend(store).wait(last, timeout=0.05)
    looks = iter([False, False, True])  # one takes over when it is given up
    with monkeypatch.context() as late:
        late.setattr("projections.running.coming.is_followed", lambda *_: next(looks))
        with pytest.raises(ViewBehind, match="nobody follows the log"):
            spend(store).wait(last, timeout=SOON)
    rebuild(store, names=["spend"], mode="inline")
    spend(store).wait(last, timeout=0.05)
    with pytest.raises(ViewBehind, match="the log itself ends before that"):
        spend(store).wait(last + 1, timeout=0.05)


@pytest.mark.parametrize("timeout", [math.nan, math.inf, -math.inf, -1, -0.1, 10**400, "1", True])
def test_what_is_no_time_to_wait_is_refused_at_once(
    store: SessionStore,
    timeout: Any,
) -> None:
    with pytest.raises(InvalidValue, match=r"^timeout: seconds from 0 to 2147483, not "):
        spend(store).wait(store.position + 1, timeout=timeout)


@pytest.mark.parametrize("position", [-1, 1.0, math.nan, "1", None, True])
def test_what_is_no_position_to_wait_for_is_refused(
    store: SessionStore,
    position: Any,
) -> None:
    with pytest.raises(InvalidValue, match=r"^position: a whole number >= 0, not "):
        spend(store).wait(position)


@pytest.mark.parametrize("page", [0, -1, 1.0, "1", None])
def test_a_page_without_a_position_is_refused(
    store: SessionStore,
    page: Any,
) -> None:
    with pytest.raises(InvalidValue, match=r"^page: a whole number >= 1, not "):
        Runner(store, page=page)


@pytest.mark.parametrize("until", [-1, 1.0, math.nan, "1"])
def test_what_is_no_position_to_come_to_is_refused(
    store: SessionStore,
    until: Any,
) -> None:
    with pytest.raises(InvalidValue, match=r"^until: a whole number >= 0, not "):
        Runner(store).run(until=until)


def test_what_comes_after_the_position_to_come_to_is_not_even_read(store: SessionStore) -> None:
    end = store.execute("z", OpenSession()).position
    store.execute("z", CloseSession())
    with unguarded(store.recorder.database) as connection:
        connection.execute(f"UPDATE events SET type = 'FromTheFuture' WHERE position = {end + 1}")

    Runner(store).run(until=end)

    assert spend(store).position == end
    with pytest.raises(UnknownEvent):
        Runner(store).run(until=end + 1)


def test_one_that_is_far_behind_holds_up_nobody(store: SessionStore) -> None:
    Runner(store).run(until=store.position)
    with store.recorder.database.writing() as connection:
        connection.execute("UPDATE positions SET position = 0 WHERE follower LIKE 'spend%'")
        connection.execute("DELETE FROM spend")
    done = store.execute("z", OpenSession())
    came: list[tuple[int, int]] = []
    runner = Runner(store, page=3)

    def progress(_: int, __: int) -> None:
        came.append((StoredProjection(store, MENDED).position, spend(store).position))
        if came[-1] == (done.position, done.position):
            runner.stop()

    runner.run(progress=progress)

    assert came[0] == (done.position, 0)
    assert len(came) == 1 + -(-done.position // 3)  # and each page is read once
    assert verify(store) == []


def test_in_a_run_to_a_position_what_one_cannot_read_keeps_no_other_one_behind(
    store: SessionStore,
) -> None:
    end = store.position
    Runner(store, ["sales"]).run(until=end)
    bad = store.execute("z", OpenSession()).position
    with unguarded(store.recorder.database) as connection:
        connection.execute(f"UPDATE events SET type = 'FromTheFuture' WHERE position = {bad}")

    with pytest.raises(UnknownEvent):
        Runner(store, page=3).run(until=bad)

    assert spend(store).position == end


def test_a_view_that_is_read_while_its_mode_is_switched_is_answered(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Runner(store).run(until=store.position)
    views = spend(store)
    expected, check = views.get("p"), views.check_not_parked

    def switched(key: Any) -> None:
        monkeypatch.undo()
        check(key)
        rebuild(store, names=["spend"], mode="live")
        drop(store, "spend")

    monkeypatch.setattr(views, "check_not_parked", switched)

    assert views.get("p") == expected is not None


def test_who_has_no_time_to_wait_is_told_how_it_stands(store: SessionStore) -> None:
    Runner(store).run(until=20)

    spend(store).wait(0, timeout=0)
    spend(store).wait(20, timeout=0)
    with pytest.raises(ViewBehind):
        spend(store).wait(21, timeout=0)


def right(store: SessionStore) -> str:
    return f"spend/{store.application_id}"


# --- what changes meanwhile


def test_a_mode_that_is_switched_ends_and_begins_the_work(store: SessionStore) -> None:
    with Runner(store) as runner:
        come(spend(store), 20)

        assert rebuild(again(store), names=["spend"], mode="inline").switched
        store.execute("b", OpenSession(profile_id="p"))
        until(lambda: runner.working == ["sales"])
        assert spend(store).get("p") == Spend(5, 4)

        rebuild(again(store), names=["spend"], mode="followed")
        until(lambda: runner.working == ["sales", "spend"])
        last = store.execute("c", OpenSession(profile_id="p")).position
        come(spend(store), last)
        come(sales(store), last)
        assert spend(store).get("p") == Spend(6, 4)

        rebuild(again(store), names=["spend"], mode="live")
        store.execute("d", OpenSession(profile_id="p"))
        until(lambda: runner.working == ["sales"])
        assert spend(store).get("p") == Spend(7, 4)
    assert verify(store) == []


def test_a_rebuild_in_the_same_mode_is_gone_on_with(store: SessionStore) -> None:
    with Runner(store):
        come(spend(store), 20)
        for number in range(3):
            assert rebuild(again(store)).switched
            last = fill(store, f"b{number}", 1)
            come(spend(store), last)
            come(sales(store), last)
        assert spend(store).get("p") == Spend(7, 7)
    assert verify(store) == []


def test_an_old_version_is_left_once_a_newer_one_takes_its_place(store: SessionStore) -> None:
    newer = SessionStore(
        store.recorder.database,
        1,
        read_only=True,
        projections=followed(MENDED, replace(SPEND, version=2)),
    )
    with Runner(store) as old, Runner(newer) as new:
        come(spend(store), 20)
        come(sales(store), 20)
        assert "spend" not in new.working

        rebuild(newer, names=["spend"])
        last = store.execute("b", OpenSession(profile_id="p")).position
        until(lambda: "spend" in new.working and "spend" not in old.working)
        come(StoredProjection(newer, newer.projections[-1]), last)


def test_applications_are_followed_each_by_itself(open_store: OpenStore) -> None:
    stores = [open_store(number, projections=followed(MENDED, SPEND)) for number in (1, 2)]
    if stores[0].recorder.database.in_memory:
        pytest.skip("in memory each application has a database of its own")
    for number, store in enumerate(stores):
        fill(store, "a", number + 1)

    Runner(stores[0]).run(until=5)
    assert [spend(store).position for store in stores] == [5, 0]
    with Runner(stores[0]) as one, Runner(stores[1]) as two:
        come(spend(stores[1]), 10)
        come(sales(stores[1]), 10)
        until(lambda: one.working == two.working == ["sales", "spend"])

    assert [spend(store).get("p") for store in stores] == [Spend(1, 1), Spend(2, 2)]
    assert [verify(store) for store in stores] == [[], []]


@pytest.mark.parametrize("mode", ["inline", "live"])
def test_what_is_not_followed_is_no_work(open_store: OpenStore, mode: Any) -> None:
    store = open_store(projections=in_mode(mode, MENDED))
    fill(store, "a")
    runner = Runner(store)

    runner.run(until=store.position)

    assert sales(store).get("a0") is not None
    assert runner.working == []


# --- when the interpreter exits


@pytest.mark.parametrize("how", ["thread", "executor"])
@pytest.mark.parametrize("events", [1, 1000], ids=["it waits", "it is behind"])
def test_a_runner_that_nobody_stops_ends_when_the_interpreter_exits(
    any_url: str, how: str, events: int
) -> None:
    printed = printed_by(RUN_TO_THE_END, any_url, how, str(events))

    assert printed == "main ends\nended\n"


def test_a_runner_is_stopped_while_its_server_is_away(postgres_url: str) -> None:
    options: dict[str, Any] = {"projections": followed(MENDED), "lock_timeout": SOON}
    with Line(postgres_url) as line, SessionStore.open(line.url, **options) as store:
        store.execute("a", OpenSession())
        runner = Runner(store)
        with runner:
            come(StoredProjection(store, MENDED), 1)
            line.cut()
            until(lambda: not runner.working)  # it has seen it
            time.sleep(0.2)
            started = time.monotonic()
        assert time.monotonic() - started < SOON / 3


def test_who_ran_a_runner_waits_for_the_server_again_as_anyone_does(postgres_url: str) -> None:
    options: dict[str, Any] = {"projections": followed(MENDED), "lock_timeout": SOON}
    with Line(postgres_url) as line, SessionStore.open(line.url, **options) as store:
        store.execute("a", OpenSession())
        Runner(store).run(until=1)
        line.cut()
        mended = threading.Timer(0.3, line.mend)
        mended.start()

        assert store.query("SELECT count(*) FROM events") == [(1,)]

        mended.join()


def test_a_runner_that_is_to_come_to_a_position_waits_for_its_server_too(
    postgres_url: str,
) -> None:
    with (
        Line(postgres_url) as line,
        SessionStore.open(postgres_url, projections=followed(MENDED)) as writing,
        SessionStore.open(line.url, projections=followed(MENDED), lock_timeout=0.2) as store,
        ThreadPoolExecutor(1) as pool,
    ):
        writing.execute("a", OpenSession())
        Runner(store).run(until=1)
        runner = Runner(store)
        running = pool.submit(lambda: runner.run(until=2))
        until(lambda: runner.working)

        line.cut()
        until(lambda: not runner.working)
        time.sleep(2.5)  # longer than a connection is waited for
        line.mend()
        writing.execute("a", add())

        running.result(SOON)
        assert StoredProjection(writing, MENDED).position == 2
