"""`sessions import-retail`: a shop's order lines become sessions, and the figures are right."""

from __future__ import annotations

import csv
import gzip
import io
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sessions.cli
from projections import CustomerSessions, verify
from sessions import (
    OpenSession,
    ReturnItem,
    ReturnItems,
    SessionStore,
    SetProfile,
    StoreBusy,
)
from sessions.cli import retail
from sessions.cli.retail import import_invoices
from sessions.cli.retail_file import read_invoices
from tests.retail_reference import KEYS, figures
from tests.tampering import dump
from tests.test_cli_maintain import Ran, run

EXTRACT = next((Path(sessions.cli.__file__).parent / "data").glob("*.csv.gz"))
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
RELATIONS = ("events", "answers", "customer_sessions", "attachments", "claims")
SOME_FILE = os.environ.get("SESSIONS_RETAIL_FILE", "")


@pytest.fixture(autouse=True)
def _the_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports go into it; it is not there yet."""
    monkeypatch.setenv("SESSIONS_STORE", url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def line(text: str) -> str:
    """A line of a file; its short form is invoice sku quantity price customer [hour [name]]."""
    number, sku, quantity, price, customer, *more = text.split()
    hour, name = [*more, "8", "Thing"][:2] if len(more) < 2 else more
    return f"{number},{sku}, {name} ,{quantity},2010-12-01 {hour:>02}:26:00,{price},{customer},UK"


def write(file: Path, *lines: str) -> Path:
    text = "\n".join([HEADER, *map(line, lines), ""])
    file.write_text(text.replace(",_,", ",,").replace(",__,", ",  ,"))
    return file


def beginning(file: Path, lines: int) -> Path:
    """A file with the whole invoices that the extract begins with: in so many lines, or a few more.

    The whole of it takes seconds to be imported.
    """
    text = gzip.decompress(EXTRACT.read_bytes()).decode().splitlines(keepends=True)
    numbers = [each.partition(",")[0] for each in text]
    end = next(i for i in range(lines, len(text)) if numbers[i] not in numbers[:i])
    file.write_text("".join(text[:end]))
    return file


def summary(ran: Ran) -> dict[str, Decimal]:
    found = msgspec.json.decode(ran.out, type=dict[str, Decimal])
    told = ran.err.splitlines()
    assert ran.code == 0
    assert all(line.startswith("invoice ") for line in told)
    assert len(told) >= found["refused"]
    return found


def imported(file: Path) -> dict[str, Decimal]:
    """The summary of an import, which is right by the reference."""
    found = summary(run("import-retail", str(file), "--json"))
    assert found == figures(file)
    return found


def test_the_shipped_extract_has_the_figures_of_the_reference_on_one_line(url: str) -> None:
    ran = run("import-retail", str(EXTRACT), "--json")

    assert summary(ran) == figures(EXTRACT)
    assert (len(ran.rows), list(ran.json[0])) == (1, [*KEYS, "revenue", "refunded"])
    assert min(ran.json[0][key] for key in ("sessions", "returnedUnits", "refunded")) > 0
    with SessionStore.open(url) as store:
        assert verify(store) == []


# What a file of one session has, unless said otherwise: sessions 1, firstSessions 1.
RULES = {
    "an order": ("1 a 2 1.5 7", "revenue 3"),
    "an order of several lines": ("1 a 2 1.5 7|1 b 1 1 7|1 a 1 1.5 7", "revenue 5.5"),
    "lines that do not count": ("1 a 2 1 7|1 b -1 1 7|1 c 1 0 7|1 d 1 -1 7",
      "skippedLines 3 revenue 2"),
    "an empty invoice": ("1 a 2 0 7|1 b -2 1 7", "sessions 0 emptyInvoices 1 skippedLines 2"),
    "an adjustment": ("A1 a 2 1 7|A1 a -2 1 7", "sessions 0 adjustments 1"),
    "a customer of two orders": ("1 a 1 1 7.0|2 a 1 1 7", "sessions 2 revenue 2"),
    "nobody": ("1 a 1 1 _|C2 a -1 1 _",
      "firstSessions 0 anonymous 1 creditNotes 1 unmatchedUnits 1 revenue 1"),
    "nobody, in blanks": ("1 a 1 1 __|C2 a -1 1 __",
      "firstSessions 0 anonymous 1 creditNotes 1 unmatchedUnits 1 revenue 1"),
    "too many units": ("1 a 10000 1 7|2 a 10000 1 8|2 b 1 1 8", "refused 1 revenue 10000"),
    "too many decimals": ("1 a 1 1 7|1 b 1 0.0000001 7", "sessions 0 refused 1"),
    "too high a price": ("1 a 1 999999999999 7|2 a 1 1000000000000 7",
      "refused 1 revenue 999999999999"),
    "a credit note": ("1 a 3 1.5 7|C2 a -2 1.5 7",
      "creditNotes 1 returnedUnits 2 revenue 4.5 refunded 3"),
    "a credit note alone": ("C1 a -2 1 7", "sessions 0 creditNotes 1 unmatchedUnits 2"),
    "a credit note in front": ("C1 a -2 1 7 7|2 a 2 1 7",
      "creditNotes 1 unmatchedUnits 2 revenue 2"),
    "a credit note above": ("C1 a -2 1 7 9|2 a 2 1 7",
      "creditNotes 1 returnedUnits 2 revenue 2 refunded 2"),
    "a credit note of more": ("1 a 3 1 7|C2 a -5 1.00 7",
      "creditNotes 1 returnedUnits 3 unmatchedUnits 2 revenue 3 refunded 3"),
    "a credit note of others": ("1 a 3 1 7|C2 a -1 1 8|C3 a -1 2 7|C4 b -1 1 7",
      "creditNotes 3 unmatchedUnits 3 revenue 3"),
    "a credit note with other lines": ("1 a 3 1 7|C2 a 1 1 7|C2 a -1 1 7|C2 a -1 1 7",
      "creditNotes 1 skippedLines 1 returnedUnits 2 revenue 3 refunded 2"),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_of_the_mapping(file: Path, rule: str) -> None:
    lines, said = RULES[rule]
    words = said.split()
    figure = {"sessions": 1} | dict(zip(words[::2], map(Decimal, words[1::2]), strict=True))
    expected = {"firstSessions": figure["sessions"] and 1} | figure

    found = imported(write(file, *lines.split("|")))

    assert found == {**dict.fromkeys(found, 0), **expected}


def test_an_invoice_that_is_refused_is_told_with_the_reason(file: Path) -> None:
    ran = run("import-retail", str(write(file, "1 a 10001 1 7", "2 a 1 1 7")), "--json")

    assert (ran.code, ran.json[0]["sessions"]) == (0, 1)
    assert ran.err == "invoice 1: cartItems: at most 10000 units, not 10001\n"
    again = run("import-retail", str(write(file, "2 a 2 1 7")), "--json")
    assert (again.code, again.json[0]["refused"]) == (0, 1)
    reason = "idempotency key 'retail:2' was already used for another session, command or fields"
    assert again.err == f"invoice 2: {reason}\n"


@pytest.mark.parametrize("name", ["customer_sessions", "attachments"])
def test_an_import_that_could_not_see_what_can_be_returned_is_refused(
    file: Path, name: str
) -> None:
    assert run("init").code == 0
    assert run("projections", "rebuild", name, "--mode", "followed").code == 0

    ran = run("import-retail", str(write(file, "1 a 2 1 7", "C2 a -1 1 7")))

    assert (ran.code, ran.out) == (1, "")
    advice = f"first run `sessions projections rebuild {name} --mode inline`"
    assert ran.err == f"error: {name} is followed: {advice}\n"
    assert run("projections", "rebuild", name, "--mode", "inline").code == 0
    assert imported(file)["returnedUnits"] == 1


def test_what_a_credit_note_finds_is_there_until_it_is_recorded(
    file: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, "1 a 5 2 7", "C2 a -2 2 7")
    found, tried = retail._matched, []

    def while_another_writes(*asked: Any) -> Any:
        matched = found(*asked)
        with (
            SessionStore.open(url, lock_timeout=0.05) as other,
            pytest.raises(StoreBusy),
        ):
            other.execute("1", ReturnItems(items=[ReturnItem(sku="a", quantity=4)]))
        tried.append(matched)
        return matched

    monkeypatch.setattr(retail, "_matched", while_another_writes)
    monkeypatch.setattr("sessions.commits.batch.COMMANDS", 1)  # it commits before the note
    with SessionStore.open(url) as store:
        summary = import_invoices(store, read_invoices(file), *2 * [lambda *_: None])

    assert len(tried) == 1
    assert (summary.returned_units, summary.unmatched_units) == (2, 0)


def test_an_order_of_too_many_lines_is_refused_as_a_whole(file: Path, url: str) -> None:
    most, more = ([f"{n} {sku} 1 1 7" for sku in range(1000 + n)] for n in (0, 1))

    assert imported(write(file, *most, *more))["refused"] == 1

    with SessionStore.open(url) as store:
        assert [view.integration_id for view in CustomerSessions(store).find()] == ["0"]


def test_a_return_takes_the_latest_session_first_and_lines_by_position(
    file: Path, url: str
) -> None:
    write(
        file,
        *("1 a 5 1 7 8 Old", "2 a 2 1 7 9 One", "2 a 2 1 7 9 Two", "2 a 9 2 7 9 Dear"),
        *("C3 a -3 1 7 10", "C4 a -3 1 7 11"),
    )

    imported(file)

    with SessionStore.open(url) as store:
        views = CustomerSessions(store).of_profile("7")
        log = [(r.stream_id, r.type, f"{r.at:%H:%M}") for r in store.log()]
    carts = [[(item.name, item.returned_quantity) for item in view.cart_items] for view in views]
    assert carts == [[("Old", 2)], [("One", 2), ("Two", 2), ("Dear", 0)]]
    assert [view.state for view in views] == ["partially_returned"] * 2
    returns = [("2", "ItemsReturned", "10:26"), ("2", "ItemsReturned", "11:26")]
    assert [*log[:1], *log[-3:]] == [
        ("1", "SessionOpened", "08:26"),
        *returns,
        ("1", "ItemsReturned", "11:26"),
    ]


def test_a_return_leaves_out_a_session_in_which_something_happened_later(
    file: Path, url: str
) -> None:
    imported(write(file, "1 a 5 1 7 7", "2 a 5 1 7 8", "C3 a -1 1 7 10"))

    ran = run("import-retail", str(write(file, "C4 a -2 1 7 9")), "--json")

    said = {"creditNotes": 1, "returnedUnits": 2, "refunded": 2}
    assert (found := summary(ran)) == {**dict.fromkeys(found, 0), **said}
    assert ran.err == ""
    with SessionStore.open(url) as store:
        views = CustomerSessions(store).of_profile("7")
    assert [view.cart_items[0].returned_quantity for view in views] == [2, 1]


@pytest.mark.parametrize("form", ["gzip", "latin-1", "utf-8-sig", "crlf"])
def test_a_file_may_be_gzipped_and_of_other_systems(file: Path, url: str, form: str) -> None:
    data = write(file, "1 a 2 1.5 7 8 Café").read_text()
    encoded = data.encode("utf-8" if form in {"gzip", "crlf"} else form)
    encoded = encoded.replace(b"\n", b"\r\n") if form == "crlf" else encoded
    file.write_bytes(gzip.compress(encoded) if form == "gzip" else encoded)

    assert imported(file)["revenue"] == 3

    with SessionStore.open(url) as store:
        assert CustomerSessions(store).get("1").cart_items[0].name == "Café"


@pytest.mark.parametrize(
    ("quantity", "date"),
    [
        ("2.0", "2010-12-01 08:26:00"),
        (" 2.00 ", "2010-12-01 08:26:00"),
        ("2", "2010-12-01T08:26:00"),
        ("2", "12/1/2010 8:26"),
        ("2", "2010-12-01 08:26"),
    ],
)
def test_numbers_and_dates_may_be_written_as_other_programs_do(
    file: Path, url: str, quantity: str, date: str
) -> None:
    file.write_text(f"{HEADER}\n1,a,Thing,{quantity},{date},1.5,7.0,UK\n")

    assert summary(run("import-retail", str(file), "--json"))["revenue"] == 3

    with SessionStore.open(url) as store:
        view = CustomerSessions(store).get("1")
    assert (view.created, view.profile_id) == (datetime(2010, 12, 1, 8, 26, tzinfo=UTC), "7")


def test_it_is_told_how_many_lines_are_read(file: Path) -> None:
    write(file, *[f"{number} a 1 1 7" for number in range(2500)])
    told: list[tuple[int, int]] = []

    read_invoices(file, lambda done, total: told.append((done, total)))

    assert told == [(1001, 2501), (2001, 2501), (2501, 2501)]  # line 1 names the columns


def test_an_item_of_several_lines_is_told_as_so_many(file: Path) -> None:
    file.write_text("\n".join([HEADER, *[TWO_LINES] * 1000, ""]))
    told: list[tuple[int, int]] = []

    read_invoices(file, lambda done, total: told.append((done, total)))

    assert told == [(2001, 2001), (2001, 2001)]


THREE = "\u0663".encode().decode("latin-1")  # in Arabic digits, as the file has it in UTF-8
GOOD = "1,a,Thing,1,2010-12-01 08:26:00,1,7,UK"
TWO_LINES = GOOD.replace("Thing", '"Thing\nof two lines"')
OPEN_QUOTE = GOOD.replace("UK", '"UK')
STRAY_QUOTE = TWO_LINES.replace("two", '"two')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER}\n{GOOD}\n{GOOD.replace(',1,2010', ',x,2010')}", ("line 3", "Quantity", "'x'")),
        (f"{HEADER}\n{GOOD.replace(',1,2010', ',1_0,2010')}", ("line 2", "Quantity", "'1_0'")),
        (f"{HEADER}\n{GOOD.replace(',1,2010', ',1.5,2010')}", ("line 2", "Quantity", "'1.5'")),
        (f"{HEADER}\n{GOOD.replace(',1,2010', ',9e999999,2010')}", ("Quantity", "'9e999999'")),
        (f"{HEADER}\n{GOOD.replace(',1,2010', f',{THREE},2010')}", ("line 2", "Quantity")),
        (
            f"{HEADER}\n{GOOD.replace(',1,2010', f',-{10**1000},2010')}",
            ("line 2", "Quantity", "1000"),
        ),
        (f"{HEADER}\n{GOOD.replace('0,1,7', '0,1_0,7')}", ("line 2", "UnitPrice", "'1_0'")),
        (f"{HEADER}\n{GOOD.replace('0,1,7', '0,NaN,7')}", ("line 2", "UnitPrice", "'NaN'")),
        (f"{HEADER}\n{GOOD.replace('12-01', '13-01')}", ("line 2", "InvoiceDate", "'2010-13-01")),
        (f"{HEADER}\n{GOOD}\n\n1,a,Thing", ("line 4", "Quantity")),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('0,1,7', '0,1,50,7')}", ("line 3", "'UK'")),
        (f"{HEADER}\n{TWO_LINES}\n{GOOD[:20]}", ("line 4", "UnitPrice")),
        (
            f"{HEADER.replace('UnitPrice', 'Price')}\n{GOOD}",
            ("line 1 does not name the column UnitPrice",),
        ),
        (f"{HEADER},Quantity\n{GOOD},2", ("line 1 names Quantity more than once",)),
        (f"{HEADER}\n{GOOD}\n{OPEN_QUOTE}\n{GOOD}\n", ("from line 3", "end of data")),
        (f"{HEADER}\n{STRAY_QUOTE}\n", ("from line 2", "expected after")),
        ('"InvoiceNo', ("from line 1", "end of data")),
        ("", ("line 1", "InvoiceNo")),
        ("\x1f\x8b broken", ("orders.csv", "cannot be read")),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    file: Path, text: str, said: tuple[str, ...]
) -> None:
    file.write_bytes(text.encode("latin-1"))

    ran = run("import-retail", str(file))

    assert (ran.code, ran.out) == (1, "")
    assert [part for part in said if part not in ran.err] == []
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ("2010-12-01 09", "2999-12-01 09"),
        ("C2,", "C2\0,"),
        ("C2,", f"C{'2' * 255},"),
        ("1,9,UK", "1,9\0,UK"),
        ("1,9,UK", f"1,{'9' * 1001},UK"),
    ],
)
def test_a_credit_note_that_is_refused_returns_nothing_and_does_not_stop_the_import(
    file: Path, given: str, changed: str
) -> None:
    write(file, "1 a 2 1 7", "C2 a -1 1 9 9", "3 a 2 1 7 10")
    file.write_text(file.read_text().replace(given, changed))

    found = summary(run("import-retail", str(file), "--json"))

    said = {"sessions": 2, "firstSessions": 1, "revenue": 4, "creditNotes": 1, "unmatchedUnits": 1}
    assert found == {**dict.fromkeys(found, 0), **said}


@pytest.mark.parametrize(
    "changed",
    ["C2 a -1 1 7 9", "C2 a -6 1 7 9", "C2 a -5 2 7 9", "C2 a -5 1 8 9", "C2 a -5 1 7 10"],
)
def test_a_credit_note_that_was_another_before_is_refused_and_changes_nothing(
    file: Path, url: str, changed: str
) -> None:
    imported(write(file, "1 a 9 1 7", "C2 a -5 1 7 9"))
    kept = dump(url, RELATIONS)

    found = summary(run("import-retail", str(write(file, "1 a 9 1 7", changed)), "--json"))

    said = {"sessions": 1, "firstSessions": 1, "revenue": 9, "creditNotes": 1, "refused": 1}
    assert found == {**dict.fromkeys(found, 0), **said}
    assert dump(url, RELATIONS) == kept


def test_a_credit_note_that_returned_nothing_returns_nothing_again_whatever_it_says(
    file: Path, url: str
) -> None:
    imported(write(file, "C2 a -1 1 7 9"))

    again = write(file, "1 a 9 1 7", "C2 a -3 1 7 9")
    found = summary(run("import-retail", str(again), "--json"))

    said = {"sessions": 1, "firstSessions": 1, "revenue": 9, "creditNotes": 1, "unmatchedUnits": 3}
    assert found == {**dict.fromkeys(found, 0), **said}
    with SessionStore.open(url) as store:
        assert CustomerSessions(store).get("1").state == "closed"


@pytest.mark.parametrize("profile", ["p", "q"])
def test_a_key_that_was_used_for_something_else_answers_no_credit_note(
    file: Path, url: str, profile: str
) -> None:
    with SessionStore.open(url) as store:
        store.execute("s", OpenSession(profile_id="p"))
        store.execute("s", SetProfile(profile_id=profile), idempotency_key="retail:C2")

    found = summary(run("import-retail", str(write(file, "C2 a -5 1 7 9")), "--json"))

    assert found == {**dict.fromkeys(found, 0), "creditNotes": 1, "refused": 1}


@pytest.mark.no_cover
def test_a_file_that_is_cut_and_then_whole_is_as_one(file: Path, url: str) -> None:
    first = imported(beginning(file, 2000))

    beginning(file, 4000)
    whole = summary(run("import-retail", str(file), "--json"))

    assert first["sessions"] < whole["sessions"]
    assert whole == figures(file)
    kept = dump(url, RELATIONS)
    assert summary(run("import-retail", str(file), "--json")) == whole
    assert dump(url, RELATIONS) == kept
    with SessionStore.open(url) as store:
        assert verify(store) == []


LINES = st.tuples(
    st.sampled_from(["1", "2", "3", "4", "C5", "C6", "C7", "A8"]),
    st.sampled_from("ab"),
    st.sampled_from(["A", " A ", "B", ""]),
    st.integers(-6, 9) | st.sampled_from([5000, -5000, 10_001]),
    st.sampled_from(["2010-12-01 08:26:00", "2010-12-01 08:27:00", "2011-01-01 00:00:00"]),
    st.sampled_from(["1", "1.0", "2.5", "0", "-1", "0.0000001"]),
    st.sampled_from(["7.0", "7", "8.0", ""]),
    st.just("UK"),
)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # it is in memory
@settings(max_examples=100, deadline=None)
@given(lines=st.lists(LINES, max_size=25), cut=st.integers(0, 8))
def test_any_file_has_the_figures_of_the_reference(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any], cut: int
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([HEADER.split(","), *lines])
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text(text.getvalue())
    with SessionStore.open("memory:") as store:
        invoices = read_invoices(file)
        runs = (invoices[:cut], invoices, invoices)
        *_, once, twice = (import_invoices(store, some, *2 * [lambda *_: None]) for some in runs)

        assert msgspec.to_builtins(once, builtin_types=(Decimal,)) == figures(file)
        assert twice == once
        assert verify(store) == []


@pytest.mark.skipif(not SOME_FILE, reason="SESSIONS_RETAIL_FILE names no file")
def test_a_file_of_yours_has_the_figures_of_the_reference(url: str) -> None:
    imported(Path(SOME_FILE))

    with SessionStore.open(url) as store:
        assert verify(store) == []
