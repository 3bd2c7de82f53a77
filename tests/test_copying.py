"""A store moves to another database: everything as it is, and nothing half."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from eventsourcing.persistence import Tracking

from projections import (
    CustomerHistories,
    CustomerSessions,
    Runner,
    StoredProjection,
    copy,
    drop,
    parked,
    rebuild,
    status,
    verify,
)
from projections.copying.side_by_side import SideBySide
from projections.customer_session import PROJECTION
from sessions import (
    ApplyCoupon,
    BatchOpen,
    CloseSession,
    CopyDiffers,
    CopyUnfinished,
    InvalidValue,
    OpenSession,
    ProjectionTooOld,
    RebuildRunning,
    ReopenSession,
    SessionStore,
    SetAttributes,
    StoreNotFound,
    ViewsDiffer,
)
from sessions.infrastructure import PositionRecorder
from tests.conftest import add
from tests.sample_projections import BAD, SALES, SPEND, in_mode
from tests.tampering import unguarded
from tests.test_cli_maintain import run
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import OpenStore

ROADS = [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "memory")]


@pytest.fixture(params=ROADS, ids=" to ".join)
def road(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The URL of a store with two applications, and that of a store which is to be its copy."""
    one, other = request.param
    source: str = request.getfixturevalue(f"{one}_url")
    fill(source)
    return source, "memory:" if other == "memory" else request.getfixturevalue(f"{other}_url")


def fill(url: str) -> None:
    for application in (1, 322):
        with SessionStore.open(url, application) as store:
            for number in range(7):
                session = f"order-\N{PILE OF POO}-{number}" * 40
                store.execute(session, OpenSession(profile_id="cust"), idempotency_key=f"k{number}")
                store.execute(session, add(price="0.10"), metadata={"actor": "é"})
                store.execute(session, SetAttributes(attributes={"a": [1, None, "\u2028"]}))
                store.execute(session, ApplyCoupon(coupon="SPRING"))
                store.execute(session, CloseSession())
            store.execute(session, ReopenSession())


def held(store: SessionStore) -> list[object]:
    keys = [f"k{number}" for number in range(7)]
    return [list(store.log()), *map(store.answered, keys)]


def test_positions_times_ids_keys_and_bytes_stay_as_they_are(road: tuple[str, str]) -> None:
    source, target = road
    with (
        SessionStore.open(source, 322, read_only=True) as one,
        SessionStore.open(target, 322, read_only=True) as other,
    ):
        copied = copy(one, other)
        assert (copied.applications, copied.events, copied.keys) == (2, 72, 14)
        assert held(one) == held(other)
        data = "SELECT CAST(data AS text) FROM events ORDER BY application_id, position"
        assert one.query(data) == other.query(data)
        views = [CustomerSessions(store).of_profile("cust") for store in (one, other)]
        assert views[0] == views[1]
        assert verify(other) == []


def test_the_copy_is_written_to_as_its_source_was(sqlite_url: str, postgres_url: str) -> None:
    fill(sqlite_url)
    assert run("copy", sqlite_url, postgres_url).code == 0
    with SessionStore.open(postgres_url, 322) as store:
        again = store.execute("new", OpenSession(profile_id="cust"), idempotency_key="new")
        assert again.position == 37
        assert not CustomerSessions(store).get("new").first_session


def test_only_one_copies_to_a_store_at_a_time(road: tuple[str, str]) -> None:
    source, target = road
    refused: list[RebuildRunning] = []

    def copy_too(*_: int) -> None:
        with pytest.raises(RebuildRunning) as refusal:
            copy(one, other)
        refused.append(refusal.value)

    with (
        SessionStore.open(source, read_only=True) as one,
        SessionStore.open(target, read_only=True) as other,
    ):
        assert copy(one, other, copy_too).events == 72
        assert refused
        assert verify(other) == []


def test_one_that_was_interrupted_goes_on_and_is_no_store_before_it_is_complete(
    sqlite_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_url)
    monkeypatch.setattr("projections.copying.side_by_side._PAGE", 5)

    def interrupt(done: int, _: int) -> None:
        if done > 40:
            raise KeyboardInterrupt

    with (
        SessionStore.open(sqlite_url, read_only=True) as one,
        SessionStore.open(postgres_url, read_only=True) as other,
    ):
        with pytest.raises(KeyboardInterrupt):
            copy(one, other, interrupt)
        with pytest.raises(CopyUnfinished):
            SessionStore.open(postgres_url)
        progress: list[int] = []
        copy(one, other, lambda done, _: progress.append(done))
        assert progress[0] == 36
        assert held(one) == held(other)
    SessionStore.open(postgres_url).close()


def test_nobody_opens_a_copy_that_is_not_whole_by_another_way(
    road: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = road
    monkeypatch.setattr("projections.copying.side_by_side.SideBySide.compare", interrupted)
    with (
        SessionStore.open(source, 322, read_only=True) as one,
        SessionStore.open(target, 322, read_only=True) as other,
    ):
        with pytest.raises(KeyboardInterrupt):
            copy(one, other)
        bare = SessionStore(other.recorder.database, 322, read_only=True, projections=())

        for ways in (
            lambda: SessionStore(other.recorder.database, 322, projections=()),
            lambda: rebuild(other),
            lambda: rebuild(other, names=["attachments"]),
            lambda: drop(other, "attachments"),
            lambda: Runner(other).run(until=1),
            lambda: copy(other, one),
            lambda: verify(bare),
            lambda: CustomerSessions(other).get("b"),
            lambda: CustomerSessions(other).of_profile("p"),
            lambda: CustomerHistories(other).get("p"),
            lambda: StoredProjection(other, PROJECTION).get("b"),
        ):
            with pytest.raises(CopyUnfinished, match="let `sessions copy` finish, or run it again"):
                ways()
        monkeypatch.undo()

        copy(one, other)

        assert held(one) == held(other)
        assert {each.name for each in status(other)} == {each.name for each in status(one)}


def test_what_the_source_keeps_must_be_known(sqlite_url: str, postgres_url: str) -> None:
    newer = in_mode("followed", replace(SALES, version=2))
    with SessionStore.open(sqlite_url, projections=newer) as one:
        one.execute("a", OpenSession())
        rebuild(one)
        with SessionStore.open(postgres_url, read_only=True) as other:
            with pytest.raises(ViewsDiffer, match="install sales here, or drop it from the source"):
                copy(one, other)
            assert not other.exists
        older = in_mode("followed", SALES)
        with (
            SessionStore.open(postgres_url, read_only=True, projections=older) as other,
            pytest.raises(ProjectionTooOld, match=r"has sales 1: upgrade this process$"),
        ):
            copy(one, other)


@pytest.mark.parametrize("page", [1, 3, 2000])
def test_a_copy_that_is_complete_takes_what_its_source_got_since(
    sqlite_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("projections.copying.side_by_side._PAGE", page)
    fill(sqlite_url)
    assert run("copy", sqlite_url, postgres_url).code == 0
    with SessionStore.open(sqlite_url) as store:
        store.execute("late", OpenSession())
        keys = [key for (key,) in store.query("SELECT DISTINCT idempotency_key FROM answers")]
        for number, key in enumerate(["", *keys]):  # before, between and after those that are there
            late = OpenSession() if number == 0 else add()
            store.execute("later", late, idempotency_key=f"{key}!")
    assert run("copy", sqlite_url, postgres_url, "--json").json == [
        {"applications": 2, "events": 74 + len(keys), "keys": 15 + len(keys)}
    ]


def test_a_target_with_a_history_of_its_own_is_left_alone(
    sqlite_url: str, postgres_url: str
) -> None:
    fill(sqlite_url)
    with SessionStore.open(postgres_url) as store:
        store.execute("other", OpenSession())
    with (
        SessionStore.open(sqlite_url, read_only=True) as one,
        SessionStore.open(postgres_url, read_only=True) as other,
        pytest.raises(CopyDiffers),
    ):
        copy(one, other)
    with SessionStore.open(postgres_url) as store:
        assert [recorded.stream_id for recorded in store.log()] == ["other"]


def test_a_target_that_somebody_begins_to_write_to_is_left_to_him(
    sqlite_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_url)
    check = SideBySide.check_begun
    with (
        SessionStore.open(sqlite_url, read_only=True) as one,
        SessionStore.open(postgres_url, read_only=True) as target,
        SessionStore.open(postgres_url) as other,
    ):

        def checked(*given: Any) -> None:
            check(*given)
            other.execute("other", OpenSession())

        monkeypatch.setattr(SideBySide, "check_begun", checked)
        with pytest.raises(CopyDiffers, match=r"rows just written to the target \(is .* to either"):
            copy(one, target)
        assert other.execute("other", CloseSession()).position == 2
        assert verify(other) == []


def is_closed(url: str) -> bool:
    """Whether nobody can write to a store."""
    try:
        SessionStore.open(url).close()
    except CopyUnfinished:
        return True
    return False


def test_a_copy_whose_source_was_written_to_is_no_store_before_it_is_made_again(
    sqlite_url: str, postgres_url: str
) -> None:
    fill(sqlite_url)

    late = iter(["late"])

    def write(done: int, _: int) -> None:
        with SessionStore.open(sqlite_url) as store:
            for session in late if done > 36 else ():
                store.execute(session, OpenSession())

    with (
        SessionStore.open(sqlite_url, read_only=True) as one,
        SessionStore.open(postgres_url, read_only=True) as other,
    ):
        with pytest.raises(CopyDiffers, match=r"at event \d+ of application 1 "):
            copy(one, other, write)
        assert is_closed(postgres_url)

        assert copy(one, other).events == 73

        assert held(one) == held(other)
    assert not is_closed(postgres_url)


def interrupted(*_: object, **__: object) -> list[object]:
    raise KeyboardInterrupt


def differs(*_: object, **__: object) -> list[object]:
    return ["a difference"]


@pytest.mark.parametrize(
    ("where", "broken", "error"),
    [
        ("SideBySide.compare", interrupted, KeyboardInterrupt),
        ("differences_within", interrupted, KeyboardInterrupt),
        ("differences_within", differs, CopyDiffers),
    ],
)
def test_one_that_ends_late_is_no_store_either(
    road: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    broken: object,
    error: type[BaseException],
) -> None:
    source, target = road
    with (
        SessionStore.open(source, 322, read_only=True) as one,
        SessionStore.open(target, 322, read_only=True) as other,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"projections.copying.copy.{where}", broken)
            with pytest.raises(error):
                copy(one, other)
        with pytest.raises(CopyUnfinished):
            SessionStore(other.recorder.database, 322)

        copy(one, other)

        assert held(one) == held(other)
        SessionStore(other.recorder.database, 322).execute("new", OpenSession())


KILLED = """
import os, signal, sys
from functools import reduce
from projections.copying import copy as copying
from sessions import SessionStore
*path, name = sys.argv[1].split(".")
setattr(reduce(getattr, path, copying), name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
one, other = (SessionStore.open(url, read_only=True) for url in sys.argv[2:])
copying.copy(one, other)
"""


@pytest.mark.parametrize("where", ["_copy_positions", "SideBySide.compare", "_verify"])
@pytest.mark.parametrize("road", ROADS[:2], ids=" to ".join, indirect=True)
def test_one_that_is_killed_is_no_store_before_it_is_run_again(
    road: tuple[str, str], where: str, pytestconfig: pytest.Config
) -> None:
    target = road[1]
    command = [sys.executable, "-c", KILLED, where, *road]

    ran = subprocess.run(command, cwd=pytestconfig.rootpath, check=False)

    assert ran.returncode == -signal.SIGKILL
    assert is_closed(target)
    until(lambda: run("copy", *road).code == 0)  # the server sees late that the other is gone
    assert not is_closed(target)
    with SessionStore.open(target, 322) as copied:
        assert verify(copied) == []
        assert copied.position == 36


def test_a_copy_that_is_complete_is_compared_again_while_people_use_it(
    road: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = road
    told: list[tuple[int, int]] = []
    with (
        SessionStore.open(source, 322, read_only=True) as one,
        SessionStore.open(target, 322, read_only=True) as other,
    ):
        copied, builds = copy(one, other), status(other)
        writer = SessionStore(other.recorder.database, 322)
        monkeypatch.setattr("projections.copying.copy.close", interrupted)

        assert copy(one, other, lambda *of: told.append(of)) == copied

        assert told[-1] == (72, 72)
        assert status(other) == builds
        writer.execute("new", OpenSession())


def test_a_complete_copy_with_another_event_is_left_as_it_is(
    sqlite_url: str, postgres_url: str
) -> None:
    fill(sqlite_url)
    assert run("copy", sqlite_url, postgres_url).code == 0
    with (
        SessionStore.open(postgres_url) as other,
        unguarded(other.recorder.database) as connection,
    ):
        connection.execute("UPDATE events SET data = '{}' WHERE position = 7")

    ran = run("copy", sqlite_url, postgres_url)

    assert (ran.code, ran.out) == (1, "")
    assert "differs from the source at event 7 of application 1" in ran.err
    assert not is_closed(postgres_url)


def test_a_complete_copy_whose_views_are_wrong_is_told_so_and_left_as_it_is(
    sqlite_url: str, postgres_url: str
) -> None:
    fill(sqlite_url)
    assert run("copy", sqlite_url, postgres_url).code == 0
    with SessionStore.open(postgres_url, 322) as other:
        with unguarded(other.recorder.database) as connection:
            connection.execute("UPDATE customer_sessions SET state = 'cancelled'")

        ran = run("copy", sqlite_url, postgres_url)

        assert (ran.code, ran.out) == (1, "")
        assert "differs from the source at Difference(relation='customer_sessions'" in ran.err
        other.execute("new", OpenSession())


def test_what_people_have_changed_in_a_complete_copy_stays(
    sqlite_url: str, postgres_url: str
) -> None:
    known = in_mode("inline", SALES, SPEND)
    with (
        SessionStore.open(sqlite_url, projections=known) as one,
        SessionStore.open(postgres_url, read_only=True, projections=known) as other,
    ):
        with_a_bad_item(one, "a")
        copy(one, other)
        assert sales_of(other).skip("a")
        rebuild(other, names=["spend"], mode="followed")
        then = status(other)

        copy(one, other)

        assert (status(other), waiting(other)) == (then, [])


def test_a_store_is_not_copied_onto_itself(open_store: OpenStore) -> None:
    store = open_store()
    store.execute("a", OpenSession())

    for target in (store, open_store()):
        with pytest.raises(InvalidValue, match="target: a different store than the source"):
            copy(store, target)

    assert store.execute("b", OpenSession()).position == 2
    assert verify(store) == []


def test_another_url_of_the_same_store_is_seen_through(
    sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    urls = {sqlite_url: f"sqlite:///{tmp_path}/link.db", postgres_url: f"{postgres_url}&pool=2"}
    for url, other in urls.items():
        fill(url)
        ran = run("copy", url, other)
        assert (ran.code, "a different store than the source" in ran.err) == (1, True)
        assert not is_closed(url)


def sales_of(store: SessionStore) -> StoredProjection[Any]:
    return StoredProjection(store, SALES)


def with_a_bad_item(store: SessionStore, *sessions: str) -> None:
    for session in sessions:
        store.execute_many(session, [OpenSession(profile_id="p"), add(BAD), add("x")])


def waiting(store: SessionStore) -> list[tuple[str, int]]:
    return [(each.key, each.position) for each in parked(store)]


def modes(store: SessionStore) -> dict[str, str]:
    return {each.name: each.mode for each in status(store) if each.status == "current"}


def test_what_was_skipped_is_left_out_and_a_mode_that_was_set_stays(road: tuple[str, str]) -> None:
    source, target = road
    known = in_mode("inline", SALES, SPEND)
    with SessionStore.open(source, read_only=True, projections=known) as one:
        rebuild(one)
        with SessionStore.open(source, projections=known) as writer:
            with_a_bad_item(writer, "a", "b")
        assert sales_of(one).skip("a")
        rebuild(one, names=["spend"], mode="followed")
        with SessionStore.open(target, read_only=True, projections=known) as other:
            copy(one, other)

            assert waiting(other) == waiting(one) == [("b", 41)]
            assert sales_of(other).get("a") == sales_of(one).get("a")
            assert modes(other) == modes(one)
            assert verify(other) == []


def test_what_is_skipped_before_a_copy_goes_on_is_left_out_too(
    sqlite_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = in_mode("inline", SALES)
    with (
        SessionStore.open(sqlite_url, projections=known) as one,
        SessionStore.open(postgres_url, read_only=True, projections=known) as other,
    ):
        with_a_bad_item(one, "a", "b")
        with monkeypatch.context() as patched:
            patched.setattr("projections.copying.side_by_side.SideBySide.compare", interrupted)
            with pytest.raises(KeyboardInterrupt):
                copy(one, other)
        assert sales_of(one).skip("b")

        copy(one, other)

        assert waiting(other) == [("a", 2)]
        assert sales_of(other).get("b") == sales_of(one).get("b")


def test_followers_of_others_keep_their_place(road: tuple[str, str]) -> None:
    source, target = road
    with (
        SessionStore.open(source, 322, read_only=True) as one,
        SessionStore.open(target, 322, read_only=True) as other,
    ):
        here, there = (
            [PositionRecorder(store.recorder.database, name) for name in ("mailer", "stock")]
            for store in (one, other)
        )
        for recorder in here:
            recorder.insert_tracking(Tracking("shop", 5))
        rebuild(one, names=["attachments"], mode="followed")
        Runner(one).run(until=36)

        copy(one, other)

        assert [recorder.max_tracking_id("shop") for recorder in there] == [5, 5]
        here[0].insert_tracking(Tracking("shop", 7))
        there[1].insert_tracking(Tracking("shop", 9))
        copy(one, other)  # it was complete
        assert [recorder.max_tracking_id("shop") for recorder in there] == [5, 9]
        with SessionStore.open(source, 322) as writer:
            writer.execute("late", OpenSession())
        copy(one, other)
        assert [recorder.max_tracking_id("shop") for recorder in there] == [7, 9]
        assert other.query("SELECT follower FROM positions ORDER BY 1")[-2:] == [
            ("mailer",),
            ("stock",),
        ]


def test_a_build_of_the_copy_does_not_take_its_place_from_one_with_the_same_number(
    sqlite_url: str, postgres_url: str
) -> None:
    known = in_mode("followed", SALES)

    def build_of_sales(store: SessionStore) -> int:
        builds = [each for each in status(store) if each.name == "sales"]
        return max(each.build or 0 for each in builds)

    with (
        SessionStore.open(sqlite_url, projections=known) as one,
        SessionStore.open("memory:", projections=known) as first,
        SessionStore.open(postgres_url, read_only=True, projections=known) as other,
    ):
        one.execute("a", OpenSession())
        one.execute("a", add("x"))
        Runner(one).run(until=2)
        copy(one, first)
        while build_of_sales(one) < build_of_sales(first):
            rebuild(one, names=["sales"])
        assert build_of_sales(one) == build_of_sales(first)
        Runner(one).run(until=2)

        copy(one, other)

        assert build_of_sales(other) == build_of_sales(one)
        assert sales_of(other).get("a") == sales_of(one).get("a")
        assert verify(other) == []


def test_the_copy_of_a_store_without_events_keeps_projections_as_that_does(
    sqlite_url: str, postgres_url: str
) -> None:
    with (
        SessionStore.open(sqlite_url) as one,
        SessionStore.open(postgres_url, read_only=True) as other,
    ):
        one.make()
        rebuild(one, names=["attachments"], mode="followed")

        assert copy(one, other).events == 0

        assert modes(other) == modes(one)
        assert modes(other)["attachments"] == "followed"


@pytest.mark.parametrize("application", [1, 2])
def test_a_target_with_a_key_of_its_own_is_left_as_it_is(
    sqlite_url: str, tmp_path: Path, application: int
) -> None:
    target_url = f"sqlite:///{tmp_path}/target.db"
    with SessionStore.open(sqlite_url) as source:
        source.execute("s", OpenSession(), idempotency_key="k")
    with (
        SessionStore.open(sqlite_url, read_only=True) as source,
        SessionStore.open(target_url, read_only=True) as target,
    ):
        copy(source, target)
    with SessionStore.open(target_url, application) as target:
        target.execute_all([], idempotency_key="own")

    with (
        SessionStore.open(sqlite_url, read_only=True) as source,
        SessionStore.open(target_url, read_only=True) as target,
        pytest.raises(CopyDiffers, match="own"),
    ):
        copy(source, target)

    with SessionStore.open(target_url) as target:
        assert target.execute("s", add()).version == 2


def test_the_keys_of_an_application_without_events_are_copied(
    sqlite_url: str, postgres_url: str
) -> None:
    with SessionStore.open(sqlite_url, 1) as one, SessionStore.open(sqlite_url, 2) as other:
        one.execute("s", OpenSession(), idempotency_key="k")
        other.execute_all([], idempotency_key="empty")

    with (
        SessionStore.open(sqlite_url, read_only=True) as source,
        SessionStore.open(postgres_url, 2, read_only=True) as target,
    ):
        copied = copy(source, target)

        assert (copied.applications, copied.events, copied.keys) == (2, 1, 2)
        assert target.answered("empty") == []


def test_what_is_not_there_is_not_copied(sqlite_url: str, postgres_url: str) -> None:
    with (
        SessionStore.open(sqlite_url, read_only=True) as one,
        SessionStore.open(postgres_url, read_only=True) as other,
        pytest.raises(StoreNotFound),
    ):
        copy(one, other)


def test_what_a_batch_has_not_committed_is_not_copied(store: SessionStore, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/copy.db"
    with store.batch(), SessionStore.open(url, read_only=True) as target:
        store.execute("a", OpenSession())
        with pytest.raises(BatchOpen, match="copy is not possible"):
            copy(store, target)

    assert not (tmp_path / "copy.db").exists()
