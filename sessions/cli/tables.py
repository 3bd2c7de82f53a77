"""Tables for people: a word that fits into a line of the terminal is never broken."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.columns import Columns
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

_GAP = "  "


def for_people(columns: Sequence[Sequence[str]], width: int) -> RenderableType:
    """A table of columns (each its name and its cells); columns without a value are left out.

    If they do not fit beside each other, some are shown below each row with their names: first
    those whose texts have spaces, then the others from the right.
    """
    telling = [column for column in columns if any(column[1:])] or columns
    if _least_width(telling) <= width:
        return _table(telling)
    ranked = sorted(telling, key=_has_spaces)
    ends = accumulate(_width(column) + len(_GAP) for column in ranked)
    return Group(*_lines(ranked, max(1, sum(end - len(_GAP) <= width for end in ends))))


def _has_spaces(texts: Iterable[str]) -> bool:
    return any(" " in text for text in texts)


def _width(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts))


def _least_width(columns: Sequence[Sequence[str]]) -> int:
    """How wide a table is at least, if its texts are wrapped at every space."""
    words = [[word for text in column for word in text.split()] for column in columns]
    return sum(map(_width, words)) + len(_GAP) * (len(columns) - 1)


def _table(columns: Sequence[Sequence[str]]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column[0], overflow="fold", no_wrap=not _has_spaces(column))
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*map(Text, row))
    return table


def _lines(columns: Sequence[Sequence[str]], beside: int) -> Iterator[RenderableType]:
    """Each row with the cells that fit, and below it the others that have a value."""
    widths = [_width(column) for column in columns[:beside]]
    names, *rows = zip(*columns, strict=True)
    yield _line(names, widths, "bold")
    for row in rows:
        yield _line(row, widths)
        others = zip(names[beside:], row[beside:], strict=True)
        said = [Text(f"{name}: {cell}", overflow="fold") for name, cell in others if cell]
        yield Padding(Columns(said, padding=(0, len(_GAP))), (0, 0, 0, len(_GAP)))


def _line(cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    line = _GAP.join(map(set_cell_size, cells, widths))
    return Text(line.rstrip(), style, overflow="fold")
