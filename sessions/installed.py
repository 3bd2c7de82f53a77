"""The projections of installed packages, which every process that has them knows."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sessions.errors import ProjectionNotLoaded
from sessions.projection import Projection

GROUP = "customer_sessions.projections"
"""The entry point group in which they are found."""


@lru_cache
def installed() -> tuple[Projection[Any], ...]:
    """The projections of all installed packages, by name.

    Raises:
        ProjectionNotLoaded: An entry point brings none.
    """
    found = [_loaded(entry) for entry in entry_points(group=GROUP)]
    return tuple(sorted(found, key=lambda projection: projection.name))


def _loaded(entry: EntryPoint) -> Projection[Any]:
    try:
        loaded = entry.load()
    except Exception as error:
        raise ProjectionNotLoaded(name=entry.name, value=entry.value, reason=repr(error)) from error
    if not isinstance(loaded, Projection):
        reason = f"it is of the type {type(loaded).__name__}"
        raise ProjectionNotLoaded(name=entry.name, value=entry.value, reason=reason)
    return loaded
