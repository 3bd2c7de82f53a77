"""A page is written while the next one is folded, and whoever asks sees it written."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from projections import rebuild, verify
from projections.rebuilding import catching_up
from projections.rebuilding.write_behind import WriteBehind
from sessions import OpenSession, SessionStore, SetDiscount
from sessions.sql.schema import POSITIONS
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.sql.connection import Connection
    from sessions.sql.inserting import Write

ASKED = "SELECT position FROM positions WHERE follower = ? ORDER BY position"
SLOW = 0.05


class BrokenError(Exception):
    """What a write ends with."""


@pytest.fixture
def behind(store: SessionStore) -> Iterator[WriteBehind]:
    store.execute("order-1", OpenSession())
    with WriteBehind(store.recorder.database, bool) as behind:
        yield behind


def slow(_: Connection) -> None:
    time.sleep(SLOW)


def broken(_: Connection) -> None:
    time.sleep(SLOW)
    raise BrokenError


def come(position: int, connection: Connection) -> None:
    connection.execute(POSITIONS.insert(), ("me", str(position), position))


def page(position: int, *more: Write) -> list[Write]:
    return [slow, partial(come, position), *more]


def test_who_asks_sees_all_that_was_to_be_written(behind: WriteBehind) -> None:
    behind.write(page(1), bool)
    behind.write(page(2), bool)

    assert behind.query(ASKED, ["me"]) == [(1,), (2,)]


def test_all_is_written_at_its_end(store: SessionStore) -> None:
    store.execute("order-1", OpenSession())

    with WriteBehind(store.recorder.database, bool) as behind:
        behind.write(page(1), bool)

    assert store.query(ASKED, ["me"]) == [(1,)]


def test_it_tells_of_a_page_when_that_is_durable(store: SessionStore) -> None:
    store.execute("order-1", OpenSession())
    told = []

    def tell() -> None:
        told.append(store.query(ASKED, ["me"]))

    with suppress(BrokenError), WriteBehind(store.recorder.database, bool) as behind:
        behind.write(page(1), tell)
        behind.write(page(2), tell)
        behind.write(page(3, broken), tell)

    assert told == [[(1,)], [(1,), (2,)]]


def test_a_page_that_fails_leaves_no_trace_and_none_is_written_after_it(
    store: SessionStore,
) -> None:
    store.execute("order-1", OpenSession())
    behind = WriteBehind(store.recorder.database, bool)

    with suppress(BrokenError), behind:
        behind.write(page(1), bool)
        behind.write(page(2, broken), bool)
        behind.write(page(3), bool)
        pytest.fail("the page behind the broken one was taken")

    assert store.query(ASKED, ["me"]) == [(1,)]


def test_the_last_page_that_fails_is_told_at_its_end(store: SessionStore) -> None:
    store.execute("order-1", OpenSession())

    with pytest.raises(BrokenError), WriteBehind(store.recorder.database, bool) as behind:
        behind.write(page(1, broken), bool)


def test_who_refuses_does_so_before_anything_is_written(store: SessionStore) -> None:
    store.execute("order-1", OpenSession())

    with pytest.raises(BrokenError), WriteBehind(store.recorder.database, broken) as behind:
        behind.write(page(1), bool)

    assert store.query(ASKED, ["me"]) == []


def test_what_goes_wrong_beside_it_is_raised_when_the_page_is_written(store: SessionStore) -> None:
    store.execute("order-1", OpenSession())

    with suppress(KeyError), WriteBehind(store.recorder.database, bool) as behind:
        behind.write(page(1), bool)
        raise KeyError

    assert store.query(ASKED, ["me"]) == [(1,)]


def test_a_server_writes_while_the_next_page_is_folded(postgres_url: str) -> None:
    folded = threading.Event()

    def until_folded(_: Connection) -> None:
        assert folded.wait(SOON)

    with (
        SessionStore.open(postgres_url) as store,
        WriteBehind(store.recorder.database, bool) as behind,
    ):
        behind.write([until_folded, partial(come, 1)], bool)
        assert store.query(ASKED, ["me"]) == []

        folded.set()

        assert behind.query(ASKED, ["me"]) == [(1,)]


def test_a_view_that_is_held_no_longer_is_read_as_the_page_before_left_it(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "_PAGE", 4)
    monkeypatch.setattr(catching_up, "HELD", 1)
    sessions = [f"order-{number}" for number in range(5)]
    for session in sessions:
        store.execute(session, OpenSession(profile_id="p"))
    for number in range(4):
        for session in sessions:
            store.execute(session, SetDiscount(label=f"l{number}", value=Decimal(number)))

    rebuild(store)

    assert verify(store) == []
