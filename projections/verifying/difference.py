"""What differs between what a store keeps and what its log says."""

from __future__ import annotations

from typing import Any

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One value or row of the store that differs from what the log says.

    Attributes:
        relation: The relation that it is in; `projections` for a projection that is not compared.
        key: The row's key, without the application.
        column: The column; "" if the whole row is missing, or should not be there.
        stored: What the store has. For a projection that is not compared: the version that the
            store keeps; None if it keeps none.
        expected: What the log says. For a projection that is not compared: the version that this
            process knows; None if it knows none.
        position: The log position of the first event that is not reflected as it should be; None
            if no event of the log is about it.
    """

    relation: str
    key: tuple[Any, ...]
    column: str
    stored: Any
    expected: Any
    position: int | None = None
