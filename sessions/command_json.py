"""Commands as JSON, from outside: the body of a request, or a line of a file.

It is read more strictly than by msgspec alone: an object has each field once, and an amount that
is a string is a number in JSON's notation.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import msgspec

from sessions.commands import COMMANDS, Command
from sessions.errors import InvalidValue, MalformedCommand
from sessions.rules import MAX_DEPTH, encodes, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

C = TypeVar("C", bound=Command)
T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)
"""What is raised for text that is not JSON, or not of the right shape."""

TAGS = ", ".join(sorted([f"{kind.__struct_config__.tag}" for kind in COMMANDS]))
"""The names of all commands."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_AT = re.compile(r" - at `(\$[^`]*)`$")
_HALF = r"a string holds one half of a surrogate pair, such as \ud800"


@overload
def command_from_json(text: str | bytes) -> Command: ...
@overload
def command_from_json(text: str | bytes, kind: type[C]) -> C: ...
def command_from_json(text: str | bytes, kind: type[Any] | None = None) -> Any:
    """A command from JSON, such as the body of a request.

    It checks the shape; the values are checked when the command is executed. Amounts keep all their
    digits, which they lose if another parser makes floats of them.

    Args:
        text: An object with the tag `command`, and fields in camelCase.
        kind: The class of the command, if only one is allowed; then the tag may be left out.

    Raises:
        MalformedCommand: It is not JSON, or not the JSON of a command; the error tells where.
        InvalidValue: `text` is no text, or `kind` is not the class of a command.
    """
    if not isinstance(text, str | bytes):
        raise InvalidValue(field="text", rule="JSON, as a str or bytes", value=shown(text))
    if kind is not None and kind not in list(COMMANDS):
        raise InvalidValue(field="kind", rule="the class of a command", value=shown(kind))
    return _reader(kind).read(text)


class Reader(Generic[T]):
    """Reads JSON objects that are commands, perhaps with more fields.

    Args:
        shape: The type of what is read, or a union of some with tags.
        tags: The commands that it may be.
    """

    def __init__(self, shape: Any, tags: str = TAGS) -> None:  # noqa: ANN401  a union is no type
        self._decode = msgspec.json.Decoder(shape).decode
        self._expected = f"the commands are {tags}" if tags == TAGS else f"the command is {tags}"

    def read(self, text: str | bytes) -> T:
        """What a text says.

        Raises:
            MalformedCommand: It is not JSON, or of another shape.
        """
        try:
            content = text.encode() if isinstance(text, str) else text
            given = plain(content)
            read: T = self._decode(content)
            _check_amounts(read, given)
        except UNREADABLE as error:
            reason = _why(error, text)
            at = _AT.search(reason)
            if at and at[1] == "$.command":
                reason += f": {self._expected}"
            raise MalformedCommand(field=at[1] if at else "$", reason=reason) from error
        return read


@cache
def _reader(kind: type[Any] | None) -> Reader[Any]:
    if kind is None:
        return Reader(Command)
    return Reader(kind, f"{kind.__struct_config__.tag}")


def plain(text: bytes) -> object:
    """A text as plain JSON, its numbers only roughly; None if it is not JSON.

    Raises:
        ValidationError: An object has a field twice, of which JSON readers silently take one.
    """
    try:
        return json.loads(text, object_pairs_hook=_named_once, parse_int=float)
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


def _why(error: Exception, text: str | bytes) -> str:
    """Why a text is not a command; always with a path if its shape is wrong."""
    said = str(error)
    if isinstance(error, RecursionError):
        return f"lists and objects nest more than {MAX_DEPTH} levels deep"
    if not isinstance(error, msgspec.ValidationError):
        return _half_a_pair(text) or _no_text(text) or said
    return said if _AT.search(said) else f"{said} - at `$`"  # msgspec leaves out that of the top


def _no_text(text: str | bytes) -> str:
    """Where a text stops being UTF-8, in msgspec's words; "" if it is UTF-8 throughout."""
    try:
        if isinstance(text, bytes):
            text.decode()
    except UnicodeDecodeError as error:
        return f"JSON is malformed: invalid UTF-8 (byte {error.start})"
    return ""


def _half_a_pair(text: str | bytes) -> str:
    """What is wrong with a text that is JSON but for lone surrogates, which Python accepts."""
    try:  # given bytes, `loads` would guess other encodings
        said = text.decode(errors="surrogatepass") if isinstance(text, bytes) else text
        value = json.loads(said, parse_constant=int)  # NaN and Infinity are not JSON
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
