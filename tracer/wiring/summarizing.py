"""What follow --summary and summary share: events are added up, and the sum is written at the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from tracer.stream.tally import Tallies
from tracer.views import summary
from tracer.views.counting import Counting
from tracer.views.objects import json_line
from tracer.wiring.options import StreamOptions
from tracer.wiring.printing import line_width

if TYPE_CHECKING:
    from tracer.views.view import View

USES = ("tracer.stream.tally", "tracer.views.summary", "tracer.text.hints")
_FILTERED = "of what passed a condition (--where) alone: other events are not counted"


class Summarizing:
    """Made before privileges are given up."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._host = os.uname().nodename
        self._tallies, self._wall_offset_ns = Tallies(), 0

    def of(self, view: View, wall_offset_ns: int) -> View:
        """The view, whose rows are counted."""
        self._wall_offset_ns = wall_offset_ns
        return Counting(view, self._tallies)

    def write(
        self,
        out: TextIO,
        tallies: Tallies | None = None,
        wall_offset_ns: int | None = None,
        host: str | None = None,
        title: str = "",
        *,
        is_filtered: bool = False,
    ) -> None:
        """Write the summary of what was counted here, or of these tallies. title: a line ahead of it. is_filtered: they
        are of what passed a condition alone."""
        is_filtered = is_filtered or bool(self._options.where)
        tallies = tallies or self._tallies
        offset_ns = self._wall_offset_ns if wall_offset_ns is None else wall_offset_ns
        if self._options.json:
            out.write(json_line(summary.summary_object(tallies, offset_ns, host or self._host, is_filtered)))
        else:
            width = line_width(not self._options.is_cut) if out.isatty() else None
            out.write(f"{title}\n" if title else "")
            out.write(f"{_FILTERED}\n" if is_filtered else "")
            out.write(summary.summary_text(tallies, offset_ns, width, _has_blocks(out)))
        out.flush()


def _has_blocks(out: TextIO) -> bool:
    """Whether what reads out has characters beyond ASCII."""
    return (out.encoding or "").lower().replace("-", "") == "utf8"
