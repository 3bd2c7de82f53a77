"""Reading the files that are given to commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from sessions.errors import SessionsError

if TYPE_CHECKING:
    from collections.abc import Iterator


class BadFile(SessionsError):  # noqa: N818  as in sessions.errors
    """{path} cannot be read: {reason}"""  # noqa: D415  a message

    path: object
    reason: object


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file as they come.

    Raises:
        BadFile: The system cannot read it.
    """
    try:
        yield from file
    except OSError as error:
        raise BadFile(path=file.name, reason=error.strerror) from error
