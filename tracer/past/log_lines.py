"""Numbers in lines of logs -> the processes that had them when the line was written, by recordings. Pure.

A line is written a moment before it gets its time, by whoever collects it; a process may have ended by then. So a line
means a window: from a little before its time on. An answer is given where one process alone can have had the number in
it, and nothing was lost that could tell of another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from tracer.answers.translation import Translation
from tracer.errors import ExitCode, NstraceError
from tracer.past.translation import Hindsight
from tracer.text.stamps import Stamp
from tracer.typed.moments import Span
from tracer.typed.processes import Proc


class Unanswered(Enum):
    """Why there is no answer about a number: in words, for people."""

    NO_TIME = "the line has no time that can be read"
    NO_PID = "there is no PID"
    NO_CONTAINER = "there is no container"
    NOT_RECORDED = "nothing was recorded then"
    NOBODY = "no recorded process had it then"
    AMBIGUOUS = "several processes had it about then"
    LOST = "events are missing there"


class Run(NamedTuple):
    """A run of nstrace that can be asked. span: by the wall clock, ns; wall_offset_ns: wall clock minus boottime.
    clock: the same for runs on one host since it booted, whose processes are the same where PID and start time are."""

    hindsight: Hindsight
    span: Span
    wall_offset_ns: int
    clock: str


class LogLines:
    """Answers for all lines. lag_ns: how long after it was written a line gets its time at the most."""

    def __init__(self, runs: Sequence[Run], lag_ns: int) -> None:
        self._runs, self._lag_ns = runs, lag_ns

    def ask(self, proc: Proc, stamps: Iterable[Stamp]) -> Translation | Unanswered:
        """The process that is meant by a PROC in a line. stamps: what the line's time can mean."""
        found = [
            (run.clock, stamp, self._ask(run, proc, window))
            for stamp in stamps
            for run in self._runs
            if (window := self._window(run, stamp)) is not None
        ]
        if not found:
            return Unanswered.NOT_RECORDED
        answers = {(clock, one.entry.proc_id): one for clock, _stamp, one in found if isinstance(one, Translation)}
        said = (((clock, stamp), None if isinstance(one, Translation) else one) for clock, stamp, one in found)
        return why_not(len(answers), said) or next(iter(answers.values()))

    def _window(self, run: Run, stamp: Stamp) -> Span | None:
        """The window, boottime; None: the line was not written while this run recorded."""
        offset_ns = 0 if stamp.since_boot else run.wall_offset_ns
        written = Span(stamp.begin_ns - offset_ns, stamp.end_ns - offset_ns)
        recorded = Span(run.span.begin_ns - run.wall_offset_ns, run.span.end_ns - run.wall_offset_ns)
        return Span(written.begin_ns - self._lag_ns, written.end_ns) if written.meets(recorded) else None

    def _ask(self, run: Run, proc: Proc, window: Span) -> Translation | Unanswered:
        """What one run says. What was before its beginning and after its end, it does not know."""
        recorded = Span(run.span.begin_ns - run.wall_offset_ns, run.span.end_ns - run.wall_offset_ns)
        begin_ns, end_ns = max(window.begin_ns, recorded.begin_ns), min(window.end_ns, recorded.end_ns)
        try:
            lives, hole = run.hindsight.first_two(proc, begin_ns, end_ns)
        except NstraceError as error:  # this run has no such container, or what tells of it was lost
            return Unanswered.LOST if error.exit_code == ExitCode.FAILURE else Unanswered.NOBODY
        if len(lives) > 1:
            return Unanswered.AMBIGUOUS
        if hole:
            return Unanswered.LOST
        return run.hindsight.translation(proc, lives[0], end_ns) if lives else Unanswered.NOBODY


def why_not(answers: int, said: Iterable[tuple[Hashable, Unanswered | None]]) -> Unanswered | None:
    """Why a line has no answer; None: it has one. answers: how many different processes were found in all that its time
    can mean, and in all runs. said: of each of these what was asked, the same for runs of one host and one meaning of
    the time, and why there was no answer, None: there was one. Where one such run knows, another has lost nothing."""
    found = list(said)
    known = {asked for asked, why in found if why is None}
    reasons = {why for asked, why in found if why and not (why is Unanswered.LOST and asked in known)}
    if answers == 1 and Unanswered.LOST not in reasons and Unanswered.AMBIGUOUS not in reasons:
        return None
    if answers:
        return Unanswered.AMBIGUOUS
    order = (Unanswered.AMBIGUOUS, Unanswered.LOST, Unanswered.NOBODY)
    return next((reason for reason in order if reason in reasons), Unanswered.NOT_RECORDED)
