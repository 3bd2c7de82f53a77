"""The command that shows a customer's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projections import CustomerHistories, CustomerHistory, Figures, HistoryStep, SessionHistory
from sessions.cli.common import print_line, print_table, print_text, reading, time_text
from sessions.cli.options import (
    application_option,
    as_of_option,
    check_one_moment,
    examples,
    json_option,
    position_option,
    store_option,
)
from sessions.events import ProfileChanged, SessionOpened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sessions.recorded import Recorded

_ONE_FORM = "give only one of --events and --figures"


@click.command(
    epilog=examples("sessions history cust-7", "sessions history cust-7 --figures --json")
)
@click.argument("profile", metavar="PROFILE")
@click.option(
    "--events", is_flag=True, help="Every event, with the session's state and the sums after it."
)
@click.option(
    "--figures",
    is_flag=True,
    help="Only what they add up to; with --json the whole history, as one object.",
)
@click.option(
    "--session",
    metavar="ID",
    help="Only this session, or its events; the sums are still of all sessions.",
)
@as_of_option
@position_option
@json_option
@store_option
@application_option
def history(  # noqa: PLR0913  a parameter is an option
    *,
    profile: str,
    events: bool,
    figures: bool,
    session: str | None,
    as_of: datetime | None,
    position: int | None,
    json: bool,
    store: str,
    application: int,
) -> None:
    """Show a customer's sessions in the order in which they came, and what they add up to.

    PROFILE is the customer's profileId. If a session changes its profile (a guest logs in), it
    moves with its past: the old customer's history says where it went, the new one's where it came
    from. An order is a session that is closed or partially returned; net is gross minus discounts
    and returned.

    With --json each session that belongs to the customer is a line: the CustomerSession object
    that "sessions show ID --json" prints. With --events each event is a line, in the order of the
    log, with the sums after it.
    """
    check_one_moment(as_of=as_of, position=position)
    if events and figures:
        raise click.BadParameter(_ONE_FORM)
    moment: dict[str, Any] = {"as_of": as_of, "position": position}
    with reading(store, application) as opened:
        histories = CustomerHistories(opened)
        then = histories.get(profile, **moment)
        shown = then.sessions if session is None else [then.session(session)]
        if events:
            steps = histories.replay(profile, **moment)
            wanted = (step for step in steps if session in (None, step.recorded.stream_id))
            _print_replay(wanted, profile, json=json)
        elif json and figures:
            print_line(then.to_json(session_id=session))
        elif json:
            for each in shown:
                if each.belongs:
                    print_line(each.customer_session.to_json())
        elif figures:
            print_figures(then)
        else:
            print_history(then, shown)


def print_history(history: CustomerHistory, shown: Sequence[SessionHistory]) -> None:
    """Print some of a customer's sessions for people, and what all sessions add up to."""
    columns = (
        *("session", "state", "first", "created", "updated", "lines", "total", "returned"),
        *("attached", "came from", "moved to"),
    )
    print_table(columns, (_session_row(each) for each in shown))
    print_figures(history)


def print_figures(history: CustomerHistory) -> None:
    """Print for people what a customer's sessions add up to."""
    left = len([each for each in history.sessions if not each.belongs])
    states = [f"{count} {state}" for state, count in history.figures.states.items() if count]
    said = [", ".join(states) or "no session", *([f"{left} moved away"] if left else [])]
    print_text("; ".join(said), title=history.profile_id)
    for name, value in _facts(history).items():
        if value not in ("", None):
            print_text(f"  {name:12} {value}")


def _facts(history: CustomerHistory) -> dict[str, object]:
    figures = history.figures
    facts: dict[str, object] = {
        "first": history.first_session_id,
        "latest": history.latest_session_id,
    }
    if not figures.orders:
        return facts
    return facts | {
        "orders": figures.orders,
        "gross": figures.gross,
        "discounts": figures.discounts,
        "returned": figures.returned,
        "net": figures.net,
        "coupons": ", ".join(f"{code}: {times}" for code, times in figures.coupons.items()),
        "referrals": ", ".join(f"{code}: {times}" for code, times in figures.referrals.items()),
        "time between": _time_between(figures),
    }


def _time_between(figures: Figures) -> str:
    gaps = figures.gaps
    if not gaps:
        return ""
    if len(gaps) == 1:
        return str(gaps[0])
    return f"{figures.average_gap} on average, {min(gaps)} to {max(gaps)}"


def _session_row(each: SessionHistory) -> tuple[object, ...]:
    view = each.customer_session
    return (
        view.integration_id,
        view.state,
        "first" if each.first_session else "",
        time_text(view.created),
        time_text(view.updated),
        len(view.cart_items),
        view.total,
        sum(item.returned_quantity for item in view.cart_items),
        time_text(each.attached.at),
        _named(each.attached.came_from),
        _named(each.moved_to.profile_id) if each.moved_to else "",
    )


def print_replay(steps: Iterable[HistoryStep], profile: str) -> None:
    """Print a customer's events for people, with the sums after each."""
    columns = (
        *("position", "at", "session", "event", "state", "moved"),
        *("orders", "gross", "discounts", "returned", "net"),
    )
    print_table(columns, (_step_row(step, profile) for step in steps))


def _print_replay(steps: Iterable[HistoryStep], profile: str, *, json: bool) -> None:
    if not json:
        print_replay(steps, profile)
        return
    for step in steps:
        print_line(step.to_json())


def _step_row(step: HistoryStep, profile: str) -> tuple[object, ...]:
    recorded, figures = step.recorded, step.figures
    return (
        recorded.position,
        time_text(recorded.at),
        recorded.stream_id,
        recorded.type,
        step.session.customer_session.state if step.session and step.belongs else "",
        _moved(recorded, profile, belongs=step.belongs),
        figures.orders,
        figures.gross,
        figures.discounts,
        figures.returned,
        figures.net,
    )


def _moved(recorded: Recorded, profile: str, *, belongs: bool) -> str:
    """How an event moved its session, or that the session was another customer's then."""
    match recorded.event:
        case SessionOpened(profile_id=opened) if opened == profile:
            return "attached"
        case ProfileChanged(profile_id=new, old_profile_id=old) if new == profile:
            return f"came from {_named(old)}"
        case ProfileChanged(profile_id=new, old_profile_id=old) if old == profile:
            return f"moved to {_named(new)}"
        case _:
            return "" if belongs else "elsewhere"


def _named(profile: str | None) -> str:
    return "(anonymous)" if profile == "" else profile or ""
