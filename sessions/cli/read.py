"""Commands that look: show, export, timeline, log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from projections import CustomerSession, CustomerSessions, Step
from sessions.cli.common import (
    DEFAULT_STORE,
    FLAG,
    ApplicationOption,
    JsonOption,
    StoreOption,
    a_time,
    print_line,
    print_lines,
    print_table,
    print_text,
    reading,
    time_text,
)
from sessions.cli.piped import while_read
from sessions.events import EVENTS
from sessions.mapper import encode_json

if TYPE_CHECKING:
    from sessions.recorded import Recorded

AsOfOption = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        parser=a_time,
        metavar="TIME",
        help="As it was at this time (RFC 3339, with a timezone).",
    ),
]
PositionOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="P", help="As the store knew it at this log position."),
]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's integrationId.")]


def _event(name: str) -> str:
    """The name of an event, given on the command line."""
    if name not in EVENTS:
        message = f"{name!r} is no event: there are {', '.join(EVENTS)}"
        raise typer.BadParameter(message)
    return name


def show(  # noqa: PLR0913  a parameter is an option
    session_id: SessionArgument,
    *,
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="As it was after N of its events.")
    ] = None,
    as_of: AsOfOption = None,
    position: PositionOption = None,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Show a session as it is, or as it was at any moment.

    With --json it prints exactly the CustomerSession object of the Integration API.
    """
    if [version, as_of, position].count(None) < 2:  # noqa: PLR2004  two of the three
        message = "give only one of --version, --as-of and --position"
        raise typer.BadParameter(message)
    with reading(store, application) as opened:
        moment: dict[str, Any] = {"version": version, "as_of": as_of, "position": position}
        view = CustomerSessions(opened).get(session_id, **moment)
    if json:
        print_line(view.to_json())
    else:
        print_session(view)


def export(
    *,
    as_of: AsOfOption = None,
    position: PositionOption = None,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Print all sessions as they are, or as they were at any moment, folded from the log.

    Each is a line: the CustomerSession object that "sessions show ID --json" prints. All lines are
    of one moment, whatever is written meanwhile.
    """
    check_one_moment(as_of, position)
    with reading(store, application) as opened:
        views = CustomerSessions(opened).all(as_of=as_of, position=position)
        sys.stdout.writelines(f"{view.to_json()}\n" for view in views)


def timeline(
    session_id: SessionArgument,
    *,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Show every event of a session: when, by whom, and what it changed in the view."""
    with reading(store, application) as opened:
        steps = CustomerSessions(opened).timeline(session_id)
        if json:
            for step in steps:
                print_line(step.to_json())
        else:
            print_steps(steps)


def log(  # noqa: PLR0913  a parameter is an option
    *,
    after: Annotated[int, typer.Option(min=0, metavar="P", help="Begin after this position.")] = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most so many events."),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", metavar=FLAG, help="Go on with each new event, until Ctrl-C."),
    ] = False,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", parser=_event, metavar="EVENT", help="Only such events; may be repeated."
        ),
    ] = None,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Show the log: all events of the application, in order; with --follow, as they come."""
    most = None if limit is None else min(limit, sys.maxsize)
    with reading(store, application) as opened:
        if follow:
            try:
                events = while_read(opened.follow(after, types=types or ()))
                _print_log(islice(events, most), json, print_lines)
            except KeyboardInterrupt:
                return
        else:
            _print_log(islice(opened.log(after, types=types or ()), most), json, print_table)


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


def check_one_moment(as_of: datetime | None, position: int | None) -> None:
    """Refuse a moment that is given in two ways."""
    if as_of is not None and position is not None:
        message = "give only one of --as-of and --position"
        raise typer.BadParameter(message)


def print_session(view: CustomerSession) -> None:
    """Print a view for people."""
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
