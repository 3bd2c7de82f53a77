"""The password of a URL is shown nowhere."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from rich.pretty import pretty_repr

from sessions import InvalidURL, OpenSession, SessionsError, SessionStore
from sessions.errors import StoreUnavailable
from sessions.postgres.place import place_of
from sessions.sql.shown_url import without_password
from tests.postgres_line import Line
from tests.test_cli_maintain import run
from tests.waiting import patiently

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2"  # noqa: S105  it must not be seen
SPECIAL = "hunter2@:/?#[]&=% 'hunter2\"\\ü"

MALFORMED = [
    f"postgresql://u:{SECRET}@localhost:port/d",
    f"postgresql://u:{SECRET}@[::1/d",
    f"postgresql://u:{SECRET}@localhost/d?no_such_option=1",
    f"postgresql://u:{SECRET}@localhost/d?pool=0",
    f"postgresql://u:{SECRET}@localhost/d?schema=",
    f"postgresql://u:{SECRET}%zz@localhost/d",
    f"postgresql://u:x#{SECRET}@localhost/d",
    f"postgresql://u:x?{SECRET}@localhost/d",
    f"postgresql://u:x/{SECRET}@localhost:port/d",
    f"postgresql://u:x@{SECRET}/y@localhost:port/d",
    f"postgresql://localhost/d?PASSWORD={SECRET}",
    f"postgresql://localhost/d?%70assword={SECRET}&pool=0",
    f"postgresql://localhost/d?password={SECRET}&pool=0",
    f"postgresql://localhost/d?sslpassword={SECRET}&pool=0",
    f"postgresql://localhost/d?pool=0#password={SECRET}",
    f"postgresql+psycopg://u:{SECRET}@localhost/d",
    f"postgresql:/u:{SECRET}@localhost/d",
    f"postgresql:u:{SECRET}@localhost/d",
    f"postgres//u:{SECRET}@localhost/d",
    f" postgresql://u:{SECRET}@localhost/d",
    f"postgresql://u:{SECRET}/d",
    f"postgresql://u:x/{SECRET}",
    f"postgresql://u:x,{SECRET}/d",
    f"postgresql://u:1:{SECRET}/d",
    f"postgresql://u%3A{SECRET}/d?pool=0",
    f"postgresql://[{SECRET}/d",
    f"postgresql://u;{SECRET}@localhost/d?pool=0",
    f"postgresql://localhost/d;password={SECRET}?pool=0",
    f"postgresql://localhost/d?passwd={SECRET}",
    f"postgresql://localhost/d?{SECRET}",
    f"postgresql://localhost/d?a;{SECRET}=1",
    f"postgresql://localhost/d?user=u;password={SECRET}&pool=0",
    f"postgresql://localhost/d?user=u%3Bpassword%3D{SECRET}&pool=0",
    f"postgresql://localhost/d?user=u:{SECRET}&pool=0",
    f"postgresql://localhost/d?password=x&{SECRET}",
    f"postgresql://localhost/d?options={SECRET}&pool=0",
    f"Postgresql://u:{SECRET}/d",
    f"postgre://u:{SECRET}/d",
    f"u:{SECRET}/d",
    f"host=localhost pass={SECRET}",
    f"host=localhost password={SECRET}",
    f"host=localhost password='x {SECRET}'",
]

NOWHERE = [
    f"postgresql://u:{SECRET}@localhost:1/d",
    f"postgresql://u:{quote(SPECIAL, safe='')}@localhost:1/d",
    f"postgresql://u@localhost:1/d?password={SECRET}",
    f"postgresql://u@localhost:1/d?password={quote(SPECIAL, safe='')}&schema=s",
    f"postgres://u:{SECRET}@localhost:1,localhost:2/d?connect_timeout=2",
]


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that is logged shows it."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not [said for said in caplog.get_records("call") if SECRET in said.getMessage()]


def shown(error: BaseException) -> str:
    """All that is shown of an error: what it says, what it is of, and all before it."""
    whole = "".join(traceback.format_exception(error))
    return " ".join([whole, str(error), repr(error), repr(vars(error))])


@pytest.mark.parametrize("url", MALFORMED)
def test_a_url_that_is_malformed_is_shown_without_it(url: str) -> None:
    with pytest.raises((InvalidURL, StoreUnavailable)) as refusal:
        SessionStore.open(url)

    assert SECRET not in shown(refusal.value)


@pytest.mark.parametrize("url", NOWHERE)
def test_a_server_that_cannot_be_reached_is_shown_without_it(url: str) -> None:
    with pytest.raises(StoreUnavailable) as unavailable:
        SessionStore.open(url)

    assert SECRET not in shown(unavailable.value)
    cause: BaseException | None = unavailable.value
    while cause is not None:
        assert SECRET not in repr(vars(cause))
        cause = cause.__cause__ or cause.__context__


@pytest.mark.parametrize("url", NOWHERE)
def test_what_a_server_says_is_one_line(url: str) -> None:
    with pytest.raises(StoreUnavailable) as unavailable:
        SessionStore.open(url)

    assert str(unavailable.value).isprintable()


@pytest.mark.parametrize("url", NOWHERE)
def test_the_place_of_a_url_does_not_show_it(url: str) -> None:
    assert SECRET not in repr(place_of(url))
    assert SECRET not in pretty_repr(place_of(url))
    assert SECRET not in without_password(url)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("postgresql://u:p@h:1/d?schema=s", "postgresql://u@h:1/d?schema=s"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?host=/tmp", "postgresql:///d?host=/tmp"),
        ("postgresql://h/d?password=p&schema=s", "postgresql://h/d?password=***&schema=s"),
        ("postgresql://h/d?passwd=p&pool=3", "postgresql://h/d?passwd=***&pool=3"),
        ("postgresql://u:p/d?pool=3", "postgresql://u:***"),
        ("postgresql://u:p@h:x/d", "postgresql://u@h:***"),
        ("postgresql://u:p@h:1,[::1]:2/d", "postgresql://u@h:1,[::1]:2/d"),
        ("postgresql://%2Ftmp/d", "postgresql://%2Ftmp/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://***"),
        ("S3cret:word@h/d", "***"),
        ("mysql://h/d", "mysql://h/d"),
        ("file:x.db?mode=ro", "file:***"),
        ("u@h:p", "***"),
        ("sqlite:////a@b:c.db", "sqlite:////a@b:c.db"),
    ],
)
def test_the_rest_of_a_url_stays_as_it_is(url: str, safe: str) -> None:
    assert without_password(url) == safe


@pytest.mark.parametrize("password", [SECRET, SPECIAL])
def test_a_store_that_loses_its_server_does_not_show_it(postgres_url: str, password: str) -> None:
    with Line(postgres_url) as line:
        url = line.url.replace("@", f":{quote(password, safe='')}@", 1)
        with SessionStore.open(url, lock_timeout=0.3) as store:
            patiently(lambda: store.execute("s", OpenSession()))
            line.cut()

            errors = []
            for call in (lambda: store.execute("t", OpenSession()), lambda: store.position):
                with pytest.raises(SessionsError) as error:
                    call()
                errors.append(shown(error.value))
            database = store.recorder.database

            assert SECRET not in " ".join([*errors, database.path, repr(database), repr(store)])


@pytest.mark.parametrize("password", [SECRET, f"x y{SECRET}", f"'\"\\{SECRET}", f"x@{SECRET}"])
@pytest.mark.parametrize(
    "arguments",
    [
        "URL",
        "log URL",
        "log --after URL",
        "log --type URL",
        "log --type=URL",
        "show URL",
        "show s --as-of URL",
        "show s --as-of=URL",
        "show s URL",
        "history p URL",
        "execute URL",
        "import-retail URL",
        "demo URL",
        "init URL",
        "copy URL URL URL",
        "projections URL",
        "projections run URL",
        "projections skip URL URL",
        "projections rebuild --mode URL",
    ],
)
def test_a_url_at_a_wrong_place_of_the_command_line_is_shown_without_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, arguments: str, password: str
) -> None:
    SessionStore.open(sqlite_url).close()
    monkeypatch.setenv("SESSIONS_STORE", sqlite_url)
    url = f"postgresql://u:{password}@localhost:1/d?schema=s"

    ran = run(*[argument.replace("URL", url) for argument in arguments.split()], columns=1000)

    assert ran.code in {1, 2}
    assert SECRET not in ran.out + ran.err
    assert ran.err
