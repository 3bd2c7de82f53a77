"""The command that imports a shop's order lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from sessions.cli.common import (
    DEFAULT_STORE,
    ApplicationOption,
    JsonOption,
    StoreOption,
    print_json,
    print_table,
    progress,
    remark,
)
from sessions.cli.retail import Summary, import_invoices
from sessions.cli.retail_file import read_invoices
from sessions.store import SessionStore

if TYPE_CHECKING:
    from sessions.errors import SessionsError


def import_retail(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
            help="The CSV file, gzipped or not.",
        ),
    ],
    *,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Import a shop's order lines (the format of UCI Online Retail) as sessions.

    Each order becomes a closed session, and each credit note returns units of its customer's
    latest sessions. What is refused is said on standard error, and the rest goes on. It can be
    stopped and run again: it goes on where it stopped.
    """
    invoices = read_invoices(file)
    with (
        SessionStore.open(store, application) as opened,
        progress("importing lines") as told,
    ):
        summary = import_invoices(opened, invoices, told, tell_refused)
    print_summary(summary, json=json)


def tell_refused(invoice: str, error: SessionsError) -> None:
    """Say why an invoice is not recorded."""
    remark(f"invoice {invoice}: {error}")


def print_summary(summary: Summary, *, json: bool) -> None:
    """Print what was imported, for people or as one line of JSON."""
    if json:
        print_json(summary)
    else:
        figures = msgspec.to_builtins(summary, builtin_types=())
        print_table(("figure", "value"), figures.items())
