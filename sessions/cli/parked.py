"""Commands about parked keys, those whose event a fold failed on: parked, retry, skip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import projections
from projections.known import named
from sessions.cli.common import print_json, print_table, print_text, time_text
from sessions.cli.options import application_option, json_option, name_argument, store_option
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable

_key_argument = click.argument("key", metavar="KEY")
_KEYS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""Accepts keys that are negative numbers, or begin with -h."""


@click.command()
@json_option
@store_option
@application_option
def parked(*, json: bool, store: str, application: int) -> None:
    """List the parked keys, each with the event that a fold failed on.

    The view of a parked key stays as it was before that event, and later events of the key wait
    behind it. Fix the fold and retry the key, or skip the event.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        found = projections.parked(opened)
    if json:
        for each in found:
            print_json(each)
    else:
        print_table(
            ("projection", "key", "position", "type", "error", "parkedAt"),
            (
                (p.projection, p.key, p.position, p.type, p.error, time_text(p.parked_at))
                for p in found
            ),
        )


@click.command(context_settings=_KEYS)
@name_argument
@_key_argument
@store_option
@application_option
def retry(*, name: str, key: str, store: str, application: int) -> None:
    """Retry a parked key: fold the event that it waits for again, and all that wait behind it.

    NAME is the projection, and KEY the key, as "sessions projections parked" prints them. Exits
    with 1 if the key is parked again.
    """
    _let_go_on(projections.StoredProjection.retry, name, key, store, application)


@click.command(context_settings=_KEYS)
@name_argument
@_key_argument
@store_option
@application_option
def skip(*, name: str, key: str, store: str, application: int) -> None:
    """Skip the event that a parked key waits for, and fold all that wait behind it.

    NAME is the projection, and KEY the key, as "sessions projections parked" prints them. The
    event is left out for this key for good, in this version of the projection. Exits with 1 if a
    later event parks the key again.
    """
    _let_go_on(projections.StoredProjection.skip, name, key, store, application)


def _let_go_on(
    how: Callable[[projections.StoredProjection[Any], str], bool],
    name: str,
    key: str,
    store: str,
    application: int,
) -> None:
    with SessionStore.open(store, application, read_only=True) as opened:
        (projection,) = named(opened, [name])
        goes_on = how(projections.StoredProjection(opened, projection), key)
    if not goes_on:
        print_text(f"{name} of {key!r} is parked again: see `sessions projections parked`")
        raise click.exceptions.Exit(1)
    print_text(f"{name} of {key!r} is no longer parked")
