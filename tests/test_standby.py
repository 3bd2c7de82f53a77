"""A hot standby of PostgreSQL: it is read, followed and waited for while its primary is written."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from projections import CustomerSessions, Runner, StoredProjection
from sessions import CloseSession, OpenSession, SessionStore, StoreUnavailable, ViewBehind
from tests.postgres_server import hot_standby
from tests.sample_projections import SPEND, Spend, followed
from tests.waiting import SOON, until
from tests.watching import watching

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    "SESSIONS_TEST_POSTGRES" in os.environ, reason="a standby needs the files of the server"
)


def test_who_reads_a_standby_sees_what_is_written_and_is_told_of_nothing_that_it_cannot_know(
    postgres_url: str, postgres_directory: Path
) -> None:
    known = followed(SPEND)
    directory = postgres_directory.with_name("standby")
    with SessionStore.open(postgres_url, projections=known) as store:
        store.execute("a", OpenSession(profile_id="p"))
        with Runner(store) as runner, hot_standby(postgres_directory, directory) as server:
            url = f"{server}&schema={postgres_url.rpartition('=')[2]}"
            with SessionStore.open(url, projections=known) as writer:
                with pytest.raises(
                    StoreUnavailable, match="a standby, which can only be read"
                ) as no:
                    writer.execute("b", OpenSession())
                assert no.value.retry
            with SessionStore.open(url, read_only=True, projections=known) as standby:
                spend, views = StoredProjection(standby, SPEND), CustomerSessions(standby)
                seen = standby.follow()
                assert next(seen).type == "SessionOpened"

                closed = store.execute("a", CloseSession()).position
                spend.wait(closed, timeout=SOON)

                assert spend.get("p") == Spend(1)
                assert views.get("a").state == "closed"
                assert next(seen).type == "SessionClosed"
                runner.stop()
                until(lambda: not runner.working)
                late = store.execute("b", OpenSession(profile_id="p")).position
                with pytest.raises(ViewBehind, match=r"within 0\.3 s, and a standby cannot tell"):
                    spend.wait(late, timeout=0.3)
                with watching(standby.follow(after=late + 1)) as ahead:  # it may only lag
                    time.sleep(0.3)
                    for session_id in ("c", "d"):
                        come = store.execute(session_id, OpenSession(profile_id="p")).position
                    ahead.wait_for(come)
                assert ahead.positions == [late + 2]
