"""The command that executes commands given as JSON Lines."""

from __future__ import annotations

import operator
from contextlib import suppress
from functools import reduce
from textwrap import fill
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from sessions.cli.common import print_json, remark
from sessions.cli.files import lines_of
from sessions.cli.options import application_option, store_option
from sessions.command_json import TAGS, UNREADABLE, Reader, plain
from sessions.commands import COMMANDS
from sessions.errors import MalformedCommand, SessionsError
from sessions.rules import encodes
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterable

_BOM = b"\xef\xbb\xbf"
_BESIDE: tuple[Any, ...] = (
    ("integration_id", str),
    ("idempotency_key", str | None, None),
    ("expected_version", int | None, None),
    ("metadata", dict[str, Any] | None, None),
)


def _line_type(command: type[Any]) -> type[Any]:
    """The shape of a line: a command's own fields, and those that every line may have."""
    return msgspec.defstruct(
        command.__name__,
        _BESIDE,
        bases=(command,),
        tag=command.__struct_config__.tag,
        frozen=True,
        kw_only=True,
    )


_COMMANDS: dict[str, type[Any]] = {kind.__name__: kind for kind in sorted(COMMANDS, key=str)}
_LINES: Reader[Any] = Reader(reduce(operator.or_, map(_line_type, _COMMANDS.values())))


class _Addressed(msgspec.Struct, rename="camel"):
    integration_id: str | None = None


@click.command(epilog="\b\n" + fill(f"The commands: {TAGS}.", break_on_hyphens=False))
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@store_option
@application_option
def execute(*, file: BinaryIO, store: str, application: int) -> None:
    """Execute commands, one JSON object per line, and answer each with a line once it is durable.

    FILE has the commands; without it, or if it is -, they come from standard input. Each line
    names a command, the integrationId of the session, and the command's own fields. You can add
    idempotencyKey (for a safe retry), expectedVersion and metadata:

    {"command": "open", "integrationId": "order-1", "profileId": "cust-7"}

    {"command": "add-item", "integrationId": "order-1", "sku": "64", "price": 9}

    An answer has the new version, the log position and the events. A line that is refused or
    malformed gets an answer too ("ok": false, and why), and the rest goes on. Exits with 1 if
    there was such a line.
    """
    with SessionStore.open(store, application) as opened:
        if file.isatty():
            remark("type one command per line, as a JSON object; Ctrl-D ends the input")
        failed = [line for line in _answers(opened, lines_of(file)) if not line["ok"]]
    if failed:
        raise click.exceptions.Exit(1)


def _answers(store: SessionStore, lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        content = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if content:
            answer = {"line": number} | _answer(store, content)
            print_json(answer)
            yield answer


def _answer(store: SessionStore, line: bytes) -> dict[str, Any]:
    try:
        asked = _LINES.read(line)
    except MalformedCommand as error:
        return _failure(_addressee(line), type(error).__name__, str(error))
    kind = _COMMANDS[type(asked).__name__]
    command = kind(**{name: getattr(asked, name) for name in kind.__struct_fields__})
    try:
        done = store.execute(
            asked.integration_id,
            command,
            idempotency_key=asked.idempotency_key,
            expected_version=asked.expected_version,
            metadata=asked.metadata,
        )
    except SessionsError as error:
        return _failure(asked.integration_id, type(error).__name__, str(error))
    return {
        "integrationId": asked.integration_id,
        "ok": True,
        "version": done.version,
        "position": done.position,
        "events": [recorded.type for recorded in done.events],
    }


def _failure(session_id: str | None, kind: str, message: str) -> dict[str, Any]:
    return {"integrationId": session_id, "ok": False, "error": kind, "message": message}


def _addressee(line: bytes) -> str | None:
    """The session that a line names, as far as it can be read."""
    with suppress(*UNREADABLE):
        return msgspec.json.decode(line, type=_Addressed).integration_id
    with suppress(*UNREADABLE):
        given = plain(line)
        named = given.get("integrationId") if isinstance(given, dict) else None
        return named if isinstance(named, str) and encodes(named) else None
    return None
