"""The one place where the clock and randomness are read; elsewhere they arrive as data."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

import msgspec

_random = random.Random()  # noqa: S311  command ids are unique, not secret
_LENGTH = len("2026-11-23T10:00:00.123456Z")
os.register_at_fork(after_in_child=_random.seed)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_command_id(at: datetime) -> str:
    """A new UUIDv7 (RFC 9562) of a time, in its canonical text form."""
    bits = _random.getrandbits(74)
    time = f"{int(at.timestamp() * 1000):012x}"
    rest = f"{bits >> 62:03x}{bits & 0x3FFF_FFFF_FFFF_FFFF | 1 << 63:016x}"
    return f"{time[:8]}-{time[8:]}-7{rest[:3]}-{rest[3:7]}-{rest[7:]}"


def text(moment: datetime) -> str:
    """A UTC time as RFC 3339 with microseconds and `Z`: it sorts as the time does."""
    written: str = msgspec.to_builtins(moment)
    return written if len(written) == _LENGTH else f"{written[:-1]}.000000Z"
