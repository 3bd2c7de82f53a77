"""The projections of installed packages: every process that has the packages knows them."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from sessions.errors import ProjectionNotLoaded
from sessions.views.projection import Projection

GROUP = "customer_sessions.projections"
"""The entry point group in which they are found."""


@lru_cache
def installed() -> tuple[Projection[Any], ...]:
    """The projections of all installed packages, sorted by name.

    Raises:
        ProjectionNotLoaded: An entry point cannot be imported, or is no projection.
    """
    found = [_loaded(entry) for entry in entry_points(group=GROUP)]
    return tuple(sorted(found, key=lambda projection: projection.name))


def _loaded(entry: EntryPoint) -> Projection[Any]:
    try:
        loaded = entry.load()
    except Exception as error:
        reason = f"{error!r}{_place(entry) if isinstance(error, ModuleNotFoundError) else ''}"
        raise ProjectionNotLoaded(name=entry.name, value=entry.value, reason=reason) from error
    if not isinstance(loaded, Projection):
        reason = f"it is an object of the type {type(loaded).__name__}"
        raise ProjectionNotLoaded(name=entry.name, value=entry.value, reason=reason)
    return loaded


def _place(entry: EntryPoint) -> str:
    """Where its package was found: perhaps another folder of that name comes first."""
    package = entry.module.partition(".")[0]
    spec = find_spec(package)
    if spec is None:
        return ""
    places = spec.submodule_search_locations or [str(spec.origin)]
    return f"; the package {package} is at {', '.join(places)}"
