"""Topics: the stored name of an event, with `.2` for the second version of its shape, and so on."""

from __future__ import annotations

import re

TOPIC = "CASE type_version WHEN 1 THEN type ELSE type || '.' || type_version END"
"""The topic of a row of the log: one column to read instead of the two that it is made of."""

_VERSION = re.compile("0|[2-9]|[1-9][0-9]{1,17}")
"""A version as a topic says it; what looks like another one belongs to the name."""


def topic_of(name: str, version: int) -> str:
    """The topic of a version of an event's shape."""
    return name if version == 1 else f"{name}.{version}"


def shape_of(topic: str) -> tuple[str, int]:
    """The stored name and the version that a topic says."""
    name, dot, version = topic.rpartition(".")
    return (name, int(version)) if dot and _VERSION.fullmatch(version) else (topic, 1)


def name_of(topic: str) -> str:
    """The stored name that a topic says."""
    return shape_of(topic)[0]
