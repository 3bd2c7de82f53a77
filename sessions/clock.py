"""The one place where the clock and randomness are read; elsewhere they arrive as data."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

_random = random.Random()  # noqa: S311  command ids are unique, not secret
os.register_at_fork(after_in_child=_random.seed)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_command_id(at: datetime) -> str:
    """A new UUIDv7 (RFC 9562) of a time, in its canonical text form."""
    bits = _random.getrandbits(74)
    high, low = bits >> 62, bits & 0x3FFF_FFFF_FFFF_FFFF
    value = f"{int(at.timestamp() * 1000):012x}7{high:03x}{low | 1 << 63:016x}"
    return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"


def text(moment: datetime) -> str:
    """A UTC time as RFC 3339 with microseconds and `Z`: it sorts as the time does."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"
