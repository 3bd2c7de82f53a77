"""The one place where the clock and randomness are read; elsewhere they arrive as data."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_command_id(at: datetime) -> str:
    """A new UUIDv7 (RFC 9562) of a time, in its canonical text form."""
    milliseconds = int(at.timestamp() * 1000)
    random = int.from_bytes(os.urandom(10))
    high, low = random >> 68, random & 0x3FFF_FFFF_FFFF_FFFF
    value = f"{milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low:032x}"
    return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"


def text(moment: datetime) -> str:
    """A UTC time as RFC 3339 with microseconds and `Z`: it sorts as the time does."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"
