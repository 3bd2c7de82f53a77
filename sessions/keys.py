"""The keys of views, and those under which events without a proper key wait."""

from __future__ import annotations

import re
from typing import TypeAlias

from sessions.kinds import MOST_ID

Key: TypeAlias = str | int
"""The key of a view: a text or an integer, as the key's column says."""

UNTOLD = "(untold)"
"""The key under which an event waits if `keys` raised for it, or did not return a list."""

_KINDS = ("bool", "bytes", "float", "int", "NoneType", "str", "tuple")
_RESERVED = re.compile(rf"\((untold|object|{'|'.join(_KINDS)})\)")


def misfit(key: object) -> str:
    """What stands for a key that is not of its column's kind: its events wait under that.

    It describes the key, such as `(str) '7'`, and equals neither the number 7 nor any other key.

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
    """Whether events without a proper key wait under a key like this: no event may have it."""
    return isinstance(key, str) and key[:1] == "(" and _RESERVED.match(key) is not None
