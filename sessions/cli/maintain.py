"""Commands that look after a store: init, verify, rebuild, copy."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict, replace

import projections
from projections.comparing import MOST
from projections.pages import applications_of
from sessions.cli.common import (
    counted,
    print_json,
    print_table,
    print_text,
    progress,
    reading,
    remark,
    resumable,
)
from sessions.cli.options import (
    Count,
    any_application_option,
    examples,
    json_option,
    store_option,
)
from sessions.sql.schema import ANSWERS, CLAIMS, LIMITS, PARKED, PROJECTIONS
from sessions.store import SessionStore
from sessions.views import kept
from sessions.views.kept import advice_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projections import Difference
    from sessions.sql.head import Mode


@click.command()
@store_option
def init(*, store: str) -> None:
    """Make the store, or migrate it to this version of the library, if that is needed.

    A writer does the same by itself: when it opens the store or, for a new SQLite file, at its
    first command. Use this command if your application's role in the database may not.
    """
    with SessionStore.open(store) as opened:
        opened.make()
    print_text("the store is ready")


@click.command()
@click.option(
    "--limit",
    metavar="N",
    type=Count(1),
    default=1000,
    help="Stop after N differences of an application.",
)
@json_option
@store_option
@any_application_option
def verify(*, limit: int, json: bool, store: str, application: int | None) -> None:
    """Fold the whole log afresh, and compare every view row, claim and attachment with it.

    If no application is named, it verifies each one in the store. Exits with 1 if anything differs,
    and prints each difference: the first event at which it shows, what the store has (stored), and
    what the log says (expected). Others may go on writing meanwhile. With --json it prints one
    object: the number of events, and the differences.
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
            most = counted(limit, "difference")
            remark(f"application {each.application_id}: stopped after {most}; there are more")
    shown = [(one.application_id, d) for one, all_of in verified for d in all_of[:limit]]
    _report(events, shown, json)


def _derived(store: SessionStore) -> list[str]:
    """The relations that can have rows of an application even if its events are gone.

    For views they are those of the store, as the installed projections may have others.
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
        print_text(f"{counted(events, 'event')}: every view matches the log")
    left_out = [_not_compared(d) for _, d in differences if d.relation == PROJECTIONS.name]
    for said in dict.fromkeys(left_out):
        remark(said)
    if differences:
        raise click.exceptions.Exit(1)


def _not_compared(difference: Difference) -> str:
    """Why a projection of the store or of this process was not compared, and what to do."""
    (name,), stored, here = difference.key, difference.stored, difference.expected
    if stored is None:
        return f"{name} was not compared: the store does not keep it; {advice_on([name])}"
    kept = f"{name} was not compared: the store keeps {name} {stored}"
    if here is not None:
        advice = advice_on([name], is_newer=stored > here)
        return f"{kept}, but {name} {here} is installed here; {advice}"
    drop = f"if no process keeps it any more, run `sessions projections drop {name}`"
    return f"{kept}, but none is installed here; install it, or, {drop}"


def _shown(difference: Difference) -> Difference:
    """A difference in a form for JSON: a database may hold values that JSON does not have."""
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
    """Rebuild all views and claims from the log, for all applications in the store.

    The new ones are built beside the existing ones, while others read and write, and replace them
    at the end. From then on the store's writers keep the projections that are installed here; an
    inline one that is not installed here becomes old. It prints how many views
    differed from the log, and with --json also their keys. Ctrl-C stops it, and the same command
    resumes it.
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
    """Rebuild projections, and print what came of it."""
    with (
        resumable(),
        SessionStore.open(store, read_only=True) as opened,
        progress("rebuilding") as told,
    ):
        done = projections.rebuild(opened, told, names=names, mode=mode, allow_older=allow_older)
    if json:
        print_json(done)
        return
    before = f", {done.done_before} of them by an earlier attempt" if done.done_before else ""
    events = counted(done.events, "event")
    print_text(f"rebuilt from {events}{before}: {', '.join(done.projections)}")
    applications = {each.application_id for each in done.compared}
    for each in done.compared:
        if each.differing:
            count = len(each.differing)
            keys = f"{'at least ' * (count == MOST)}{counted(count, 'view')}"
            of = f" of application {each.application_id}" if len(applications) > 1 else ""
            makes = f"which makes {each.views}"
            print_text(f"{keys}{of} differed from the log, {makes}", title=each.projection)
    for label in done.retired:
        print_text("not installed here, so no longer kept", title=label)
    if done.parked:
        print_text(f"{counted(done.parked, 'key')} parked: see `sessions projections parked`")


@click.command(
    epilog=examples('sessions copy sqlite:///shop.db "postgresql://host/database?schema=shop"')
)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(*, source: str, target: str, json: bool) -> None:
    """Copy a store to another database: all applications, events, idempotency keys and positions.

    FROM is the URL of the store, TO that of the new one. First stop everything that writes to FROM.
    If the copy is interrupted, run the same command again, and it resumes where it stopped. Nobody
    can write to TO until everything is compared and verified.
    """
    if target.startswith("memory:"):
        message = "a store in memory is gone when the command ends"
        raise click.BadParameter(message)
    with (
        resumable(),
        SessionStore.open(source, read_only=True) as one,
        SessionStore.open(target, read_only=True) as other,
        progress("copying") as told,
    ):
        copied = projections.copy(one, other, told)
    if json:
        print_json(copied)
    else:
        keys = counted(copied.keys, "idempotency key")
        of = counted(copied.applications, "application")
        print_text(
            f"{counted(copied.events, 'event')} and {keys} of {of}: the copy equals its source"
        )
