"""The command that finds sessions by what they are now."""

from __future__ import annotations

import sys
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from projections import CustomerSession, CustomerSessions
from sessions.cli.common import (
    DEFAULT_STORE,
    ApplicationOption,
    JsonOption,
    StoreOption,
    a_time,
    print_line,
    print_table,
    reading,
    time_text,
)
from sessions.events import State
from sessions.rules import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = ("session", "state", "profile", "updated", "lines", "total", "coupon")


def find(  # noqa: PLR0913  a parameter is an option
    *,
    state: Annotated[
        State | None,
        typer.Option("--state", metavar="STATE", help=f"Only these: {', '.join(get_args(State))}."),
    ] = None,
    profile_id: Annotated[
        str | None, typer.Option("--profile", metavar="ID", help="Only of this customer.")
    ] = None,
    coupon: Annotated[
        str | None, typer.Option("--coupon", metavar="CODE", help="Only with this coupon entered.")
    ] = None,
    referral: Annotated[
        str | None,
        typer.Option("--referral", metavar="CODE", help="Only with this referral code entered."),
    ] = None,
    updated_before: Annotated[
        datetime | None,
        typer.Option(
            "--updated-before", parser=a_time, metavar="TIME", help="Untouched since this time."
        ),
    ] = None,
    updated_since: Annotated[
        datetime | None,
        typer.Option(
            "--updated-since", parser=a_time, metavar="TIME", help="Touched at this time or later."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most so many sessions.")
    ] = 100,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Find sessions by what they are now, the longest untouched first.

    Open ones that nobody has touched for long are abandoned carts. With --json each is a line: the
    CustomerSession object that "sessions show ID --json" prints.
    """
    filters = {
        "state": state,
        "profile_id": profile_id,
        "coupon": coupon,
        "referral": referral,
        "updated_before": updated_before,
        "updated_since": updated_since,
    }
    with reading(store, application) as opened:
        found = islice(_found(CustomerSessions(opened), filters), min(limit, sys.maxsize))
        if json:
            for view in found:
                print_line(view.to_json())
        else:
            print_table(_COLUMNS, map(_row, found))


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
