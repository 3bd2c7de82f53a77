"""The command that imports a shop's order lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from sessions.cli.common import print_json, print_table, progress, remark, resumable
from sessions.cli.options import application_option, json_option, store_option
from sessions.cli.retail import Summary, import_invoices
from sessions.cli.retail_file import read_invoices
from sessions.store import SessionStore

if TYPE_CHECKING:
    from sessions.errors import SessionsError


@click.command()
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)
@json_option
@store_option
@application_option
def import_retail(*, file: Path, json: bool, store: str, application: int) -> None:
    """Import a shop's order lines (the format of UCI Online Retail) as sessions.

    FILE is a CSV file, gzipped or not, with the columns InvoiceNo, StockCode, Description,
    Quantity, InvoiceDate, UnitPrice and CustomerID. Each order becomes a closed session, and each
    credit note (its InvoiceNo begins with C) returns units of its customer's latest sessions.

    A file with a line that cannot be read is refused before anything is written. An invoice that
    is refused is reported on standard error, and the rest goes on. You can stop the import: run
    the same command again, and it resumes where it stopped. At the end it prints counts and sums.
    """
    with progress("reading lines") as told:
        invoices = read_invoices(file, told)
    with (
        resumable(),
        SessionStore.open(store, application) as opened,
        progress("importing lines") as told,
    ):
        summary = import_invoices(opened, invoices, told, tell_refused)
    print_summary(summary, json=json)


def tell_refused(invoice: str, error: SessionsError) -> None:
    """Report why an invoice was refused."""
    remark(f"invoice {invoice}: {error}")


def print_summary(summary: Summary, *, json: bool) -> None:
    """Print the summary of an import, for people or as one line of JSON."""
    if json:
        print_json(summary)
    else:
        figures = msgspec.to_builtins(summary, builtin_types=())
        print_table(("figure", "value"), figures.items())
