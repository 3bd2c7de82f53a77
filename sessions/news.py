"""What is raised within this library, and dealt with there."""

from __future__ import annotations


class News(Exception):  # noqa: N818  nothing went wrong
    """What is raised to be dealt with, and reaches nobody else."""
