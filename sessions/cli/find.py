"""The command that finds sessions by their current state."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import click

from projections import CustomerSession, CustomerSessions
from sessions.cli.common import counted, print_line, print_table, reading, remark, time_text
from sessions.cli.options import a_time, application_option, examples, json_option, store_option
from sessions.errors import StorageFailed
from sessions.events import State
from sessions.rules import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = ("session", "state", "profile", "updated", "lines", "total", "coupon")


@click.command(epilog=examples("sessions find --state open --updated-before 2026-11-01T00:00:00Z"))
@click.option(
    "--state",
    type=click.Choice(get_args(State)),
    metavar="STATE",
    help=f"Only in this state: {', '.join(get_args(State))}.",
)
@click.option(
    "--profile", "profile_id", metavar="ID", help='Only of this customer; "" finds anonymous ones.'
)
@click.option("--coupon", metavar="CODE", help="Only with this coupon entered.")
@click.option("--referral", metavar="CODE", help="Only with this referral code entered.")
@click.option(
    "--updated-before", type=a_time, metavar="TIME", help="Only if last updated before this time."
)
@click.option(
    "--updated-since",
    type=a_time,
    metavar="TIME",
    help="Only if last updated at this time or later.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, metavar="N", help="At most N sessions."
)
@json_option
@store_option
@application_option
def find(*, limit: int, json: bool, store: str, application: int, **filters: Any) -> None:  # noqa: ANN401  as `CustomerSessions.find` takes them
    """Find sessions by their current state, the longest untouched first.

    Each filter narrows the result. Open sessions that nobody has touched for long are abandoned
    carts: the example finds them. With --json each session is a line: the CustomerSession object
    that "sessions show ID --json" prints.
    """
    with reading(store, application) as opened:
        found = _found(CustomerSessions(opened), filters)
        shown = islice(found, min(limit, sys.maxsize))
        if json:
            for view in shown:
                print_line(view.to_json())
        else:
            print_table(_COLUMNS, map(_row, shown))
        if _goes_on(found):
            remark(f"stopped after {counted(limit, 'session')}; there are more (--limit)")


def _goes_on(found: Iterator[CustomerSession]) -> bool:
    """Whether there is one more; what cannot be read is there too."""
    try:
        return next(found, None) is not None
    except StorageFailed:
        return True


def _found(views: CustomerSessions, filters: dict[str, Any]) -> Iterator[CustomerSession]:
    last = None
    while page := views.find(**filters, limit=MAX_PAGE, after=last):
        yield from page
        last = page[-1]


def _row(view: CustomerSession) -> tuple[object, ...]:
    return (
        view.integration_id,
        view.state,
        view.profile_id,
        time_text(view.updated),
        len(view.cart_items),
        view.total,
        view.coupon,
    )
