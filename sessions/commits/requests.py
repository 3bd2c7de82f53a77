"""The requests of a call, and what they must be before anything is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from sessions import rules
from sessions.commands import COMMANDS, name_of
from sessions.commits.answers import Request
from sessions.errors import InvalidValue, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sessions.commands import Command


def of_session(
    session_id: str, commands: Iterable[Command], expected_version: int | None
) -> list[Request]:
    """The requests of a call for one session; the version is expected before the first."""
    return [
        Request(session_id, command, None if number else expected_version)
        for number, command in enumerate(rules.several("commands", commands))
    ]


def of_sessions(commands: Iterable[tuple[str, Command]]) -> list[Request]:
    """The requests of a call for several sessions."""
    return [Request(*_pair(each)) for each in rules.several("commands", commands)]


def check(requests: list[Request]) -> None:
    """Check the requests of a call; each id becomes a plain text.

    Raises:
        InvalidValue, LimitExceeded: A session id, command or version is not of its kind.
    """
    for number, request in enumerate(requests):
        try:
            requests[number] = _checked(request)
        except Refused as refusal:
            if type(request.command) in COMMANDS:
                refusal.about(session=request.session_id, command=name_of(request.command))
            if len(requests) > 1:
                refusal.about(index=number)
            raise


def _pair(given: object) -> tuple[Any, Any]:
    if isinstance(given, tuple | list) and len(given) == len(("id", "command")):
        return given[0], given[1]
    rule = "pairs of a session id and a command"
    raise InvalidValue(field="commands", rule=rule, value=rules.shown(given))


def _checked(request: Request) -> Request:
    """The request, after a check that its session id, command and version are of their kinds."""
    session_id = rules.text("integrationId", request.session_id)
    if type(request.command) not in COMMANDS:
        shown = rules.shown(request.command)
        raise InvalidValue(field="command", rule="one of the commands", value=shown)
    if request.expected_version is not None:
        rules.count("expectedVersion", request.expected_version, least=0)
    return request if session_id is request.session_id else replace(request, session_id=session_id)
