"""Some members of the JSON, in the order that the user wants: as JSON lines, or as text in columns.

Picked out of the lines of `JsonLines`, byte for byte. A column of text is as wide as its widest text so far, from line
to line: how the rows were cut into batches does not matter, so replay shows what live has shown. Gaps and repairs keep
lines of their own with all that they say.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from tracer.stream.ancestry import Ancestry
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.metadata import Container
from tracer.stream.schema import COMMAND_FIELDS, NOTE_KINDS, PROCESS_KINDS, Kind, Output, columns_in
from tracer.text import zone
from tracer.text.escape import command_line, safe_text
from tracer.text.row_times import row_times
from tracer.text.width import cut, pad, pad_left, width
from tracer.views.indent import indent
from tracer.views.jsonl import JsonLines

NAMES = {column.name: column for column in columns_in(Output.JSON | Output.THREADS | Output.MARK)}
"""What can be named, with what it says."""
_MAX_WIDTH, _MOST_LEVELS = 40, 12
_LEAST = {"event": 8, "container": 16, "comm": 15, "pids": 11, "exe": 16, "int32": 7, "int64": 10}
_NUMBERS = ("int32", "int64")
_NOTES = {f'"{kind.name.lower()}"'.encode() for kind in NOTE_KINDS}
_Line = dict[str, msgspec.Raw]


class JsonFields:
    """JSON lines with these members alone, null where a line has none."""

    header = ""

    def __init__(self, names: Sequence[str], lines: JsonLines) -> None:
        self._names, self._lines = names, lines
        self._decode = msgspec.json.Decoder(_Line).decode
        self._heads = [f'{"," if at else "{"}"{name}":'.encode() for at, name in enumerate(names)]

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """As `View.render`."""
        return b"".join(map(self._picked, self._lines.render(batch, containers).splitlines(keepends=True)))

    def _picked(self, line: bytes) -> bytes:
        found = self._decode(line)
        if bytes(found["event"]) in _NOTES:
            return line
        pairs = zip(self._heads, self._names, strict=True)
        return b"".join(head + bytes(found.get(name, b"null")) for head, name in pairs) + b"}\n"

    def rest(self) -> bytes:
        """As `View.rest`."""
        return b""


class TextFields:
    """Columns with these members. header: with their names as the first line. wall_offset_ns: as for `JsonLines`.
    line_width: asked ahead of every batch, how wide lines may be; None: they are not cut. tree: of these kinds, the
    first of COMMAND_FIELDS among the names is indented by ancestry; None: nothing is."""

    def __init__(
        self,
        names: Sequence[str],
        lines: JsonLines,
        header: bool,
        wall_offset_ns: int,
        line_width: Callable[[], int | None] = lambda: None,
        tree: frozenset[Kind] | None = None,
    ) -> None:
        self._line_width = line_width
        self._tree, self._kinds = Ancestry() if tree is not None else None, tuple((tree or frozenset()) & PROCESS_KINDS)
        self._command = next((name for name in names if name in COMMAND_FIELDS), "")
        self._names, self._lines = names, lines
        self._decode = msgspec.json.Decoder(_Line).decode
        self._times = row_times(wall_offset_ns)
        titles = [self._times.title if name == "time" else name.upper() for name in names]
        self._widths = [max(len(title), _least(name)) for title, name in zip(titles, names, strict=True)]
        self._is_number = [NAMES[name].type in _NUMBERS for name in names]
        self.header = self._line(titles) if header else ""

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """As `View.render`."""
        depths = self._depths(batch)
        texts = (self._text(line, depths) for line in self._lines.render(batch, containers).splitlines())
        most = self._line_width()
        return "".join(f"{text if most is None else cut(text, most)}\n" for text in texts).encode()

    def _depths(self, batch: Batch) -> Iterator[int]:
        """How deep the process of each line stands, of lines that are about one."""
        if self._tree is None:
            return itertools.repeat(0)
        is_shown = of_kind(batch.rows, *self._kinds)
        return iter(self._tree.depths(batch, is_shown)[is_shown].tolist())

    def _text(self, raw: bytes, depths: Iterator[int]) -> str:
        found = self._decode(raw)
        ts_ns = np.array([msgspec.json.decode(found["ts_ns"])], np.uint64)
        when = self._times.text(int(self._times.values(ts_ns)[0]))
        if bytes(found["event"]) in _NOTES:
            values = {name: msgspec.json.decode(value) for name, value in found.items()}
            if zone.form() not in zone.ZONES:
                values["time"] = when.strip()
            return " ".join(f"{name}={_text(name, value)}" for name, value in values.items() if value is not None)
        cells = [when if name == "time" else _cell(name, found) for name in self._names]
        if "proc_id" in found and (depth := next(depths)):
            at = self._names.index(self._command)
            cells[at] = indent(depth, _MOST_LEVELS) + cells[at]
        self._widths = [max(most, min(width(cell), _MAX_WIDTH)) for most, cell in zip(self._widths, cells, strict=True)]
        return self._line(cells)

    def _line(self, cells: Sequence[str]) -> str:
        """The last column is not padded."""
        padded = [
            (pad_left if right else pad)(cell, most)
            for cell, most, right in zip(cells, self._widths, self._is_number, strict=True)
        ]
        return " ".join(padded).rstrip()

    def rest(self) -> bytes:
        """As `View.rest`."""
        return b""


def _least(name: str) -> int:
    """How wide a column is from the beginning: what mostly comes fits it, and the header stays above it."""
    return _LEAST.get(name) or _LEAST.get(NAMES[name].type, 0)


def _cell(name: str, found: _Line) -> str:
    return _text(name, msgspec.json.decode(found[name])) if name in found else "-"


def _text(name: str, value: Any) -> str:
    """A value for people: "-" where there is none."""
    if value is None:
        return "-"
    if name == "container":
        return safe_text(Container(value["id"], "", value["name"]).label)
    if name == "args":
        return command_line([arg.encode("utf-8", "surrogatepass") for arg in value])
    if isinstance(value, list):
        return ">".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return safe_text(value if isinstance(value, str) else msgspec.json.encode(value).decode())
