"""What is raised and handled within this library."""

from __future__ import annotations


class News(Exception):  # noqa: N818  nothing went wrong
    """Raised to be handled internally; it reaches no caller of the library."""
