"""The command that imports a shop's order lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from sessions.cli.common import print_json, print_table, progress, remark
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

    FILE is the CSV file, gzipped or not. Each order becomes a closed session, and each credit note
    returns units of its customer's latest sessions. What is refused is said on standard error, and
    the rest goes on. It can be stopped and run again: it goes on where it stopped.
    """
    with progress("reading lines") as told:
        invoices = read_invoices(file, told)
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
