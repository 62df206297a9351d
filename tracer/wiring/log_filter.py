"""Wiring of translate as a filter of logs: each number as of the time of its line, by recordings.

The recordings are opened first, then privileges are given up, and only then is anything of them or of the log read. The
log is read in pieces; of the recordings, for each piece, what is about the numbers in it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tracer.errors import NstraceError
from tracer.interrupt import arrived

if TYPE_CHECKING:
    from tracer.answers.translation import Translation
    from tracer.past.log_lines import LogLines, Unanswered
    from tracer.recording.source import RecordedSource
    from tracer.text.stamps import Stamp
    from tracer.typed.moments import Span
    from tracer.typed.processes import Proc
    from tracer.wiring.log_options import Keys

_STDIN, _READ_BYTES = 0, 1 << 20
_PIECE_BYTES = 1 << 24  # of the log
_PAST_BYTES = 1 << 28  # of rows about its numbers
_USED = tuple(
    f"tracer.{name}"
    for name in (
        *("text.annotate", "text.counted", "text.json_lines", "text.log_numbers", "text.stamps"),
        *("views.objects", "views.translation"),
        *("past.log_lines", "past.translation", "recording.past", "recording.questions", "recording.row_filter"),
        *("wiring.filtering", "wiring.log_keys"),
    )
)


@dataclass(frozen=True)
class LogQuestion:
    """What is asked. where: the container or namespace that the numbers are of; "": the host. keys: the lines are JSON;
    None: they are text. explain: say of each number that is not translated why. lag_ns: how late a line gets its time.
    """

    where: str
    keys: Keys | None
    replace: bool
    explain: bool
    lag_ns: int
    quiet: bool


class _Line(NamedTuple):
    """A line of the log, what its time can mean, and the numbers in it. json: the object that it is."""

    text: bytes
    stamps: list[Stamp]
    numbers: set[int]
    json: dict[str, Any] | None


def filter_log(file: str, options: LogQuestion) -> None:
    """Translate the log on stdin to stdout by the recordings in FILE. Raises NstraceError."""
    from tracer.wiring.open_recordings import open_sources, sayer

    say = sayer(options.quiet)
    sources = open_sources([file], _USED, (), say)
    log = _Log(sources, options)
    try:
        for piece in _pieces():
            log.translate(piece)
    except KeyboardInterrupt:
        arrived()
    say(log.summary())
    log.check_keys()


def _pieces() -> Iterator[list[bytes]]:
    """The log in pieces of whole lines."""
    from tracer.text.annotate import MAX_LINE_BYTES

    held = b""
    while read := os.read(_STDIN, _READ_BYTES):
        held += read
        end = held.rfind(b"\n") + 1 or (len(held) if len(held) > MAX_LINE_BYTES else 0)
        if len(held) >= _PIECE_BYTES and end:
            yield held[:end].splitlines(keepends=True)
            held = held[end:]
    if held:
        yield held.splitlines(keepends=True)


class _Log:
    """Translates the pieces of one log, and counts."""

    def __init__(self, sources: Sequence[RecordedSource], options: LogQuestion) -> None:
        from tracer.recording.questions import facts_alone, inums_of
        from tracer.text.times import year
        from tracer.wiring.log_keys import SeenKeys

        self._sources, self._options = sources, options
        spans = [source.span() for source in sources]
        self._years = range(year(min(span.begin_ns for span in spans)), year(max(span.end_ns for span in spans)) + 1)
        self._answered, self._lines = 0, 0
        self._unanswered: Counter[Unanswered] = Counter()
        self._is_checked = False
        self._seen = SeenKeys(options.keys) if options.keys else None
        where = "*" if options.keys and options.keys.container else options.where
        self._inums = [inums_of(where, facts_alone(source)) if where else None for source in sources]

    def summary(self) -> str:
        """How many numbers were translated, and why others were not: a line for people."""
        from tracer.text.counted import counted

        parts = [f"{count} not: {why.value}" for why, count in self._unanswered.most_common()]
        return "; ".join([f"{counted(self._lines, 'line')}, {counted(self._answered, 'number')} translated", *parts])

    def check_keys(self) -> None:
        """Raises NstraceError (usage) where no line has a key that was typed, or is JSON."""
        if self._seen:
            self._seen.check()

    def translate(self, texts: list[bytes]) -> None:
        """Write the lines with their answers."""
        from tracer.wiring.filtering import write_shown

        lines = [self._line(text) for text in texts]
        self._lines += len(lines)
        for some, answers in self._asked(lines):
            write_shown(b"".join(self._written(line, answers) for line in some))

    def _line(self, text: bytes) -> _Line:
        from tracer.text.annotate import numbers_in
        from tracer.text.json_lines import object_in
        from tracer.text.stamps import stamps_of

        if keys := self._options.keys:
            return self._json_line(text, object_in(text), keys)
        stamps = stamps_of(text, self._years)
        numbers: set[int] = set().union(*map(numbers_in, _beside(text, stamps)))
        return _Line(text, stamps, numbers, None)

    def _json_line(self, text: bytes, found: dict[str, Any] | None, keys: Keys) -> _Line:
        from tracer.text.json_lines import member
        from tracer.text.log_numbers import pid_in
        from tracer.text.stamps import moments_of

        if self._seen:
            self._seen.see(found)
        if found is None:
            return _Line(text, [], set(), None)
        when, pid = member(found, keys.time), pid_in(member(found, keys.pid))
        stamps = moments_of(when, self._years) if isinstance(when, str | int | float) else []
        return _Line(text, stamps, {pid} if pid else set(), found)

    def _asked(self, lines: list[_Line]) -> Iterator[tuple[list[_Line], LogLines]]:
        """The lines with what answers about them: all at once, or in halves where that is too much."""
        from tracer.past.log_lines import LogLines
        from tracer.recording.past import TooMuch

        try:
            runs = self._runs(lines)
        except TooMuch:
            if len(lines) == 1:
                raise
            for half in (lines[: len(lines) // 2], lines[len(lines) // 2 :]):
                yield from self._asked(half)
            return
        yield lines, LogLines(runs, self._options.lag_ns)

    def _runs(self, lines: list[_Line]) -> list[Any]:
        from tracer.past.log_lines import Run
        from tracer.past.translation import Hindsight
        from tracer.recording.past import read_past
        from tracer.recording.questions import narrow_to_lines
        from tracer.recording.row_filter import RowFilter
        from tracer.recording.source import RecordedSource

        runs, numbers = [], set().union(*(line.numbers for line in lines))
        for source, inums in zip(self._sources, self._inums, strict=True):
            again = RecordedSource([recording.again() for recording in source.recordings])
            narrow_to_lines(again, numbers, inums, self._window(lines, source))
            past = read_past(again, RowFilter(numbers), _PAST_BYTES)
            clock = source.recordings[0].facts.clock
            runs.append(Run(Hindsight(past), past.span, past.wall_offset_ns, clock))
        self._check(runs)
        return runs

    def _window(self, lines: list[_Line], source: RecordedSource) -> Span:
        """From when to when the lines were written, by the wall clock of a run, as far as it may know of it."""
        from tracer.recording.questions import span_of
        from tracer.typed.moments import Span

        recorded, lag_ns = span_of(source), self._options.lag_ns
        spans = [
            Span(stamp.begin_ns - lag_ns + offset_ns, stamp.end_ns + offset_ns)
            for line in lines for stamp in line.stamps if line.numbers
            for offset_ns in (source.wall_offset_ns if stamp.since_boot else 0,)
        ]  # fmt: skip
        spans = [span for span in spans if span.meets(recorded)]
        return Span(
            min((max(span.begin_ns, recorded.begin_ns) for span in spans), default=recorded.begin_ns),
            max((min(span.end_ns, recorded.end_ns) for span in spans), default=recorded.begin_ns),
        )

    def _check(self, runs: Sequence[Any]) -> None:
        """Raises NstraceError where no run knows the container that was typed."""
        if self._is_checked or not self._options.where:
            return
        self._is_checked = True
        errors = []
        for run in runs:
            try:
                run.hindsight.during(self._proc(self._options.where, 1), 0, 0)
                return
            except NstraceError as error:
                errors.append(error)
        if errors and all("named" in error.message or "namespace" in error.message for error in errors):
            raise errors[0]

    def _proc(self, where: str, nr: int) -> Proc:
        from tracer.typed.processes import Proc, parse_space

        return Proc(*parse_space(where), nr, f"{where}/{nr}" if where else str(nr))

    def _written(self, line: _Line, answers: LogLines) -> bytes:
        if line.json is not None and self._options.keys:
            return self._written_json(line, line.json, self._options.keys, answers)
        if self._options.keys:
            return line.text
        from tracer.text.annotate import annotated

        ask = self._asking(line, answers)
        ahead, behind = (annotated(part, ask, self._options.replace) for part in _beside(line.text, line.stamps))
        at, to = line.stamps[0][-2:] if line.stamps else (0, 0)
        return ahead + line.text[at:to] + behind

    def _asking(self, line: _Line, answers: LogLines) -> Callable[[int], bytes | None]:
        def ask(nr: int) -> bytes | None:
            found = self._answer(line, answers, self._options.where, nr)
            if found is None:
                return None
            if isinstance(found, str):
                return f"?: {found}".encode() if self._options.explain and not self._options.replace else None
            return self._shown(found)

        return ask

    def _answer(self, line: _Line, answers: LogLines, where: str, nr: int) -> Translation | str | None:
        """The process; else why there is none, in words."""
        from tracer.answers.translation import Translation
        from tracer.past.log_lines import Unanswered

        found = answers.ask(self._proc(where, nr), line.stamps) if line.stamps else Unanswered.NO_TIME
        if isinstance(found, Translation):
            self._answered += 1
            return found
        self._unanswered[found] += 1
        return found.value

    def _shown(self, translation: Translation) -> bytes | None:
        """As the filter of the living shows it."""
        from tracer.text.escape import safe_text

        if self._options.where:
            return b"%s%d" % (b"" if self._options.replace else b"host:", translation.result)
        if len(translation.entry.numbers) == 1 and not translation.entry.container:
            return None
        container = translation.home or translation.entry.container
        chain = translation.entry.chain
        place = safe_text(container.label) if container else f"pidns:{chain[-1].pidns.inum}" if chain else "?"
        return f"{place}/{translation.entry.numbers[-1]}".encode()

    def _written_json(self, line: _Line, found: dict[str, Any], keys: Keys, answers: LogLines) -> bytes:
        from tracer.past.log_lines import Unanswered
        from tracer.text.json_lines import member, with_member
        from tracer.views.translation import json_object

        where = self._options.where
        if keys.container:
            named = member(found, keys.container)
            where = named.removeprefix("/") if isinstance(named, str) else ""
        if not line.numbers or (keys.is_inside and not where):
            why = Unanswered.NO_PID if not line.numbers else Unanswered.NO_CONTAINER
            self._unanswered[why] += 1
            answer: Translation | str | None = why.value
        else:
            answer = self._answer(line, answers, where if keys.is_inside else "", next(iter(line.numbers)))
        if isinstance(answer, str):
            explained = with_member(line.text, found, "process", None)
            if not self._options.explain:
                return explained
            return with_member(explained, found | {"process": None}, "process_unknown", answer)
        return with_member(line.text, found, "process", json_object(answer, str) if answer else None)


def _beside(text: bytes, stamps: Sequence[Stamp]) -> tuple[bytes, bytes]:
    """What of a line is ahead of its time, and what behind it."""
    return (text[: stamps[0].at], text[stamps[0].to :]) if stamps else (b"", text)
