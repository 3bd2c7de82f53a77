"""How a round fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 5


class TortureError(AssertionError):
    """A promise was broken."""


def fail(failures: Sequence[str]) -> NoReturn:
    """End the round; the first failures tell what is wrong."""
    first = "\n".join(failure[:4000] for failure in failures[:_SHOWN])
    msg = f"{len(failures)} failures:\n{first}"
    raise TortureError(msg)
