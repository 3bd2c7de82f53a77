"""Commands that look after a store: init, verify, rebuild, copy."""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict, replace

import projections
from projections.comparing import MOST
from projections.pages import applications_of
from sessions.cli.common import print_json, print_table, print_text, progress, reading, remark
from sessions.cli.options import any_application_option, json_option, store_option
from sessions.sql.schema import ANSWERS, CLAIMS, LIMITS, PARKED, PROJECTIONS
from sessions.store import SessionStore
from sessions.views import kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from projections import Difference
    from sessions.sql.head import Mode


@click.command()
@store_option
def init(*, store: str) -> None:
    """Make the store, or move it forward to this version of the library, where that is needed.

    Opening a store for writing does the same. This is for those who give their application a
    role that may not do it.
    """
    with SessionStore.open(store) as opened:
        opened.make()
    print_text("the store is ready")


@click.command()
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=1000,
    help="Stop after so many differences of an application.",
)
@json_option
@store_option
@any_application_option
def verify(*, limit: int, json: bool, store: str, application: int | None) -> None:
    """Fold the whole log afresh, and compare every view row, claim and attachment with it.

    It does so for each application in the store, if none is named. Exits with 1 if anything
    differs, and says what. Others may go on writing meanwhile.
    """
    with reading(store, application or 1, says=application is not None) as opened:
        opened.check_made()
        database, known = opened.recorder.database, opened.projections
        found = [application] if application else applications_of(opened.rows, *_derived(opened))
        stores = [
            SessionStore(database, each, read_only=True, projections=known) for each in found or [1]
        ]
        verified: list[tuple[SessionStore, list[Difference]]] = []
        for each in stores:
            with progress(f"verifying application {each.application_id}") as told:
                verified.append((each, projections.verify(each, told, limit=limit + 1)))
        events = sum(each.position for each in stores)
    for each, differences in verified:
        if len(differences) > limit:
            remark(f"application {each.application_id}: stopped, for more than {limit} differ")
    shown = [(one.application_id, d) for one, all_of in verified for d in all_of[:limit]]
    _report(events, shown, json)


def _derived(store: SessionStore) -> list[str]:
    """The relations that say something of an application which has no events any more, too.

    Those of views are the ones that the store has: what is installed may want others.
    """
    builds = kept.builds(store.rows, "current").values()
    views = [name for build in builds for name in kept.relations(store.rows, build)]
    return [*[table.name for table in (ANSWERS, CLAIMS, LIMITS, PARKED)], *views]


def _report(
    events: int,
    differences: Sequence[tuple[int, Difference]],
    json: bool,  # noqa: FBT001  the command's own flag
) -> None:
    if json:
        shown = [{"applicationId": of, **asdict(_shown(d))} for of, d in differences]
        print_json({"events": events, "differences": shown})
    elif differences:
        columns = ("application", "event", "relation", "key", "column", "stored", "expected")
        rows = [
            (of, d.position, d.relation, " ".join(map(str, d.key)), d.column, d.stored, d.expected)
            for of, d in differences
        ]
        print_table(columns, rows)
    else:
        print_text(f"{events} events: every view equals them")
    left_out = [_not_compared(d) for _, d in differences if d.relation == PROJECTIONS.name]
    for said in dict.fromkeys(left_out):
        remark(said)
    if differences:
        raise click.exceptions.Exit(1)


def _not_compared(difference: Difference) -> str:
    """Why a projection of the store or of this process is not compared, and what can be done."""
    (name,), stored, here = difference.key, difference.stored, difference.expected
    if stored is None:
        return f"{name} is not compared: the store does not keep it: run `sessions rebuild`"
    kept = f"{name} is not compared: the store keeps {name} {stored}"
    if here is not None:
        return f"{kept}, here is {name} {here}"
    drop = f"run `sessions projections drop {name}`"
    return f"{kept}, here is none: install it, or, if no process keeps it any more, {drop}"


def _shown(difference: Difference) -> Difference:
    """A difference as JSON can show it: a database may hold what JSON has no word for."""
    key = tuple([_in_json(value) for value in difference.key])
    return replace(difference, key=key, stored=_in_json(difference.stored))


def _in_json(value: object) -> object:
    if isinstance(value, bytes) or (isinstance(value, float | Decimal) and not isfinite(value)):
        return str(value)
    return value


@click.command()
@json_option
@store_option
def rebuild(*, json: bool, store: str) -> None:
    """Make all views and claims anew from the log, of all applications in the store.

    They are built beside those that are there, while others read and write, and take their place
    at the end. Ctrl-C stops it, and the same command goes on with it. From then on the store's
    writers keep the projections that are installed here: an inline one that is not becomes old.
    """
    rebuilt(store, json=json)


def rebuilt(
    store: str,
    names: Sequence[str] = (),
    mode: Mode | None = None,
    *,
    json: bool,
    allow_older: bool = False,
) -> None:
    """Build projections anew, and tell what came of it."""
    with (
        _going_on_later(),
        SessionStore.open(store, read_only=True) as opened,
        progress("rebuilding") as told,
    ):
        done = projections.rebuild(opened, told, names=names, mode=mode, allow_older=allow_older)
    if json:
        print_json(done)
        return
    before = f", {done.done_before} of them by an earlier attempt" if done.done_before else ""
    print_text(f"rebuilt from {done.events} events{before}: {', '.join(done.projections)}")
    applications = {each.application_id for each in done.compared}
    for each in done.compared:
        if each.differing:
            count = len(each.differing)
            keys = f"{'at least ' * (count == MOST)}{count} of {each.views} views"
            of = f" of application {each.application_id}" if len(applications) > 1 else ""
            print_text(f"{keys}{of} were not what the log says", title=each.projection)
    for label in done.retired:
        print_text("it is not installed here, and kept no longer", title=label)
    if done.parked:
        print_text(f"{done.parked} keys wait: see `sessions projections parked`")


@contextmanager
def _going_on_later() -> Iterator[None]:
    """Who stops it is told that it can be gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        remark("stopped: the same command goes on with it")
        raise click.Abort from None


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(*, source: str, target: str, json: bool) -> None:
    """Move a store to another database: all applications, with every event, key and position.

    FROM is the URL of the store, TO that of the new one. Stop those who write to FROM first. A
    copy that is interrupted goes on where it stopped when it is run again. Nobody can write to TO
    before all is compared and verified.
    """
    if target.startswith("memory:"):
        message = "a store in memory is gone when the command ends"
        raise click.BadParameter(message)
    with (
        _going_on_later(),
        SessionStore.open(source, read_only=True) as one,
        SessionStore.open(target, read_only=True) as other,
        progress("copying") as told,
    ):
        copied = projections.copy(one, other, told)
    if json:
        print_json(copied)
    else:
        print_text(
            f"{copied.events} events and {copied.keys} idempotency keys of "
            f"{copied.applications} applications: the copy equals its source"
        )
