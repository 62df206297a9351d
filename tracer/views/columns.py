"""Rows of text in aligned columns, each as wide as what stands in it. Pure.

No rich here: it takes longer to import than all of this to run, and 100 us a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracer.views.width import cut, pad, pad_left, width

_MAX_WIDTH = 40  # longer text overflows its column: one long name must not push all lines apart


class Column(NamedTuple):
    """right: numbers, aligned on the right."""

    title: str
    right: bool = False


class Columns(NamedTuple):
    """A header line, and one line for each row; none is ended by a newline."""

    header: str
    lines: list[str]

    @property
    def text(self) -> str:
        """All lines, each ended by a newline."""
        return "".join(f"{line}\n" for line in self.lines)


def columns(titles: Sequence[Column], rows: Sequence[Sequence[str]], line_width: int | None = None) -> Columns:
    """The rows in columns. line_width: lines are cut to it, None: they stay whole. The last column is not padded."""
    last = len(titles) - 1
    widths = [
        max(width(title.title), *(min(_MAX_WIDTH, width(row[index])) for row in rows), 0)
        for index, title in enumerate(titles)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [
            pad_left(cell, widths[index])
            if titles[index].right
            else cell
            if index == last
            else pad(cell, widths[index])
            for index, cell in enumerate(cells)
        ]
        whole = " ".join(padded).rstrip()
        return whole if line_width is None else cut(whole, line_width)

    return Columns(line([title.title for title in titles]), [line(row) for row in rows])
