"""What two lives or recordings ran differently, as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tracer.answers.difference import Difference, Ran
from tracer.text.escape import safe_text
from tracer.text.times import duration
from tracer.views.columns import TextColumn, columns

_NONE = "-"
_ONE = ("RUNS", "FAILED", "KILLED", "ENDS", "MEDIAN")
_CELLS: dict[str, Callable[[Ran], str]] = {
    "runs": lambda ran: str(ran.runs),
    "failed": lambda ran: str(ran.failed),
    "killed": lambda ran: str(ran.killed),
    "codes": lambda ran: ",".join(ran.codes) or _NONE,
    "median_ns": lambda ran: _NONE if ran.median_ns is None else duration(ran.median_ns),
}


def difference_text(found: Sequence[Difference], a: str, b: str, line_width: int | None) -> Iterator[str]:
    """Lines in three parts: what ran in a alone, in b alone, and differently. a and b: names of the sides."""
    parts = (
        (f"only in {safe_text(a)}", [(one.command, one.a) for one in found if one.b is None]),
        (f"only in {safe_text(b)}", [(one.command, one.b) for one in found if one.a is None]),
    )
    for title, ran in parts:
        if ran:
            titles = [*(TextColumn(name, right=True) for name in _ONE), TextColumn("COMMAND")]
            rows = [[*(cell(side) for cell in _CELLS.values()), safe_text(command)] for command, side in ran if side]
            table = columns(titles, rows, line_width)
            yield from (f"{title}:", table.header, *table.lines, "")
    if changed := [one for one in found if one.a and one.b]:
        titles = [*(TextColumn(name, right=True) for name in _ONE), TextColumn("COMMAND")]
        table = columns(titles, [_both(one) for one in changed], line_width)
        yield from (f"in both, {safe_text(a)} > {safe_text(b)}:", table.header, *table.lines, "")


def _both(one: Difference) -> list[str]:
    """What is the same stands once."""
    assert one.a and one.b
    cells = []
    for name, cell in _CELLS.items():
        before, after = cell(one.a), cell(one.b)
        cells.append(f"{before}>{after}" if name in one.changed else after)
    return [*cells, safe_text(one.command)]


def difference_object(one: Difference) -> dict[str, Any]:
    """A command that differs, as JSON has it."""
    sides = {name: side._asdict() if side else None for name, side in (("a", one.a), ("b", one.b))}
    return {"command": one.command, **sides, "changed": one.changed}
