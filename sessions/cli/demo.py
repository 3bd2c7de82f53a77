"""The command that shows what the library does: it imports real orders, and gives a tour."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import timedelta
from decimal import Decimal
from importlib.resources import as_file, files
from itertools import count
from pathlib import Path
from shlex import quote

import click

from projections import CartItem, CustomerHistories, CustomerSessions
from sessions.cli.common import (
    complain,
    print_heading,
    print_table,
    print_text,
    progress,
    time_text,
)
from sessions.cli.history import print_history, print_replay
from sessions.cli.import_retail import tell_refused
from sessions.cli.options import application_option
from sessions.cli.read import print_session, print_steps
from sessions.cli.retail import Summary, import_invoices
from sessions.cli.retail_file import read_invoices
from sessions.commands import (
    AddItem,
    ApplyCoupon,
    CloseSession,
    Command,
    OpenSession,
    ReturnItem,
    ReturnItems,
    SetDiscount,
    SetProfile,
)
from sessions.sql.shown_url import without_password
from sessions.store import SessionStore

EXTRACT = files("sessions.cli") / "data" / "online-retail-2010-12-01-to-03.csv.gz"
TOUR = "tour-1"
GUEST, KNOWN = "guest-1", "cust-7"
CUSTOMER = "17841"

_TO_TRY = {
    f"show {TOUR} --json": "its CustomerSession object",
    f"show {TOUR} --version 3": "as it was after three events",
    f"timeline {TOUR}": "every event, and what it changed",
    f"history {CUSTOMER}": "a customer's sessions and totals",
    f"history {KNOWN} --events": "another's, event by event",
    "log --limit 10": "the first events of the log",
    "verify": "compares every view with the log",
    "--help": "all commands",
}


@click.command()
@click.option(
    "--store",
    metavar="URL",
    help="A store that does not exist yet; by default a new demo.db in this folder.",
)
@application_option
def demo(*, store: str | None, application: int) -> None:
    """Import three days of a real shop's orders into a new store, and take a short tour.

    The tour takes one session through its life step by step, shows the history of customers, looks
    into the past, and ends with commands to try on the store. It writes only to the new store,
    demo.db or the first of demo-2.db, demo-3.db and so on that does not exist, or the one that
    you name; one that exists is refused (exit code 1).
    """
    url = store or _free_url()
    with SessionStore.open(url, read_only=True) as looked_at:
        if looked_at.exists:
            shown = without_password(url)
            complain(f"{shown} already exists, and the demo needs a new store: name another one")
            raise click.exceptions.Exit(1)
    with SessionStore.open(url, application) as opened:
        _load(opened)
        views = CustomerSessions(opened)
        _step_by_step(opened, views)
        _history(CustomerHistories(opened))
        _the_past(views)
    _what_next(url, application)


def _free_url() -> str:
    """Create an empty file for the store, as another demo may start at the same moment."""
    for number in count(1):
        name = f"demo-{number}.db" if number > 1 else "demo.db"
        try:
            Path(name).touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError as error:
            complain(f"cannot create {name} here: {error.strerror}; name a store with --store")
            raise click.exceptions.Exit(1) from error
        return f"sqlite:///{name}"
    raise AssertionError


def _load(store: SessionStore) -> None:
    print_heading("Three days of a real shop's orders become sessions")
    print_text("Online Retail, UCI, Daqing Chen (2015), CC BY 4.0")
    with as_file(EXTRACT) as path, progress("importing lines") as told:
        summary: Summary = import_invoices(store, read_invoices(path), told, tell_refused)
    print_text(
        f"{summary.sessions} sessions, {summary.first_sessions} of them a customer's first; "
        f"{summary.credit_notes} credit notes brought {summary.returned_units} units back; "
        f"revenue {summary.revenue}, {store.position} events."
    )


def _step_by_step(store: SessionStore, views: CustomerSessions) -> None:
    print_heading("One session, step by step: each command appends an event to the log")
    commands: list[Command] = [
        OpenSession(profile_id=GUEST),
        AddItem(sku="9696", name="shoes", quantity=1, price=Decimal(60)),
        AddItem(sku="6478", name="shirts", quantity=2, price=Decimal("20.00")),
        SetProfile(profile_id=KNOWN),
        ApplyCoupon(coupon="SPRING-20"),
        SetDiscount(label="20% promo", value=Decimal(20)),
        CloseSession(),
        ReturnItems(items=[ReturnItem(sku="6478", quantity=1)]),
    ]
    for command in commands:
        store.execute(TOUR, command, metadata={"actor": "demo"})
    print_steps(views.timeline(TOUR))
    print_heading("The same events, folded into a view (the total is before discounts and returns)")
    print_session(views.get(TOUR))


def _history(histories: CustomerHistories) -> None:
    print_heading(f"The guest logged in as {KNOWN}: that customer's history, event by event")
    print_replay(histories.replay(KNOWN), KNOWN)
    print_heading(f"The history of {GUEST} shows where the session went")
    guest = histories.get(GUEST)
    print_history(guest, guest.sessions)
    print_heading(f"The history of customer {CUSTOMER}: a first session, and a return")
    customer = histories.get(CUSTOMER)
    print_history(customer, customer.sessions)


def _the_past(views: CustomerSessions) -> None:
    print_heading("A look into the past: one of these sessions just before and after its return")
    returned = next(view for view in views.of_profile(CUSTOMER) if _returned(view.cart_items))
    before = returned.updated - timedelta(seconds=1)
    then = views.get(returned.integration_id, as_of=before)
    print_table(
        ("session", "as of", "state", "units returned"),
        (
            (view.integration_id, time_text(moment), view.state, _returned(view.cart_items))
            for view, moment in ((then, before), (returned, returned.updated))
        ),
    )


def _returned(items: list[CartItem]) -> int:
    return sum(item.returned_quantity for item in items)


def _program() -> str:
    """How to call this program again: by its path, or as a module."""
    called = Path(sys.argv[0])
    return "python -m sessions" if called.name == "__main__.py" else quote(str(called))


def _what_next(url: str, application: int) -> None:
    print_heading("What to type next")
    program = "sessions" if shutil.which("sessions") else _program()
    if url.startswith("memory:"):
        print_text(f"  {program} demo  # keeps its store; this one was in memory and is gone")
        return
    hidden = without_password(url) != url
    named = "URL  # the one that you gave, with its password" if hidden else quote(url)
    print_text(f"  export SESSIONS_STORE={named}")
    if application != 1 or "SESSIONS_APPLICATION" in os.environ:
        print_text(f"  export SESSIONS_APPLICATION={application}")
    width = max(map(len, _TO_TRY))
    for arguments, shown in _TO_TRY.items():
        print_text(f"  {program} {arguments:{width}}  # {shown}")
