"""Measures projections."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.databases import sqlite_url
from tests.benchmarks.lagging import lag
from tests.benchmarks.measuring import Row
from tests.benchmarks.projecting import projecting
from tests.benchmarks.rebuilding import rebuilds
from tests.benchmarks.scale import Scale


def projected(
    directory: Path, server: str, scale: Scale, say: Callable[[str], None]
) -> Iterator[Row]:
    """Rebuilds, what inline projections cost, and how far followed ones lag behind."""
    say("rebuilds")
    yield from rebuilds(directory, server, scale.rebuilt)
    say("inline projections, and waiting for a followed one")
    yield from projecting(directory, server, scale.rounds, scale.commits)
    say("the lag of a followed projection")
    yield from lag(sqlite_url(directory / "lag.db"), scale.seconds)
