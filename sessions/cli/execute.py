"""The command that executes commands given as JSON Lines."""

from __future__ import annotations

import json
import operator
import re
from contextlib import suppress
from decimal import Decimal
from functools import reduce
from textwrap import fill
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from sessions.cli.common import print_json, remark
from sessions.cli.files import lines_of
from sessions.cli.options import application_option, store_option
from sessions.commands import COMMANDS
from sessions.errors import SessionsError
from sessions.rules import MAX_DEPTH, encodes
from sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
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


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
_HALF = r"a string holds one half of a surrogate pair, such as \ud800"
_COMMANDS: dict[str, type[Any]] = {kind.__name__: kind for kind in sorted(COMMANDS, key=str)}
_TAGS = ", ".join(sorted([f"{kind.__struct_config__.tag}" for kind in COMMANDS]))
_LINES = tuple([_line_type(kind) for kind in _COMMANDS.values()])
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(reduce(operator.or_, _LINES))


class _Addressed(msgspec.Struct, rename="camel"):
    integration_id: str | None = None


@click.command(epilog="\b\n" + fill(f"The commands: {_TAGS}.", break_on_hyphens=False))
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
        given = _given(line)
        asked = _DECODER.decode(line)
        _check_amounts(asked, given)
    except _UNREADABLE as error:
        return _failure(_addressee(line), "MalformedCommand", _why(error, line))
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


def _given(line: bytes) -> object:
    """A line as plain JSON, its numbers only roughly; None if it is not JSON (reported later).

    Raises:
        ValidationError: An object has a field twice, of which JSON readers silently take one.
    """
    try:
        return json.loads(line, object_pairs_hook=_named_once, parse_int=float)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def _named_once(fields: list[tuple[str, object]]) -> object:
    named = {}
    for name, value in fields:
        if name in named:
            message = f"Object has the field `{name}` twice"
            raise msgspec.ValidationError(message)
        named[name] = value
    return named


def _check_amounts(asked: object, given: object, path: str = "$") -> None:
    """Refuse strings for money that are not JSON numbers: msgspec takes whatever Python takes.

    Raises:
        ValidationError: An amount is a string such as "1_000" or " 1.5".
    """
    match asked, given:
        case Decimal(), str() if not _NUMBER.fullmatch(given):
            message = f"Expected a number in JSON's notation - at `{path}`"
            raise msgspec.ValidationError(message)
        case msgspec.Struct(), dict():
            names = zip(asked.__struct_fields__, asked.__struct_encode_fields__, strict=True)
            for field, name in names:
                _check_amounts(getattr(asked, field), given.get(name), f"{path}.{name}")
        case list(), list():
            for number, (inner, text) in enumerate(zip(asked, given, strict=True)):
                _check_amounts(inner, text, f"{path}[{number}]")
        case _:
            pass


def _failure(session_id: str | None, kind: str, message: str) -> dict[str, Any]:
    return {"integrationId": session_id, "ok": False, "error": kind, "message": message}


def _why(error: Exception, line: bytes) -> str:
    """Why a line is not a command; always with a path if its shape is wrong."""
    said = str(error)
    if isinstance(error, RecursionError):
        return f"lists and objects nest more than {MAX_DEPTH} levels deep"
    if not isinstance(error, msgspec.ValidationError):
        return _half_a_pair(line) or _no_text(line) or said
    if " - at `" not in said:  # msgspec leaves out the path of the top
        said += " - at `$`"
    return f"{said}: the commands are {_TAGS}" if said.endswith("`$.command`") else said


def _no_text(line: bytes) -> str:
    """Where a line stops being UTF-8, in msgspec's words; "" if it is UTF-8 throughout."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"JSON is malformed: invalid UTF-8 (byte {error.start})"
    return ""


def _half_a_pair(line: bytes) -> str:
    """What is wrong with a line that is JSON but for lone surrogates, which Python accepts."""
    try:
        text = line.decode(errors="surrogatepass")  # given bytes, it would guess other encodings
        value = json.loads(text, parse_constant=int)  # NaN and Infinity are not JSON
    except (ValueError, RecursionError):
        return ""
    return next((f"{_HALF} - at `{path}`" for path, text in _texts(value) if not encodes(text)), "")


def _texts(given: object) -> Iterator[tuple[str, str]]:
    """The strings of a JSON value of any depth, names too, each after its path."""
    waiting = [("$", given)]
    while waiting:
        path, value = waiting.pop()
        match value:
            case str():
                yield path, value
            case dict():
                yield from ((path, name) for name in value)
                waiting += [(f"{path}.{name}", inner) for name, inner in value.items()]
            case list():
                waiting += [(f"{path}[{number}]", inner) for number, inner in enumerate(value)]
            case _:
                pass


def _addressee(line: bytes) -> str | None:
    """The session that a line names, as far as it can be read."""
    with suppress(*_UNREADABLE):
        return msgspec.json.decode(line, type=_Addressed).integration_id
    with suppress(*_UNREADABLE):
        given = _given(line)
        named = given.get("integrationId") if isinstance(given, dict) else None
        return named if isinstance(named, str) and encodes(named) else None
    return None
