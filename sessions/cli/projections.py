"""Commands about projections: list, status, run, rebuild, drop; those of other files are added."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast, get_args

import click
import msgspec
from msgspec.structs import replace

import projections
from projections.known import named
from sessions.cli import maintain, parked
from sessions.cli.common import print_json, print_table, print_text, progress, remark
from sessions.cli.options import (
    Commands,
    application_option,
    examples,
    json_option,
    name_argument,
    store_option,
)
from sessions.sql.head import Mode
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@click.group("projections", cls=Commands)
def app() -> None:
    """Run and inspect projections, the views that are folded from the log.

    The views of an inline projection are written in the transaction of each command, those of a
    followed one by "sessions projections run", and a live one is folded when it is asked for. If a
    fold fails, the key of the view is parked: see parked, retry and skip.
    """


names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")

_LIST = ("name", "version", "installed", "mode", "status", "build")
_STATUS = (*_LIST, "position", "lagEvents", "lagSeconds", "rate", "parked")
_RATE_SECONDS = 0.5


@app.command("list")
@json_option
@store_option
def list_(*, json: bool, store: str) -> None:
    """List the projections that the store keeps or that are installed here, and how they are run.

    Each build is a row: version is the one in the store, installed the one that is installed here.
    The status is current, building, old, or missing if the store does not keep it yet.
    """
    with SessionStore.open(store, read_only=True) as opened:
        _show(projections.status(opened), _LIST, json=json)


@app.command()
@json_option
@store_option
@application_option
def status(*, json: bool, store: str, application: int) -> None:
    """Show how far each projection has come, how far it is behind, and how many keys are parked.

    lagEvents is how many positions it is behind the end of the log, lagSeconds how long ago the
    first event that it has not reached was recorded, and rate how many events a second it advanced
    while this command looked, for half a second. Watch lagSeconds and parked.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        _show(projections.status(opened, seconds=_RATE_SECONDS), _STATUS, json=json)


def _show(
    found: list[projections.ProjectionStatus], columns: tuple[str, ...], *, json: bool
) -> None:
    rows = [cast("dict[str, Any]", msgspec.to_builtins(each)) for each in found]
    if json:
        for row in rows:
            print_json({column: row[column] for column in columns})
    else:
        print_table(columns, ([_short(row[column]) for column in columns] for row in rows))


def _short(value: object) -> object:
    return f"{value:.1f}" if isinstance(value, float) else value


@app.command()
@names_argument
@click.option("--once", is_flag=True, help="End once all have caught up with the log as it is now.")
@json_option
@store_option
@application_option
def run(*, names: Sequence[str], once: bool, json: bool, store: str, application: int) -> None:
    """Keep the followed projections up to date with the log, until Ctrl-C.

    Without a NAME it runs all of them. Several processes may run the same ones: one works, the
    others stand by, and one of them takes over when it ends, however it ends. A projection that
    the store keeps in another version or mode is reported on standard error, and waited for. With
    --json it prints at its end how far each has come, as status does. Ctrl-C and SIGTERM end it
    with exit code 0, once the page that it is folding is committed.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        end = opened.position if once else None
        runner = projections.Runner(opened, names)
        before, begun = _followed(opened, names) if opened.exists else [], time.monotonic()
        if not opened.exists:
            remark("there is no store yet: waiting for the first command, which makes it")
        elif not before:
            waits = "" if once else "waiting for one; "
            remark(f"no projection to follow here: {waits}see `sessions projections list`")
        with _stopped_by_signals(runner), progress("following") as told:
            runner.run(until=end, progress=told)
        if json and opened.exists:
            _show(_since(before, begun, _followed(opened, names)), _STATUS, json=True)
    for name, error in runner.paused.items():
        remark(f"{name}: {error}")


def _followed(store: SessionStore, names: Sequence[str]) -> list[projections.ProjectionStatus]:
    """The followed projections among those that are known here and named."""
    asked = {each.name for each in named(store, names)}
    found = [each for each in projections.status(store) if each.name in asked]
    return [e for e in found if e.mode == "followed" and e.status in {"current", "missing"}]


def _since(
    before: list[projections.ProjectionStatus],
    begun: float,
    now: list[projections.ProjectionStatus],
) -> list[projections.ProjectionStatus]:
    """The status of projections now, each with its rate since it was looked at before."""
    seconds, came_from = time.monotonic() - begun, {each.name: each.position for each in before}
    return [
        replace(each, rate=((each.position or 0) - (came_from.get(each.name) or 0)) / seconds)
        for each in now
    ]


@contextmanager
def _stopped_by_signals(runner: projections.Runner) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a run once the page at work is committed."""
    before = {
        number: signal.signal(number, lambda *_: runner.stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command(epilog=examples("sessions projections rebuild sales --mode inline"))
@names_argument
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    metavar="MODE",
    help="How to run them from now on: inline, followed or live; by default as before.",
)
@click.option(
    "--allow-older",
    is_flag=True,
    help="Go back to the versions installed here, even if the store keeps newer ones.",
)
@json_option
@store_option
def rebuild(
    *, names: Sequence[str], mode: Mode | None, allow_older: bool, json: bool, store: str
) -> None:
    """Build projections beside the existing ones, for all applications, and switch to them.

    Others wait only for the switch. Ctrl-C stops it, and the same command resumes it. Without a
    NAME it builds all projections, and the claims too; an inline projection that is not installed
    here then becomes old, and writers that have it installed are refused.
    """
    maintain.rebuilt(store, names, mode, json=json, allow_older=allow_older)


app.add_command(maintain.verify)


for command in (parked.parked, parked.retry, parked.skip):
    app.add_command(command)


@app.command()
@name_argument
@store_option
def drop(*, name: str, store: str) -> None:
    """Remove the builds of a projection that are not current: an old or an unfinished one.

    NAME is the projection. If it is not installed here, all its builds are removed, the current
    one too.
    """
    with SessionStore.open(store, read_only=True) as opened:
        dropped = projections.drop(opened, name)
    for label in dropped:
        print_text(f"dropped {label}")
    if not dropped:
        print_text("there is nothing to drop")
