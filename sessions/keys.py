"""The keys of views, and where events wait that have none, or one of the wrong kind."""

from __future__ import annotations

import re
from typing import TypeAlias

from sessions.kinds import MOST_ID

Key: TypeAlias = str | int
"""What a view is found by: a text or an integer, as the key's column says."""

UNTOLD = "(untold)"
"""Where an event waits whose keys could not be told."""

_KINDS = ("bool", "bytes", "float", "int", "NoneType", "str", "tuple")
_RESERVED = re.compile(rf"\((untold|object|{'|'.join(_KINDS)})\)")


def misfit(key: object) -> str:
    """What stands for a key that is not of the kind of its column: its events wait under that.

    It says what the key is, such as `(str) '7'`: it is neither the number 7 nor any other key.

    Raises:
        TypeError: It cannot be a key of a dict either.
    """
    hash(key)
    kind = type(key).__name__
    try:
        shown = f" {key!a}"
    except Exception:  # noqa: BLE001  Python does not print a huge number
        shown = ""
    return f"({kind if kind in _KINDS else 'object'}){shown}"[:MOST_ID]


def is_reserved(key: Key) -> bool:
    """Whether a key says where events wait that have none: none of an event may be one."""
    return isinstance(key, str) and key[:1] == "(" and _RESERVED.match(key) is not None
