"""The one place where the time of events is read and ids are made; elsewhere they are data."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

import msgspec

_random = random.Random()  # noqa: S311  command ids are unique, not secret
_LENGTH = len("2026-11-23T10:00:00.123456Z")
_VERSION_AND_VARIANT = 0x7000_8000_0000_0000_0000
_RANDOM_BITS = 0x0FFF_3FFF_FFFF_FFFF_FFFF
os.register_at_fork(after_in_child=_random.seed)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_command_id(at: datetime) -> str:
    """A new UUIDv7 (RFC 9562) of a time, as canonical text; a time before 1970 counts as 1970."""
    time, rest = max(0, int(at.timestamp() * 1000)), _random.getrandbits(80)
    number = time << 80 | rest & _RANDOM_BITS | _VERSION_AND_VARIANT
    digits = number.to_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def text(moment: datetime) -> str:
    """A time as RFC 3339 in UTC, with microseconds and `Z`: it sorts as the time does."""
    written: str = msgspec.to_builtins(moment)
    if len(written) == _LENGTH:
        return written
    return f"{written[:-1]}.000000Z" if written[-1] == "Z" else text(moment.astimezone(UTC))
