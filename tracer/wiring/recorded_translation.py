"""Wiring of translate --from: a recording, reduced to the numbers that are looked up, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tracer.typed.processes import Proc, parse_proc

if TYPE_CHECKING:
    from tracer.answers.translation import Translation


def asking_a_recording(
    file: str, procs: Sequence[str], at: str | None, during: str | None, show: Callable[[Translation], str], quiet: bool
) -> Callable[[Proc], str]:
    """A function that returns the answer to one of these PROCs, at a moment or during a time: text to print.

    Raises NstraceError, and so does the function.
    """
    from tracer.past.translation import Hindsight
    from tracer.recording.multiple_runs import run_of
    from tracer.recording.past import read_past
    from tracer.recording.row_filter import RowFilter
    from tracer.typed.moments import parse_moment, parse_range
    from tracer.wiring.open_recordings import open_sources, sayer

    numbers, say = {parse_proc(text).nr for text in procs}, sayer(quiet)
    source = run_of(open_sources([file], (), (), say), at, during)
    past = read_past(source, RowFilter(numbers))
    hindsight, offset_ns, span = Hindsight(past), source.wall_offset_ns, past.span

    def ask_at(proc: Proc) -> str:
        recalled = hindsight.at(proc, moment_ns)
        if recalled.hole:
            raise hindsight.unknown(proc, recalled)
        return "".join(map(show, recalled.translations))

    def ask_during(proc: Proc) -> str:
        recalled = hindsight.during(proc, begin_ns, end_ns)
        if recalled.hole and not recalled.translations:
            raise hindsight.unknown(proc, recalled)
        if recalled.hole:
            say(f"{proc.text}: there may be others: {hindsight.missing(recalled.hole)}")
        return "".join(map(show, recalled.translations))

    if at:
        moment_ns = parse_moment(at, span) - offset_ns
        return ask_at
    (window,) = parse_range(during or "..", [span])
    assert window
    begin_ns, end_ns = window.begin_ns - offset_ns, window.end_ns - offset_ns
    return ask_during
