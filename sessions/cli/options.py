"""Options and arguments that commands share, and the form of their help."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import click
import msgspec

from sessions import rules
from sessions.errors import InvalidValue


class Commands(click.Group):
    """A group that lists its commands in their order, each with its first paragraph of help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  as click calls it
        """Write the list of commands."""
        said = [
            (name, (each.help or "").partition("\n\n")[0]) for name, each in self.commands.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(said)


def examples(*lines: str) -> str:
    """Command lines to show below the options of a command."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *[f"  {line}" for line in lines]])


class Count(click.IntRange):
    """A whole number that a database can hold."""

    def convert(
        self,
        value: Any,  # noqa: ANN401  as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Read it from the command line."""
        number: int = super().convert(value, param, ctx)
        if number > rules.MAX_COUNT:
            self.fail(f"{number} is more than {rules.MAX_COUNT}.", param, ctx)
        return number


def a_time(text: str) -> datetime:
    """Read a time that is given on the command line."""
    try:
        moment = _moment(text)
    except ValueError:
        message = f"{text!r} is not an RFC 3339 time such as 2026-11-23T10:00:00Z"
        raise click.BadParameter(message) from None
    if moment.tzinfo is None:
        given = moment.isoformat()
        message = f"{text!r} has no timezone: write {given}Z or {given}+01:00"
        raise click.BadParameter(message)
    try:
        return rules.moment("TIME", moment)
    except InvalidValue as error:
        raise click.BadParameter(str(error)) from None


def _moment(text: str) -> datetime:
    """Read a time as `at` is read (rounded to microseconds), or in a shorter form."""
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return datetime.fromisoformat(text.upper())


def check_one_moment(**moments: object) -> None:
    """Refuse more than one of the options that name a moment."""
    if [*moments.values()].count(None) < len(moments) - 1:
        *names, last = [f"--{name.replace('_', '-')}" for name in moments]
        message = f"give only one of {', '.join(names)} and {last}"
        raise click.BadParameter(message)


store_option = click.option(
    "--store",
    envvar="SESSIONS_STORE",
    show_envvar=True,
    metavar="URL",
    default="sqlite:///sessions.db",
    help=(
        "The store: sqlite:///relative.db, sqlite:////absolute.db, "
        "or postgresql://host/database?schema=name."
    ),
)
_application = partial(
    click.option,
    "--application",
    envvar="SESSIONS_APPLICATION",
    show_envvar=True,
    metavar="N",
    type=Count(1),
)
application_option = _application(default=1, help="The application that owns the sessions.")
any_application_option = _application(help="Only this application; by default all in the store.")
json_option = click.option("--json", is_flag=True, help="Print JSON, for programs.")
as_of_option = click.option(
    "--as-of",
    type=a_time,
    metavar="TIME",
    help="As it was at this time, such as 2026-11-23T10:00:00Z (RFC 3339 with a timezone).",
)
position_option = click.option(
    "--position",
    type=Count(0),
    metavar="P",
    help="As the store knew it at this log position.",
)
session_argument = click.argument("session_id", metavar="ID")
name_argument = click.argument("name", metavar="NAME")
