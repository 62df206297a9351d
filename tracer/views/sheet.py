"""Many lines of text made column by column with numpy: some 10 ns a number. Pure.

Lines lie below each other as rows of bytes, every column as wide as its widest text. What a row does not fill is NUL
and left out in the end, so no text may hold it: no view lets control characters through. A text that belongs to one
row is a %b until then, which bytes' own formatting fills (twice as fast as splitting and joining).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind
from tracer.stream.distinct import distinct
from tracer.stream.schema import ASIDE_KINDS, NOTE_KINDS, Kind

_MARK = np.frombuffer(b"%b", np.uint16)[0]
_SCATTERED = 25  # one byte in so many is a NUL: what is fast for few is slow for many
_ROWS = 2048  # at a time: their bytes fit a processor's cache
_MANY = 128
_GROUP = 4  # digits that are written as one number of four bytes
_BASE = 10**_GROUP
_Fill = Callable[[NDArray[np.uint8], int, slice], None]
"""Lines, the offset at which the column ends in them, and which of the sheet's lines they are."""


class Sheet:
    """A number of lines. Columns are added from the left to the right; texts are UTF-8."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns: list[tuple[int, _Fill]] = []
        self._own: list[tuple[NDArray[np.intp], Sequence[bytes]]] = []

    def text(self, text: bytes) -> None:
        """Add the same text to all lines."""
        letters = np.frombuffer(_escaped(text), np.uint8)

        def fill(lines: NDArray[np.uint8], end: int, _part: slice) -> None:
            lines[:, end - len(letters) : end] = letters

        self._add(len(letters), fill)

    def choice(self, texts: Sequence[bytes], which: NDArray[Any]) -> None:
        """Add one of few texts to each line. which: its index, shape (count,)."""
        if len(set(texts)) == 1:
            return self.text(texts[0])
        table = np.array([_escaped(text) for text in texts], bytes)
        width, whole = table.itemsize, np.dtype(("V", table.itemsize))

        def fill(lines: NDArray[np.uint8], end: int, part: slice) -> None:
            lines[:, end - width : end].view(whole)[:, 0] = table.view(whole)[which[part]]

        self._add(width, fill)

    def names(self, raw: NDArray[np.bytes_], form: NDArray[Any], show: Callable[[bytes, Any], str]) -> None:
        """Add names of 16 bytes, each as shown in its form, a bool or number; both of shape (count,)."""
        halves = np.ascontiguousarray(raw).view(np.uint64).reshape(-1, 2)
        first, of_row = distinct(halves[:, 0], halves[:, 1], form)
        names = zip(raw[first].tolist(), form[first].tolist(), strict=True)
        self.choice([show(name, in_form).encode() for name, in_form in names], of_row)

    def own(self, rows: NDArray[np.intp], texts: Sequence[bytes]) -> None:
        """Add a text of its own to each of these rows, whose numbers rise."""
        if not len(rows):
            return
        marks = np.zeros(self._count, np.uint16)
        marks[rows] = _MARK

        def fill(lines: NDArray[np.uint8], end: int, part: slice) -> None:
            lines[:, end - 2 : end].view(np.uint16)[:, 0] = marks[part]

        self._add(2, fill)
        self._own.append((rows, texts))

    def number(
        self, values: NDArray[Any], width: int = 0, where: NDArray[np.bool_] | None = None, absent: bytes = b""
    ) -> None:
        """Add numbers that are not negative, in decimal, aligned on the right in a width; larger ones are longer.
        where: lines that have one, shape (count,); absent: the text in the others, without %."""
        if where is not None and not where.all():
            values = np.where(where, values, 0)
        else:
            values, where = np.ascontiguousarray(values), None
        most, letters = len(str(values.max())), np.frombuffer(absent if where is not None else b"", np.uint8)
        if where is None and most >= width and len(str(values.min())) == most:
            return self.digits(values, most)  # all have this length
        longest = max(most, width, len(letters))

        def fill(lines: NDArray[np.uint8], end: int, part: slice) -> None:
            rest, forms = values[part], _decimals(b" " if width else b"\0")
            last, leading = _BASE, 2 * _BASE
            for at in range(0, longest, _GROUP):
                above = rest // _BASE
                entry = rest - above * _BASE
                entry += (above == 0) * entry.dtype.type(leading if at else last)
                if where is not None:
                    entry[~where[part]] = leading  # no digits at all
                _put(lines, end - at, forms[entry])
                rest = above
            if longest > width > 0:
                longer = lines[:, end - longest : end - width]
                longer[longer == ord(" ")] = 0
            if where is not None:
                lines[~where[part], end - len(letters) : end] = letters

        self._add(longest, fill)

    def digits(self, values: NDArray[Any], width: int) -> None:
        """Add numbers in decimal, with leading zeros up to a width; none is longer."""

        def fill(lines: NDArray[np.uint8], end: int, part: slice) -> None:
            rest = values[part]
            for at in range(0, width, _GROUP):
                above = rest // _BASE
                _put(lines, end - at, _decimals(b" ")[rest - above * _BASE])
                rest = above

        self._add(width, fill)

    def _add(self, width: int, fill: _Fill) -> None:
        if width:
            self._columns.append((width, fill))

    def render(self) -> bytes:
        """All lines."""
        rows, texts = self._own_in_order()
        whole: list[bytes] = []
        for at in range(0, self._count, _ROWS):
            part = slice(at, min(at + _ROWS, self._count))
            first, last = np.searchsorted(rows, [part.start, part.stop]).tolist()
            whole.append(self._part(part) % tuple(texts[first:last]))
        return b"".join(whole)

    def _part(self, part: slice) -> bytes:
        """A part of the lines, filled from the right: numbers are written in whole groups, an excess is overwritten."""
        end = _GROUP + sum(width for width, _fill in self._columns)
        lines = np.empty((part.stop - part.start, end), np.uint8)
        for width, fill in reversed(self._columns):
            fill(lines, end, part)
            end -= width
        lines[:, :_GROUP] = 0
        if (lines.size - np.count_nonzero(lines)) * _SCATTERED > lines.size:
            return lines.tobytes().translate(None, b"\0")
        return lines.tobytes().replace(b"\0", b"")

    def _own_in_order(self) -> tuple[NDArray[np.intp], Sequence[bytes]]:
        """The texts of all rows in the order of the lines, and in which line each is."""
        if len(self._own) <= 1:
            return self._own[0] if self._own else (np.zeros(0, np.intp), ())
        rows = np.concatenate([rows for rows, _texts in self._own])
        order = np.argsort(rows, kind="stable")
        texts = list(itertools.chain.from_iterable(texts for _rows, texts in self._own))
        return rows[order], [texts[at] for at in order.tolist()]


class Few(Sheet):
    """A sheet of few lines, made line by line: column by column costs some 10 us a column, however few lines."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._cells: list[Sequence[bytes]] = []

    def text(self, text: bytes) -> None:
        """As `Sheet.text`."""
        self._cells.append([text] * self._count)

    def choice(self, texts: Sequence[bytes], which: NDArray[Any]) -> None:
        """As `Sheet.choice`."""
        self._cells.append([texts[number] for number in which.tolist()])

    def own(self, rows: NDArray[np.intp], texts: Sequence[bytes]) -> None:
        """As `Sheet.own`."""
        by_row = dict(zip(rows.tolist(), texts, strict=True))
        self._cells.append([by_row.get(row, b"") for row in range(self._count)])

    def number(
        self, values: NDArray[Any], width: int = 0, where: NDArray[np.bool_] | None = None, absent: bytes = b""
    ) -> None:
        """As `Sheet.number`."""
        cells = [b"%*d" % (width, value) for value in values.tolist()]
        if where is not None:
            other = absent.rjust(width)
            cells = [cell if is_there else other for cell, is_there in zip(cells, where.tolist(), strict=True)]
        self._cells.append(cells)

    def digits(self, values: NDArray[Any], width: int) -> None:
        """As `Sheet.digits`."""
        self._cells.append([b"%0*d" % (width, value) for value in values.tolist()])

    def render(self) -> bytes:
        """As `Sheet.render`."""
        return b"".join(itertools.chain.from_iterable(zip(*self._cells, strict=True)))


def sheet_of(count: int) -> Sheet:
    """The sheet for so many lines."""
    return Few(count) if count < _MANY else Sheet(count)


def _escaped(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def _put(lines: NDArray[np.uint8], end: int, groups: NDArray[np.uint32]) -> None:
    lines[:, end - _GROUP : end].view(np.uint32)[:, 0] = groups


@cache
def _decimals(blank: bytes) -> NDArray[np.uint32]:
    """All numbers of a group as text, each one number of four bytes, in three forms one after the other: with leading
    zeros; with blanks in their place, but 0 is a digit; with blanks alone for 0 too."""
    values, places = np.arange(_BASE)[:, None], 10 ** np.arange(_GROUP)[::-1]
    digits = values // places % 10 + ord("0")
    counts = values >= places
    forms = [digits, np.where(counts | (places == 1), digits, ord(blank)), np.where(counts, digits, ord(blank))]
    return np.concatenate(forms).astype(np.uint8).view(np.uint32)[:, 0]


def render(
    batch: Batch, kinds: Iterable[Kind], sheet: Callable[[Batch], Sheet], aside: Callable[[Batch, int], str]
) -> bytes:
    """A line for each row of these kinds, gaps and repairs always. sheet: makes those of processes; aside: the line of
    another row, by its index in the batch."""
    events = shown = batch.only(*kinds, *NOTE_KINDS)
    asides = []
    if shown.has(*ASIDE_KINDS):
        asides = [(at, aside(shown, at)) for at in np.flatnonzero(of_kind(shown.rows, *ASIDE_KINDS)).tolist()]
        events = shown.without(*ASIDE_KINDS)
    return with_lines(sheet(events).render() if len(events) else b"", asides)


def with_lines(text: bytes, lines: Sequence[tuple[int, str]]) -> bytes:
    """The text with more lines inserted. lines: line numbers in the result, which rise, and texts."""
    if not lines:
        return text
    all_lines = text.split(b"\n")
    for place, line in lines:
        all_lines.insert(place, line.encode())
    return b"\n".join(all_lines)
