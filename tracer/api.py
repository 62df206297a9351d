"""What `tracer.open` and `tracer.follow` return: wiring as in the commands, for use from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

import msgspec

from tracer.errors import ExitCode, NstraceError
from tracer.kernel.options import LoadOptions
from tracer.stream.schema import EVENT_NAMES
from tracer.typed.moments import Span, parse_moment
from tracer.typed.processes import proc_of
from tracer.wiring.following import RESTART_S, followed
from tracer.wiring.open_recordings import open_later
from tracer.wiring.streaming import kinds_named

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tracer.answers.translation import Translation
    from tracer.past.archive import Past
    from tracer.recording.source import RecordedSource
    from tracer.stream.typed import Event

T = TypeVar("T")


def each(*given: object) -> list[Any]:
    """The arguments, each one value or a list of them, as one list. Raises NstraceError where all lists were empty."""
    found: list[Any] = []
    for one in given:
        found += one if isinstance(one, Iterable) and not isinstance(one, str | bytes | os.PathLike) else [one]
    if given and not found:
        raise NstraceError("an empty list was given", "give at least one", ExitCode.USAGE)
    return found


class Recorded:
    """A recording. Its files are read at each question, and again for each table; nothing is printed.

    Untrusted files are read with the caller's privileges: nstrace's commands give them up first.
    """

    def __init__(self, files: Sequence[str]) -> None:
        """Raises NstraceError where the files are no recording."""
        self._files = files
        self._source()

    def _source(self) -> RecordedSource:
        from tracer.recording.multiple_runs import run_of

        said: list[str] = []
        source = run_of(open_later(self._files, (), (), said.append)())
        if not source.is_all:
            raise NstraceError(said[0], "give the files that are recordings", ExitCode.USAGE)
        return source

    @cached_property
    def past(self) -> Past:
        """Everything in it, for many questions: past.history.holders() answers a million in a second."""
        from tracer.recording.past import read_past

        return read_past(self._source())

    @property
    def span(self) -> Span:
        """From when to when it has all events: wall clock, in ns."""
        return self.past.span

    def translate(self, proc: str | SupportsIndex, *, at: str | datetime | None = None) -> list[Translation]:
        """The processes that proc means: as `nstrace translate --from FILE`. At a moment one process; without a moment
        all that had the number, in order of their start. at: a time as for --at, or a datetime.

        Raises NstraceError where no process had it, or where lost events leave that unsure.
        """
        from tracer.past.translation import Hindsight

        hindsight, meant, offset_ns = Hindsight(self.past), proc_of(proc), self.past.wall_offset_ns
        if at is None:
            recalled = hindsight.during(meant, self.span.begin_ns - offset_ns, self.span.end_ns - offset_ns)
            is_known = bool(recalled.translations)
        else:
            recalled = hindsight.at(meant, self._moment_ns(at) - offset_ns)
            is_known = recalled.hole is None
        if not is_known:
            raise hindsight.unknown(meant, recalled)
        return recalled.translations

    def _moment_ns(self, at: str | datetime) -> int:
        if isinstance(at, str):
            return parse_moment(at, self.span)
        if not isinstance(at, datetime):
            raise TypeError(f"a moment is text, such as '14:03:05', or a datetime: not {at!r}")
        return int(at.astimezone().timestamp()) * 1_000_000_000 + at.microsecond * 1000

    def events(self, events: str | Collection[str] = EVENT_NAMES, *, threads: bool = False) -> Iterator[dict[str, Any]]:
        """Its events in their order, as `tracer.follow` yields them, gaps included. Raises NstraceError."""
        return self._events(names_of(events), threads, plain)

    def typed_events(self, events: str | Collection[str] = EVENT_NAMES, *, threads: bool = False) -> Iterator[Event]:
        """As `events`, each event as an object of `tracer.stream.typed`."""
        from tracer.stream.typed import event_of

        return self._events(names_of(events), threads, event_of)

    def _events(self, names: Collection[str], threads: bool, decode: Callable[[bytes], T]) -> Iterator[T]:
        from tracer.views.jsonl import JsonLines

        source = self._source()
        view = JsonLines(kinds_named(names, threads), threads, source.wall_offset_ns)
        for batch in source.batches(lambda: 0.0):
            yield from map(decode, _lines_of(view.render(batch, source.attribution)))

    def to_arrow(self) -> pa.Table:
        """All its events in order of time, with their containers, one column for each name of the JSON."""
        import pyarrow as pa

        from tracer.recording.export import tables
        from tracer.recording.schema import FLAT

        return pa.concat_tables([FLAT.empty_table(), *tables([self._source()])])

    def to_pandas(self) -> pd.DataFrame:
        """As `to_arrow`, as a DataFrame. Needs pandas, which nstrace does not install. Raises NstraceError."""
        try:
            return self.to_arrow().to_pandas()
        except ModuleNotFoundError as error:
            raise NstraceError(f"to_pandas() needs {error.name}", "pip install 'nstrace[pandas]'") from error


def names_of(events: str | Collection[str]) -> Collection[str]:
    """Names of events: from a list, or from one text with commas. Raises NstraceError for an unknown one."""
    names = events.split(",") if isinstance(events, str) else events
    if unknown := set(names) - set(EVENT_NAMES):
        raise NstraceError(f"{min(unknown)!r} is not an event", f"use {', '.join(EVENT_NAMES)}", ExitCode.USAGE)
    return names


def plain(line: bytes) -> dict[str, Any]:
    """The object in a line of JSON."""
    return msgspec.json.decode(line, type=dict[str, Any])


def _lines_of(lines: bytes) -> list[bytes]:
    return lines.split(b"\n")[:-1]


def follow_objects(
    targets: Sequence[str | Iterable[str]],
    events: str | Collection[str],
    threads: bool,
    duration: float | None,
    decode: Callable[[bytes], T],
) -> Generator[T, None, None]:
    """`tracer.follow`, with the arguments checked at once. decode: converts a line of JSON to what is yielded."""
    texts = each(*targets)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"a target is text, such as 'web' or 'pid:4711': not {text!r}")
    names = names_of(events)
    if duration is not None and not duration > 0:
        raise NstraceError(f"{duration} s is not a valid duration", "use more than 0 seconds, or None", ExitCode.USAGE)
    return _objects(texts, names, threads, duration, decode)


def _objects(
    targets: Sequence[str],
    events: Collection[str],
    threads: bool,
    duration: float | None,
    decode: Callable[[bytes], T],
) -> Generator[T, None, None]:
    from tracer.stream.table import MAX_PROCESSES
    from tracer.views.jsonl import JsonLines
    from tracer.wiring.session import Limits, Session

    kinds = kinds_named(events, threads)
    with followed(targets, LoadOptions(threads=threads), MAX_PROCESSES, lambda _line: None) as (source, is_over):
        view = JsonLines(kinds=kinds, threads=threads, wall_offset_ns=source.wall_offset_ns)
        session = Session(source, view, kinds, Limits(duration, None, is_over, RESTART_S))
        texts: list[bytes] = []
        for _step in session.steps(texts.append):
            for text in texts:
                yield from map(decode, _lines_of(text))
            texts.clear()
