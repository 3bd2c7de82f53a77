"""Wherever a signal interrupts a command, the store goes on, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from projections.verify import verify
from sessions import OpenSession, SessionStore
from tests.interrupts import Interrupt
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before
@pytest.mark.parametrize("how", ["execute", "await", "batch"])
def test_an_interrupt_at_any_moment_leaves_a_store_that_works(url: str, how: str) -> None:
    options = "&pool=2" if url.startswith("postgresql") else ""
    store = SessionStore.open(url + options)
    store.execute("before", OpenSession())
    interrupted = {"execute": execute, "await": awaited, "batch": batch}[how]

    for moment in count(1):
        session, interrupt = f"interrupted {moment}", Interrupt(moment)
        with suppress(KeyboardInterrupt), interrupt:
            interrupted(store, session)
        soon(partial(store.execute, f"after {moment}", OpenSession()), moment)
        interrupted(store, session)
        assert len(list(store.events(session))) == 1
        if not interrupt.came:
            break

    assert verify(store) == []
    store.close()


def execute(store: SessionStore, session: str) -> None:
    store.execute(session, OpenSession(), idempotency_key=session)


def awaited(store: SessionStore, session: str) -> None:
    asyncio.run(store.execute_async(session, OpenSession(), idempotency_key=session))


def batch(store: SessionStore, session: str) -> None:
    with store.batch():
        execute(store, session)
        store.query("SELECT 1")


def soon(call: Callable[[], object], moment: int) -> None:
    """Let another thread make a call, which must not wait for ever."""
    errors: list[BaseException] = []

    def calling() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  raised below
            errors.append(error)

    thread = threading.Thread(target=calling, daemon=True)
    thread.start()
    thread.join(SOON)
    assert not thread.is_alive(), f"it waits for ever after moment {moment}"
    assert not errors, f"{errors[0]!r} after moment {moment}"
