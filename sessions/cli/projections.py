"""Commands about projections: list, status, run, rebuild, verify, parked, retry, skip, drop."""

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
from sessions.cli import maintain
from sessions.cli.common import print_json, print_table, print_text, progress, remark, time_text
from sessions.cli.options import Commands, application_option, json_option, store_option
from sessions.sql.head import Mode
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@click.group("projections", cls=Commands)
def app() -> None:
    """The views that are folded from the log: how they are run, and what to do where a fold fails.

    An inline projection is written in the transaction of each command, a followed one by "sessions
    projections run", and a live one is folded when it is asked for.
    """


names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")
name_argument = click.argument("name", metavar="NAME")
key_argument = click.argument("key", metavar="KEY")
_KEYS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""A key may be a negative number, or begin with -h."""

_LIST = ("name", "version", "installed", "mode", "status", "build")
_STATUS = (*_LIST, "position", "lagEvents", "lagSeconds", "rate", "parked")
_RATE_SECONDS = 0.5


@app.command("list")
@json_option
@store_option
def list_(*, json: bool, store: str) -> None:
    """The projections that the store keeps or this process knows, and how they are run."""
    with SessionStore.open(store, read_only=True) as opened:
        _show(projections.status(opened), _LIST, json=json)


@app.command()
@json_option
@store_option
@application_option
def status(*, json: bool, store: str, application: int) -> None:
    """How far each projection has come, how far it is behind, and how many keys wait."""
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
@click.option("--once", is_flag=True, help="End when all have caught up with the log as it is now.")
@json_option
@store_option
@application_option
def run(*, names: Sequence[str], once: bool, json: bool, store: str, application: int) -> None:
    """Follow the log with the followed projections, until Ctrl-C.

    Without a NAME it is all of them. Several processes may run the same ones: one works, and the
    others take over when it ends, however it ends. Those that the store keeps in another version
    or mode are waited for, which is said on standard error. With --json it says at its end how far
    each has come, as status does.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        end = opened.position if once else None
        runner = projections.Runner(opened, names)
        before, begun = _followed(opened, names) if opened.exists else [], time.monotonic()
        if not opened.exists:
            remark("there is no store yet: waiting for the first command, which makes it")
        elif not before:
            remark("none of them is followed here: see `sessions projections list`")
        with _stopped_by_signals(runner), progress("following") as told:
            runner.run(until=end, progress=told)
        if json and opened.exists:
            _show(_since(before, begun, _followed(opened, names)), _STATUS, json=True)
    for name, error in runner.paused.items():
        remark(f"{name}: {error}")


def _followed(store: SessionStore, names: Sequence[str]) -> list[projections.ProjectionStatus]:
    """What is followed, of those that are known here and named."""
    asked = {each.name for each in named(store, names)}
    found = [each for each in projections.status(store) if each.name in asked]
    return [e for e in found if e.mode == "followed" and e.status in {"current", "missing"}]


def _since(
    before: list[projections.ProjectionStatus],
    begun: float,
    now: list[projections.ProjectionStatus],
) -> list[projections.ProjectionStatus]:
    """How projections do now, each with the rate at which it came there."""
    seconds, came_from = time.monotonic() - begun, {each.name: each.position for each in before}
    return [
        replace(each, rate=((each.position or 0) - (came_from.get(each.name) or 0)) / seconds)
        for each in now
    ]


@contextmanager
def _stopped_by_signals(runner: projections.Runner) -> Iterator[None]:
    """Ctrl-C and SIGTERM end a run when what is at work is committed."""
    before = {
        number: signal.signal(number, lambda *_: runner.stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
@names_argument
@click.option(
    "--mode",
    type=click.Choice(get_args(Mode)),
    metavar="MODE",
    help="How to run them: inline, followed or live; else as until now.",
)
@click.option(
    "--allow-older",
    is_flag=True,
    help="Go back to the versions here, where the store keeps newer ones.",
)
@json_option
@store_option
def rebuild(
    *, names: Sequence[str], mode: Mode | None, allow_older: bool, json: bool, store: str
) -> None:
    """Build projections anew beside those that are there, and switch to them.

    They are built for all applications. Nobody waits but for the switch. Ctrl-C stops it, and the
    same command goes on with it. Without a NAME all are built, and the claims too; an inline one
    that is not installed here is then kept no longer, and those that have it are refused.
    """
    maintain.rebuilt(store, names, mode, json=json, allow_older=allow_older)


app.add_command(maintain.verify)


@app.command()
@json_option
@store_option
@application_option
def parked(*, json: bool, store: str, application: int) -> None:
    """The keys that wait, because a fold could not take an event."""
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


@app.command(context_settings=_KEYS)
@name_argument
@key_argument
@store_option
@application_option
def retry(*, name: str, key: str, store: str, application: int) -> None:
    """Fold what a key waits for once more, and all that waits behind it.

    NAME is the projection, and KEY is as "sessions projections parked" prints it. Exits with 1 if
    it still cannot be folded.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        stored = _stored(opened, name)
        _tell(name, key, goes_on=stored.retry(key))


@app.command(context_settings=_KEYS)
@name_argument
@key_argument
@store_option
@application_option
def skip(*, name: str, key: str, store: str, application: int) -> None:
    """Leave out the event that a key waits for, for good, and fold what waits behind it.

    NAME is the projection, and KEY is as "sessions projections parked" prints it.
    """
    with SessionStore.open(store, application, read_only=True) as opened:
        stored = _stored(opened, name)
        _tell(name, key, goes_on=stored.skip(key))


@app.command()
@name_argument
@store_option
def drop(*, name: str, store: str) -> None:
    """Remove what a rebuild has left of a projection: the build before, or one not finished.

    NAME is the projection. Of one that is not installed here everything is removed: its current
    views too.
    """
    with SessionStore.open(store, read_only=True) as opened:
        dropped = projections.drop(opened, name)
    for label in dropped:
        print_text(f"dropped {label}")
    if not dropped:
        print_text("there is nothing to drop")


def _stored(store: SessionStore, name: str) -> projections.StoredProjection[Any]:
    (projection,) = named(store, [name])
    return projections.StoredProjection(store, projection)


def _tell(name: str, key: str, *, goes_on: bool) -> None:
    if not goes_on:
        print_text(f"{name} of {key!r} waits again: see `sessions projections parked`")
        raise click.exceptions.Exit(1)
    print_text(f"{name} of {key!r} goes on")
