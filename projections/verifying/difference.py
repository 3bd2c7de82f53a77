"""What differs between what a store keeps and what its log says."""

from __future__ import annotations

from typing import Any

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """Something that the store keeps and that the log says otherwise.

    Attributes:
        relation: The relation it is in.
        key: The row's key, without the application.
        column: The column; "" where the whole row is missing, or is there without a reason.
        stored: What the store has. Of a projection that is not compared, which is named in
            `projections`, its version there; None if the store does not keep it.
        expected: What the log says. Of such a projection its version here; None if it has none.
        position: The position of the first event that is not reflected as it should be; None
            where no event of the log is about it.
    """

    relation: str
    key: tuple[Any, ...]
    column: str
    stored: Any
    expected: Any
    position: int | None = None
