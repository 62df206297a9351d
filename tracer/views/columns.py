"""Rows of text in aligned columns, each as wide as its widest text. Pure.

Without rich: it takes longer to import than all of this to run, and 100 us a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracer.text.width import cut, cut_middle, pad, pad_left, width

_MAX_WIDTH = 40  # longer text overflows its column: one long name must not push all lines apart
_LAST = 24  # least width of the last column


class TextColumn(NamedTuple):
    """right: align on the right, for numbers. gives_way: is cut where a line would be too long, down to least."""

    title: str
    right: bool = False
    gives_way: bool = False
    least: int = 8


class TextColumns(NamedTuple):
    """A header line, and one line for each row; without newlines."""

    header: str
    lines: list[str]

    @property
    def text(self) -> str:
        """All lines, each ended by a newline."""
        return "".join(f"{line}\n" for line in self.lines)


def columns(titles: Sequence[TextColumn], rows: Sequence[Sequence[str]], line_width: int | None = None) -> TextColumns:
    """The rows in columns. line_width: lines are cut to it, None: they stay whole. The last column is not padded."""
    last = len(titles) - 1
    widths = [
        max(width(title.title), *(min(_MAX_WIDTH, width(row[index])) for row in rows), 0)
        for index, title in enumerate(titles)
    ]
    if line_width is not None:
        _narrow(titles, widths, line_width)

    def cell(text: str, index: int) -> str:
        title = titles[index]
        if title.gives_way and line_width is not None:
            text = cut_middle(text, widths[index])
        if title.right:
            return pad_left(text, widths[index])
        return text if index == last else pad(text, widths[index])

    def line(cells: Sequence[str]) -> str:
        whole = " ".join(cell(text, index) for index, text in enumerate(cells)).rstrip()
        return whole if line_width is None else cut(whole, line_width)

    return TextColumns(line([title.title for title in titles]), [line(row) for row in rows])


def _narrow(titles: Sequence[TextColumn], widths: list[int], line_width: int) -> None:
    """Take the width that the last column lacks from the columns that give way, the rightmost first."""
    lacking = sum(widths[:-1]) + len(widths) - 1 + min(widths[-1], _LAST) - line_width
    for index in reversed(range(len(titles))):
        if titles[index].gives_way and lacking > 0:
            taken = min(lacking, max(0, widths[index] - titles[index].least))
            widths[index] -= taken
            lacking -= taken
