"""Commands that read sessions and the log: show, export, timeline, log."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from projections import CustomerSession, CustomerSessions, Step
from sessions.cli.common import print_line, print_lines, print_table, print_text, reading, time_text
from sessions.cli.options import (
    Count,
    application_option,
    as_of_option,
    check_one_moment,
    examples,
    json_option,
    position_option,
    session_argument,
    store_option,
)
from sessions.cli.piped import while_read
from sessions.events import EVENTS
from sessions.log.mapper import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from sessions.recorded import Recorded


@click.command(
    epilog=examples(
        "sessions show order-1001 --json",
        "sessions show order-1001 --as-of 2026-11-23T10:00:00Z",
    )
)
@session_argument
@click.option("--version", type=Count(1), metavar="N", help="As it was after its first N events.")
@as_of_option
@position_option
@json_option
@store_option
@application_option
def show(  # noqa: PLR0913  a parameter is an option
    *,
    session_id: str,
    version: int | None,
    as_of: datetime | None,
    position: int | None,
    json: bool,
    store: str,
    application: int,
) -> None:
    """Show a session as it is, or as it was at any moment.

    ID is the session's integrationId. With --json it prints exactly the CustomerSession object of
    the Integration API. Exits with 1 if there is no such session, or was none at that moment.
    """
    moment: dict[str, Any] = {"version": version, "as_of": as_of, "position": position}
    check_one_moment(**moment)
    with reading(store, application) as opened:
        view = CustomerSessions(opened).get(session_id, **moment)
    if json:
        print_line(view.to_json())
    else:
        print_session(view)


@click.command(epilog=examples("sessions export --as-of 2026-11-01T00:00:00Z > sessions.jsonl"))
@as_of_option
@position_option
@store_option
@application_option
def export(*, as_of: datetime | None, position: int | None, store: str, application: int) -> None:
    """Print all sessions as they are, or as they were at any moment, folded from the log.

    Each session is a line: the CustomerSession object that "sessions show ID --json" prints. All
    lines show the same moment, whatever is written meanwhile.
    """
    check_one_moment(as_of=as_of, position=position)
    with reading(store, application) as opened:
        views = CustomerSessions(opened).all(as_of=as_of, position=position)
        sys.stdout.writelines(f"{view.to_json()}\n" for view in views)


@click.command()
@session_argument
@json_option
@store_option
@application_option
def timeline(*, session_id: str, json: bool, store: str, application: int) -> None:
    """Show every event of a session: when, by whom, and what it changed in the view.

    ID is the session's integrationId. The column "by" is the actor in the event's metadata.
    With --json each event is a line, with its changes.
    """
    with reading(store, application) as opened:
        steps = CustomerSessions(opened).timeline(session_id)
        if json:
            for step in steps:
                print_line(step.to_json())
        else:
            print_steps(steps)


@click.command(epilog=examples("sessions log --follow --json --type SessionClosed"))
@click.option(
    "--after", type=Count(0), default=0, metavar="P", help="Start after this log position."
)
@click.option("--limit", type=Count(1), metavar="N", help="At most N events.")
@click.option("--follow", is_flag=True, help="Continue with each new event, until Ctrl-C.")
@click.option(
    "--type",
    "types",
    type=click.Choice([*EVENTS]),
    multiple=True,
    metavar="EVENT",
    help="Only events of this type, such as ItemAdded; may be repeated.",
)
@json_option
@store_option
@application_option
def log(  # noqa: PLR0913  a parameter is an option
    *,
    after: int,
    limit: int | None,
    follow: bool,
    types: Sequence[str],
    json: bool,
    store: str,
    application: int,
) -> None:
    """Show the log: all events of the application in order; with --follow, new ones too.

    Each event has a position in the log, from 1 and without gaps. To resume, give --after the
    position of the last event that you have. With --json each event is a line.
    """
    most = None if limit is None else min(limit, sys.maxsize)
    with reading(store, application) as opened:
        if follow:
            try:
                events = while_read(opened.follow(after, types=types))
                _print_log(islice(events, most), json, print_lines)
            except KeyboardInterrupt:
                return
        else:
            _print_log(islice(opened.log(after, types=types), most), json, print_table)


def _print_log(
    events: Iterator[Recorded],
    json: bool,  # noqa: FBT001  the command's own flag
    show: Callable[[Sequence[str], Iterable[Sequence[object]]], None],
) -> None:
    if json:
        for recorded in events:
            print_line(recorded.to_json())
    else:
        show(
            ("position", "session", "version", "at", "event", "data"),
            (
                (r.position, r.stream_id, r.version, time_text(r.at), r.type, _data(r))
                for r in events
            ),
        )


def print_session(view: CustomerSession) -> None:
    """Print a session for people."""
    first = ", first session" if view.first_session else ""
    print_text(f"{view.state}{first}", title=view.integration_id)
    facts = {
        "profile": view.profile_id or "(anonymous)",
        "coupon": view.coupon,
        "referral": view.referral,
        "identifiers": ", ".join(view.identifiers),
        "attributes": encode_json(view.attributes) if view.attributes else "",
        "discounts": ", ".join(f"{label}: {value}" for label, value in view.discounts.items()),
        "total": view.total,
        "created": time_text(view.created),
        "updated": f"{time_text(view.updated)} (update {view.update_count})",
    }
    for name, value in facts.items():
        if value != "":
            print_text(f"  {name:12} {value}")
    print_table(
        ("position", "sku", "name", "price", "quantity", "returned"),
        (
            (i.position, i.sku, i.name, i.price, i.quantity, i.returned_quantity)
            for i in view.cart_items
        ),
    )


def print_steps(steps: Iterator[Step]) -> None:
    """Print a session's timeline for people."""
    columns = ("version", "at", "by", "event", "changed")
    print_table(columns, (_step_row(step) for step in steps))


def _step_row(step: Step) -> tuple[object, ...]:
    recorded = step.recorded
    hidden = {"updated", "updateCount"} if recorded.version > 1 else set()
    changes = [
        f"{change.path}: {_value(change.before, none=change.added)}"
        f" -> {_value(change.after, none=change.removed)}"
        for change in step.changes
        if change.path not in hidden and (recorded.version > 1 or change.after)
    ]
    actor = recorded.metadata.get("actor")
    who = actor if isinstance(actor, str | None) else encode_json(actor)
    return recorded.version, time_text(recorded.at), who, recorded.type, "; ".join(changes)


def _value(value: object, *, none: bool) -> str:
    return "(none)" if none else encode_json(value)


def _data(recorded: Recorded) -> str:
    return encode_json(recorded.event)
