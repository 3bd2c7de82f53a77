"""A follower gives what is there a page at a time, for what writes many events at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions import CloseSession, OpenSession, SessionStore, SetAttributes, UndecodableEvent
from tests.conftest import add
from tests.tampering import unguarded
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions import Recorded


def positions(page: Sequence[Recorded]) -> list[int]:
    return [recorded.position for recorded in page]


def test_a_page_has_all_that_is_there(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])

    with store.follow(after=1) as follower:
        pages = follower.pages()
        assert positions(next(pages)) == [2, 3]
        assert follower.position == 3

        store.execute("s", CloseSession())
        assert positions(next(pages)) == [4]
    assert list(pages) == []


def test_the_next_page_is_waited_for(store: SessionStore) -> None:
    store.execute("s", OpenSession())

    with store.follow(after=1) as follower, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, follower.pages())
        store.execute("s", add())
        assert positions(waiting.result(SOON)) == [2]


def test_a_long_log_comes_in_pages_of_500(store: SessionStore) -> None:
    store.execute("s", OpenSession())
    with store.batch():
        for number in range(1200):
            store.execute("s", SetAttributes(attributes={"n": number}))

    with store.follow() as follower:
        pages = follower.pages()
        assert [len(next(pages)) for _ in range(3)] == [500, 500, 201]
        assert follower.position == 1201


def test_no_page_is_empty_and_the_position_moves_past_what_was_not_asked_for(
    store: SessionStore,
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), CloseSession()])
    store.execute_many("t", [OpenSession(), add("a"), add("b")])

    with store.follow(types=["SessionClosed"]) as follower:
        assert positions(next(follower.pages())) == [3]
        assert follower.position == 6


def test_after_a_stop_no_page_comes_though_some_of_one_was_given(store: SessionStore) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])
    follower = store.follow()
    assert next(follower).position == 1

    follower.stop()

    assert (list(follower.pages()), follower.position) == ([], 1)


def test_what_cannot_be_read_ends_a_page_and_is_raised_in_place_of_the_next(
    store: SessionStore,
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b"), add("c")])
    with unguarded(store.recorder.database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = 3")

    follower = store.follow()
    assert positions(next(follower.pages())) == [1, 2]
    for _ in range(2):
        with pytest.raises(UndecodableEvent, match="at position 3"):
            next(follower.pages())
        assert follower.position == 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeoutError])  # as a signal handler raises
def test_an_interrupt_loses_nothing_of_a_page(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    store.execute_many("s", [OpenSession(), add("a"), add("b")])
    follower = store.follow()
    read = follower._read

    def interrupted(after: int) -> tuple[Iterator[tuple[int, Recorded]], int]:
        found, until = read(after)

        def first_two() -> Iterator[tuple[int, Recorded]]:
            yield next(found)
            yield next(found)
            raise kind

        return first_two(), until

    with monkeypatch.context() as interrupting:
        interrupting.setattr(follower, "_read", interrupted)
        with pytest.raises(kind):
            next(follower.pages())

    assert follower.position == 0
    assert positions(next(follower.pages())) == [1, 2, 3]


steps = st.lists(st.sampled_from(["one", "page", "add", "close"]), max_size=40)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, types=st.sampled_from([[], ["ItemAdded"], ["SessionClosed"]]))
def test_one_by_one_and_in_pages_give_the_same_whatever_the_order(
    monkeypatch: pytest.MonkeyPatch, steps: list[str], types: list[str]
) -> None:
    monkeypatch.setattr("sessions.log.follower.PAGE", 3)
    with SessionStore.open("memory:") as store, store.follow(types=types) as follower:
        came: list[int] = []
        for number, step in enumerate(steps):
            if step == "add":
                store.execute_many(f"{number}", [OpenSession(), add("a"), add("b")])
            elif step == "close":
                store.execute(f"{number}", OpenSession(state="closed"))
            elif positions(list(store.log(after=follower.position, types=types))):
                took = [next(follower)] if step == "one" else next(follower.pages())
                came += positions(took)
                assert len(took) <= 3
                assert follower.position >= came[-1]

        expected = positions(list(store.log(until=follower.position, types=types)))
    assert came == expected
