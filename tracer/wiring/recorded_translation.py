"""Wiring of translate --from: a recording, reduced to the numbers that are looked up, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tracer.typed.processes import Proc, parse_proc

if TYPE_CHECKING:
    from tracer.answers.translation import Translation
    from tracer.recording.source import RecordedSource


_USED = (
    *("tracer.past.translation", "tracer.recording.past", "tracer.recording.questions"),
    *("tracer.recording.row_filter", "tracer.typed.moments"),
)
_MISSING = "--at and --during need a recording: --from FILE is missing"


def asking_a_recording(
    file: str | None,
    procs: Sequence[str],
    at: str | None,
    during: str | None,
    show: Callable[[Translation], str],
    quiet: bool,
) -> Callable[[Proc], str]:
    """A function that returns the answer to one of these PROCs, at a moment or during a time: text to print. file:
    None: the agent's recordings.

    Raises NstraceError, and so does the function.
    """
    from tracer.recording.multiple_runs import run_of
    from tracer.wiring.kept import given_or_kept
    from tracer.wiring.open_recordings import open_sources, sayer

    asked, say = list(map(parse_proc, procs)), sayer(quiet)
    first, _dots, last = (at or during or "").partition("..")
    begin, end = first.strip() or None, (last.strip() if during else at) or None
    found = given_or_kept([] if file is None else [file], begin, end, say, missing=_MISSING)
    if found.are_kept:
        at, during = (found.begin, None) if at else (None, f"{found.begin or ''}..{found.end or ''}")
    return asking(run_of(open_sources(found.files, _USED, (), say, found), at, during), asked, at, during, show, say)


def asking(
    source: RecordedSource,
    asked: Sequence[Proc],
    at: str | None,
    during: str | None,
    show: Callable[[Translation], str],
    say: Callable[[str], None],
) -> Callable[[Proc], str]:
    """As `asking_a_recording`, of one run. say: writes a line for people."""
    from tracer.past.translation import Hindsight
    from tracer.recording.past import read_past
    from tracer.recording.questions import narrow, span_of
    from tracer.recording.row_filter import RowFilter
    from tracer.typed.moments import Span, parse_moment, parse_range

    numbers, offset_ns = {proc.nr for proc in asked}, source.wall_offset_ns

    def window_in(span: Span) -> Span:
        """The window that is asked about, by the wall clock: of --at, a moment."""
        if at:
            moment_ns = parse_moment(at, span)
            return Span(moment_ns, moment_ns)
        (window,) = parse_range(during or "..", [span])
        assert window
        return window

    if not source.is_stream and (at or during):
        narrow(source, asked, window_in(span_of(source)), names_next=True)
    past = read_past(source, RowFilter(numbers))
    hindsight, window = Hindsight(past), window_in(past.span)
    begin_ns, end_ns = window.begin_ns - offset_ns, window.end_ns - offset_ns

    def ask_at(proc: Proc) -> str:
        recalled = hindsight.at(proc, begin_ns)
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

    return ask_at if at else ask_during
