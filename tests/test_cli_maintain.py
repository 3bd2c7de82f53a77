"""`sessions verify` and `sessions rebuild`; and how the tests run the command line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import sysconfig
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import msgspec
import pytest

from projections import Runner, installed
from sessions import CloseSession, OpenSession, SessionStore, ViewsDiffer
from sessions.cli import main
from sessions.sql.dialect import SQLITE
from tests.conftest import add
from tests.sample_projections import SALES
from tests.tampering import change, definitions, described, dump, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

SESSIONS = str(Path(sysconfig.get_path("scripts")) / "sessions")
DERIVED = ("claims", "limits", "customer_sessions", "attachments")
KEPT = ("migrations", "parked", "events", "answers")


class Ran(NamedTuple):
    """What a run of the command line did."""

    code: object
    out: str
    err: str

    @property
    def rows(self) -> list[str]:
        return self.out.split("\n")[:-1]

    @property
    def json(self) -> list[Any]:
        return [msgspec.json.decode(row) for row in self.rows]


def run(*arguments: str, stdin: bytes = b"", columns: int = 200) -> Ran:
    """Run the command line as from a shell, its output in a pipe."""
    given = io.TextIOWrapper(io.BytesIO(stdin))
    files = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(file, "utf-8", write_through=True) for file in files)
    with (
        patch.object(sys, "argv", ["sessions", *arguments]),
        patch.object(sys, "stdin", given),
        patch.dict(os.environ, COLUMNS=f"{columns}"),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    said, complained = (file.getvalue().decode() for file in files)
    return Ran(ended.value.code or 0, said, complained)


def closed_pipe(arguments: Sequence[str], stdin: bytes = b"") -> tuple[int, str]:
    """Run it into a pipe that nobody reads: the exit code, and what it complains of."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [SESSIONS, *arguments]
    ran = subprocess.run(command, input=stdin, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    return ran.returncode, ran.stderr.decode()


@pytest.fixture
def store_url(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of two applications."""
    monkeypatch.setenv("SESSIONS_STORE", url)
    for application in (1, 7):
        with SessionStore.open(url, application) as store:
            store.execute("a", OpenSession(profile_id="p", coupon="C"), idempotency_key="k")
            store.execute("a", add())
            store.execute("a", CloseSession())
            store.execute("[b]", OpenSession(profile_id="p"))
    return url


@pytest.mark.parametrize("application", ["1", "7"])
@pytest.mark.usefixtures("store_url")
def test_a_good_store_verifies_clean(application: str) -> None:
    plain, json = (run("verify", *more, "--application", application) for more in ((), ("--json",)))

    assert plain == (0, "5 events: every view matches the log\n", "")
    assert json == (0, '{"events":5,"differences":[]}\n', "")


def test_what_differs_is_named_in_the_application_that_it_is_in(store_url: str) -> None:
    change(
        store_url,
        "UPDATE customer_sessions SET state = 'open' WHERE application_id = 7 AND session_id = 'a'",
        "DELETE FROM customer_sessions WHERE application_id = 7 AND session_id = '[b]'",
    )

    for asked in ((), ("--application", "7")):
        ran = run("verify", *asked)

        assert ran.code == 1
        assert ran.rows[0] == "application\tevent\trelation\tkey\tcolumn\tstored\texpected"
        assert sorted(ran.rows[1:]) == [
            "7\t4\tcustomer_sessions\ta\tstate\topen\tclosed",
            "7\t5\tcustomer_sessions\t[b]\t\t\ta row",
        ]
    assert run("verify", "--application", "1").code == 0


def test_a_verification_that_stops_before_the_end_says_so(store_url: str) -> None:
    change(store_url, "UPDATE customer_sessions SET total = 77 WHERE application_id = 1")

    whole, first = run("verify", "--limit", "2"), run("verify", "--limit", "1")

    assert (whole.code, len(whole.rows), whole.err) == (1, 3, "")
    assert (first.code, len(first.rows)) == (1, 2)
    assert first.err == "application 1: stopped after 1 difference; there are more\n"


def test_a_rebuild_does_not_say_that_the_keys_it_names_are_all(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.comparing.MOST", 1)
    monkeypatch.setattr("sessions.cli.maintain.MOST", 1)
    change(store_url, "UPDATE customer_sessions SET total = 77 WHERE application_id = 1")

    ran = run("rebuild")

    said = "at least 1 view of application 1 differed from the log, which makes 2"
    assert ran.rows[1:] == [f"customer_sessions 1  {said}"]


def test_a_projection_that_is_not_installed_is_named_with_what_can_be_done(store_url: str) -> None:
    with SessionStore.open(store_url, projections=[*installed(), SALES]) as store:
        Runner(store).run(until=store.position)

    verified = run("verify")

    rows = [f"{application}\t\tprojections\tsales\tversion\t1\t" for application in (1, 7)]
    assert (verified.code, verified.rows[1:]) == (1, rows)
    assert verified.err == (
        "sales was not compared: the store keeps sales 1, but none is installed here; install it, "
        "or, if no process keeps it any more, run `sessions projections drop sales`\n"
    )
    assert run("projections", "drop", "sales").code == 0
    assert run("verify").code == 0


def test_a_projection_of_another_version_is_named_with_both(store_url: str) -> None:
    change(store_url, "UPDATE projections SET version = 9 WHERE name = 'attachments'")

    verified = run("verify", "--json")

    found = verified.json[0]["differences"]
    assert [(d["applicationId"], d["stored"], d["expected"]) for d in found] == [
        (1, 9, 1),
        (7, 9, 1),
    ]
    because = (
        "the store keeps attachments 9, but attachments 1 is installed here; upgrade this process"
    )
    assert verified.err == f"attachments was not compared: {because}\n"


def test_an_inline_projection_that_the_store_does_not_keep_is_named(store_url: str) -> None:
    change(store_url, "DELETE FROM projections WHERE name = 'attachments'")

    verified = run("verify")

    rows = [f"{application}\t\tprojections\tattachments\tversion\t\t1" for application in (1, 7)]
    assert (verified.code, verified.rows[1:]) == (1, rows)
    assert verified.err == (
        "attachments was not compared: the store does not keep it; "
        "run `sessions projections rebuild attachments`\n"
    )


def test_what_differs_is_named_as_json_too(store_url: str) -> None:
    change(
        store_url, "UPDATE limits SET used = 5 WHERE application_id = 7 AND limit_name LIKE '%p'"
    )

    ran = run("verify", "--json")

    difference = {
        "applicationId": 7,
        "relation": "limits",
        "key": ["first-session:p"],
        "column": "used",
        "stored": 5,
        "expected": 1,
        "position": 1,
    }
    assert (ran.code, ran.json) == (1, [{"events": 10, "differences": [difference]}])


@pytest.mark.parametrize(
    ("setting", "stored"),
    [("total = 9e999", "inf"), ("total = x'ff'", "b'\\xff'"), ("updated = 'x'", "x")],
)
def test_a_stored_value_that_cannot_be_read_is_named_too(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, setting: str, stored: str
) -> None:
    monkeypatch.setenv("SESSIONS_STORE", sqlite_url)
    with SessionStore.open(sqlite_url) as store:
        store.execute("a", OpenSession())
    change(sqlite_url, f"UPDATE customer_sessions SET {setting}")

    plain, json = run("verify"), run("verify", "--json")

    assert (plain.code, plain.err, plain.rows[1].split("\t")[5]) == (1, "", stored)
    assert (json.code, json.json[0]["differences"][0]["stored"]) == (1, stored)


@pytest.mark.parametrize("command", ["verify", "rebuild"])
def test_where_no_store_is_there_is_none_afterwards(
    command: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONS_STORE", url)

    ran = run(command)

    assert (ran.code, ran.out, "there is no store" in ran.err) == (1, "", True)
    assert list(tmp_path.iterdir()) == []
    with SessionStore.open(url, read_only=True) as store:
        assert not store.exists


def test_a_rebuild_makes_the_derived_relations_anew_and_changes_nothing_else(
    store_url: str,
) -> None:
    good, kept = dump(store_url, DERIVED), dump(store_url, KEPT)
    change(
        store_url,
        "DELETE FROM claims WHERE application_id > 0",
        "UPDATE limits SET used = used + 1",
        "UPDATE customer_sessions SET document = '{}', total = 7",
        "INSERT INTO customer_sessions SELECT 9, 'x', version, state, profile_id, coupon, "
        "referral, first_session, total, created, updated, closed, update_count, line_count, "
        "unit_count, returned_count, command_id, document FROM customer_sessions LIMIT 1",
        "UPDATE attachments SET session_id = 'x'",
    )
    assert run("verify").code == 1

    ran = run("rebuild")

    assert (ran.code, ran.err) == (0, "")
    assert ran.rows == [
        "rebuilt from 10 events: attachments 1, customer_sessions 1",
        "attachments 1  2 views of application 1 differed from the log, which makes 2",
        "attachments 1  2 views of application 7 differed from the log, which makes 2",
        "customer_sessions 1  2 views of application 1 differed from the log, which makes 2",
        "customer_sessions 1  2 views of application 7 differed from the log, which makes 2",
    ]
    assert (dump(store_url, DERIVED), dump(store_url, KEPT)) == (good, kept)
    assert [run("verify", "--application", app).code for app in "17"] == [0, 0]


def _index_of_states(url: str) -> str:
    """The name of the one index that has the states of sessions."""
    with opened(url) as database:
        sql = (
            "SELECT indexname FROM pg_indexes "
            "WHERE schemaname = current_schema() AND indexdef LIKE '%state)'"
        )
        if database.dialect is SQLITE:
            sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '%state)'"
        ((name,),) = described(database, sql)
    return str(name)


def test_a_rebuild_brings_lost_relations_and_their_indexes_back(store_url: str) -> None:
    before = definitions(store_url)
    change(store_url, "DROP TABLE attachments", f"DROP INDEX {_index_of_states(store_url)}")

    assert run("rebuild", "--json").json == [
        {
            "projections": ["attachments 1", "customer_sessions 1"],
            "events": 10,
            "switched": True,
            "parked": 0,
            "compared": [
                {
                    "projection": "customer_sessions 1",
                    "applicationId": application,
                    "views": 2,
                    "differing": [],
                }
                for application in (1, 7)
            ],
            "retired": [],
            "doneBefore": 0,
        }
    ]
    for name in ("attachments", "customer_sessions"):
        assert run("projections", "drop", name).out == f"dropped {name} 1\n"

    assert definitions(store_url) == before
    assert run("verify").code == 0


def test_a_store_of_other_views_takes_commands_again_after_a_rebuild(store_url: str) -> None:
    change(
        store_url,
        "UPDATE projections SET version = 0",
        "DELETE FROM attachments WHERE position > 0",
    )
    close = b'{"command":"close","integrationId":"[b]"}\n'
    refused = run("execute", stdin=close)
    assert (refused.code, refused.out) == (1, "")
    names = ["attachments", "customer_sessions"]
    assert f"run `sessions projections rebuild {' '.join(names)}`" in refused.err

    assert run("projections", "rebuild", *names).code == 0

    assert (run("execute", stdin=close).code, run("verify").code) == (0, 0)


def test_an_open_writer_is_refused_until_the_rebuild_and_goes_on_after_it(store_url: str) -> None:
    with SessionStore.open(store_url) as store:
        store.execute("[b]", add())
        change(store_url, "UPDATE projections SET version = 0")
        with pytest.raises(ViewsDiffer):
            store.execute("[b]", add())
        assert run("rebuild").code == 0

        store.execute("[b]", add())

    assert run("verify").code == 0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET data = '{}' WHERE application_id = 7 AND position = 3",
        "UPDATE events SET type = 'Unheard' WHERE application_id = 7 AND position = 3",
    ],
)
def test_a_rebuild_that_fails_leaves_the_old_views(store_url: str, damage: str) -> None:
    change(store_url, damage, "UPDATE customer_sessions SET total = 7")
    before = dump(store_url, DERIVED + KEPT)
    current = dump(store_url, ["projections"])["projections"]

    for _ in range(2):
        ran = run("rebuild")

        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("error: ")
        assert dump(store_url, DERIVED + KEPT) == before
        builds = dump(store_url, ["projections"])["projections"]
        assert {row for row in builds if row[4] != "building"} == set(current)
        assert [row[0] for row in builds if row[4] == "building"] == [
            "attachments",
            "claims",
            "customer_sessions",
        ]


def test_a_rebuild_lets_a_key_wait_whose_events_cannot_be_folded(store_url: str) -> None:
    change(store_url, "DELETE FROM events WHERE application_id = 7 AND position = 1")

    ran = run("rebuild")

    assert (ran.code, ran.err) == (0, "")
    assert ran.rows[-1] == "1 key parked: see `sessions projections parked`"
    ((application, projection, _, key, position, *_),) = dump(store_url, ["parked"])["parked"]
    assert (application, projection, key, position) == (7, "customer_sessions", "a", 2)


@pytest.mark.parametrize(
    "command",
    [
        "verify",
        "rebuild",
        "log",
        "log --json",
        "show a",
        "show a --json",
        "timeline a",
        "history p",
    ],
)
@pytest.mark.usefixtures("store_url")
def test_a_closed_pipe_ends_it_quietly(command: str) -> None:
    assert closed_pipe(command.split()) == (1, "")


def test_a_closed_pipe_leaves_no_command_without_its_turn(store_url: str) -> None:
    opening = b'{"command":"open","integrationId":"%b"}\n'

    assert closed_pipe(["execute"], opening % b"c" + opening % b"d") == (1, "")

    with SessionStore.open(store_url, read_only=True) as store:
        assert [recorded.stream_id for recorded in store.log(5)] == ["c"]


def test_a_store_is_not_copied_to_where_it_would_be_gone(store_url: str) -> None:
    ran = run("copy", store_url, "memory:")

    assert ran.code == 2
    assert "is gone when the command ends" in ran.err


def test_an_application_that_has_lost_its_events_is_verified_too(store_url: str) -> None:
    change(store_url, "DELETE FROM events WHERE application_id = 1")

    ran = run("verify")

    assert ran.code == 1
    assert {row.split("\t")[0] for row in ran.rows[1:]} == {"1"}


def test_an_application_of_which_only_views_are_left_is_verified_too(store_url: str) -> None:
    for relation in ("events", "claims", "limits", "answers", "attachments"):
        change(store_url, f"DELETE FROM {relation} WHERE application_id = 7")

    ran = run("verify")

    assert ran.code == 1
    assert {row.split("\t")[0] for row in ran.rows[1:]} == {"7"}


def test_that_the_usual_application_has_no_events_is_no_matter_where_all_are_verified(
    url: str,
) -> None:
    with SessionStore.open(url, 7) as store:
        store.execute("a", OpenSession())

    assert run("verify", "--store", url) == (0, "1 event: every view matches the log\n", "")


def test_a_store_without_events_is_verified_too(url: str) -> None:
    with SessionStore.open(url, projections=[*installed(), replace(SALES, mode="inline")]) as store:
        store.make()

    ran = run("verify", "--store", url)

    assert ran.code == 1
    assert ran.err.startswith("sales was not compared: the store keeps sales 1, but none is insta")
