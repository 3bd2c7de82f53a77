"""Commands that look after a store: verify, rebuild."""

from __future__ import annotations

import typer

import projections
from sessions.cli.common import (
    DEFAULT_STORE,
    ApplicationOption,
    JsonOption,
    StoreOption,
    print_json,
    print_table,
    print_text,
    progress,
)
from sessions.store import SessionStore


def verify(
    *,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Fold the whole log afresh, and compare every view row, claim and attachment with it.

    Exits with 1 if anything differs, and says what. Others may go on writing meanwhile.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        with progress("verifying") as told:
            differences = projections.verify(opened, told)
        events = opened.position
    if json:
        print_json({"events": events, "differences": differences})
    elif differences:
        print_table(
            ("relation", "key", "column", "stored", "expected"),
            (
                (d.relation, " ".join(map(str, d.key)), d.column, d.stored, d.expected)
                for d in differences
            ),
        )
    else:
        print_text(f"{events} events: every view equals them")
    if differences:
        raise typer.Exit(1)


def rebuild(
    *,
    json: JsonOption = False,
    store: StoreOption = DEFAULT_STORE,
    application: ApplicationOption = 1,
) -> None:
    """Make the inline views and claims anew from the log, of all applications in the store.

    It is one transaction: writers wait meanwhile, and an interrupted rebuild changes nothing.
    From then on the store's writers keep the projections that are installed here.
    """
    with (
        SessionStore.open(store, application, read_only=True) as opened,
        progress("rebuilding") as told,
    ):
        events = projections.rebuild(opened, told)
    if json:
        print_json({"events": events})
    else:
        print_text(f"rebuilt from {events} events")
