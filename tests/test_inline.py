"""Inline views: whatever a projection's key is, each event is folded into it once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from projections import rebuild, verify
from sessions import CloseSession, FoldFailed, OpenSession, SessionStore, SetProfile, ViewsDiffer
from sessions import inline as inline_module
from sessions.events import ProfileChanged, Recorded, SessionOpened
from sessions.inline import Projection
from sessions.schema import APPLICATION_ID, Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import OpenStore


class Traffic(msgspec.Struct, frozen=True):
    """How often sessions came to a profile, and left it."""

    profile_id: str
    came: int = 0
    left: int = 0


def _keys(recorded: Recorded) -> Sequence[tuple[str]]:
    match recorded.event:
        case SessionOpened(profile_id=profile):
            return ((profile,),)
        case ProfileChanged(old_profile_id=old, profile_id=new):
            return (old,), (new,)
        case _:
            return ()


def _fold(view: Traffic | None, recorded: Recorded) -> Traffic:
    match recorded.event:
        case SessionOpened(profile_id=profile):
            before = view or Traffic(profile)
            return Traffic(profile, before.came + 1, before.left)
        case _:
            msg = "only openings are expected"
            raise RuntimeError(msg)


def projection(version: int = 1) -> Projection[Traffic]:
    return Projection(
        name="traffic",
        version=version,
        table=Table(
            "traffic",
            (
                APPLICATION_ID,
                Column("profile_id"),
                Column("came", "integer"),
                Column("gone", "integer"),
            ),
            key=("application_id", "profile_id"),
        ),
        keys=_keys,
        fold=_fold,
        to_row=lambda view: (view.profile_id, view.came, view.left),
        from_row=lambda row: Traffic(*row),
        begins=lambda _: False,
    )


@pytest.fixture
def with_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more projection, keyed by profile, in a process that holds one view in memory."""
    installed = inline_module.installed()
    monkeypatch.setattr(inline_module, "installed", lambda: (*installed, projection()))
    monkeypatch.setattr(inline_module, "_CACHED_VIEWS", 1)


def rows(store: SessionStore) -> list[Any]:
    return store.query("SELECT profile_id, came, gone FROM traffic ORDER BY profile_id")


def test_fault_4_views_are_kept_on_sqlite_without_a_subscription(store: SessionStore) -> None:
    store.execute("s", OpenSession(profile_id="p"))

    assert store.query("SELECT session_id, version FROM customer_sessions") == [("s", 1)]


def test_fault_5_projections_of_one_database_do_not_share_how_far_they_came(
    store: SessionStore,
) -> None:
    for session_id in ("s", "t"):
        store.execute(session_id, OpenSession(profile_id="p"))

    assert store.query("SELECT count(*) FROM customer_sessions") == [(2,)]
    assert store.query("SELECT count(*) FROM attachments") == [(2,)]


@pytest.mark.usefixtures("with_traffic")
def test_a_view_may_be_keyed_by_what_several_streams_share(open_store: OpenStore) -> None:
    store = open_store()

    for number in range(5):
        store.execute(f"a{number}", OpenSession(profile_id="p"))
        store.execute(f"b{number}", OpenSession(profile_id="q"))

    assert rows(store) == [("p", 5, 0), ("q", 5, 0)]
    assert verify(store) == []
    assert rebuild(store) == 10
    assert rows(store) == [("p", 5, 0), ("q", 5, 0)]


@pytest.mark.usefixtures("with_traffic")
def test_an_event_that_cannot_be_folded_is_named_and_nothing_is_written(
    open_store: OpenStore,
) -> None:
    store = open_store()
    store.execute("s", OpenSession(profile_id="p"))

    with pytest.raises(FoldFailed, match=r"ProfileChanged at position 2 .* traffic") as failed:
        store.execute("s", SetProfile(profile_id="q"))

    assert (failed.value.position, failed.value.view) == (2, "traffic")
    assert store.position == 1
    assert store.execute("s", CloseSession()).position == 2


def test_a_process_with_one_more_projection_is_told_to_rebuild(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    store.execute("s", OpenSession(profile_id="p"))
    installed = inline_module.installed()
    monkeypatch.setattr(inline_module, "installed", lambda: (*installed, projection()))

    if store.recorder.database.in_memory:
        rebuild(store)
    else:
        with pytest.raises(ViewsDiffer, match="sessions rebuild"):
            open_store()
        rebuild(open_store(read_only=True))

    assert rows(store) == [("p", 1, 0)]
    with pytest.raises(ViewsDiffer):
        store.execute("s", CloseSession())
