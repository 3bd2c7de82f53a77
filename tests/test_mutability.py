"""Which values can be changed in place, by their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest

from sessions.events import Item, SessionOpened
from sessions.mutability import can_change


class Colour(Enum):
    RED = "red"


class Tree(msgspec.Struct, frozen=True):
    name: str = ""
    branches: tuple[Tree, ...] = ()
    parent: Tree | None = None


class Named(msgspec.Struct):
    name: str = ""


class Counted(msgspec.Struct, frozen=True):
    units: dict[str, int] = {}


class Holding(msgspec.Struct, frozen=True):
    first: Tree = Tree()
    second: tuple[Counted | None, ...] = ()


@dataclass(frozen=True)
class Point:
    x: int = 0


@dataclass
class Place:
    x: int = 0


class Pair(NamedTuple):
    one: int
    other: Tree


class Lists(NamedTuple):
    one: list[int]


@pytest.mark.parametrize(
    "kind",
    [
        int,
        str | None,
        Decimal,
        datetime,
        Colour,
        Literal["a"],
        Annotated[int, msgspec.Meta(ge=1)],
        tuple[int, ...],
        tuple[int, Tree],
        frozenset[str],
        Tree,
        Point,
        Pair,
        SessionOpened,
    ],
)
def test_what_is_frozen_through_and_through_cannot_be_changed(kind: Any) -> None:
    assert not can_change(kind)


@pytest.mark.parametrize(
    "kind",
    [
        list[int],
        dict,
        set[str],
        Sequence[int],
        Mapping[str, int],
        Any,
        bytearray,
        Named,
        Named | None,
        Counted,
        Holding,
        Place,
        Lists,
        tuple[int, list[int]],
        Item,
    ],
)
def test_what_holds_something_that_is_not_can_be(kind: Any) -> None:
    assert can_change(kind)
