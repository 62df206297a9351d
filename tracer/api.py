"""What `tracer.open` returns, and what `tracer.ps`, `containers` and `tree` do: wiring as in the commands, for use from
Python."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

import msgspec

from tracer.errors import ExitCode, NstraceError
from tracer.stream.schema import EVENT_NAMES
from tracer.text.escape import safe_text
from tracer.text.times import utc
from tracer.typed.moments import Span, parse_moment
from tracer.typed.processes import proc_of
from tracer.wiring.open_recordings import open_later
from tracer.wiring.streaming import kinds_named

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tracer.answers.translation import Translation
    from tracer.past.archive import Past
    from tracer.recording.source import RecordedSource
    from tracer.results import Containers, Processes, Tree
    from tracer.stream.typed import Event
    from tracer.wiring.process_lists import Gathered

T = TypeVar("T")


def each(*given: object) -> list[Any]:
    """The arguments, each one value or a list of them, as one list. Raises NstraceError where all lists were empty."""
    found: list[Any] = []
    for one in given:
        found += one if isinstance(one, Iterable) and not isinstance(one, str | bytes | os.PathLike) else [one]
    if given and not found:
        raise NstraceError("an empty list was given", "give at least one", ExitCode.USAGE)
    return found


def texts_of(targets: Sequence[object]) -> list[str]:
    """TARGETs, one by one or in lists, as one list. Raises TypeError where one is no text."""
    texts = each(*targets)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"a target is text, such as 'web' or 'pid:4711': not {text!r}")
    return texts


class Recorded:
    """A recording. Its files are read at each question, and again for each table; nothing is printed. Iterating it
    gives its events, as `typed_events` does.

    As a context manager it closes with the block whatever reads the files then. Untrusted files are read with the
    caller's privileges: nstrace's commands give them up first.
    """

    def __init__(self, files: Sequence[str]) -> None:
        """Raises NstraceError where the files are no recording."""
        self._files = files
        self._past: Past | None = None
        self._readers: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
        self._is_closed = False
        source = self._source()
        self._name, span = source.name, source.span()
        self.begin: datetime = utc(span.begin_ns)
        """When it begins, in UTC."""
        self.end: datetime = utc(span.end_ns)
        """When it ends, in UTC."""
        self.host: str = source.recordings[0].facts.host
        """The name of the host that it was made on."""

    def __repr__(self) -> str:
        closed = ", closed" if self._is_closed else ""
        return f"<recording {safe_text(self._name)}: host {safe_text(self.host)}, {self.begin} to {self.end}{closed}>"

    def __enter__(self) -> Recorded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self.typed_events()

    def close(self) -> None:
        """Close what still reads the files, and forget what was read. Questions are an error then (ValueError)."""
        self._is_closed, self._past = True, None
        for reader in list(self._readers):
            reader.close()

    def _source(self) -> RecordedSource:
        from tracer.recording.multiple_runs import run_of

        if self._is_closed:
            raise ValueError("the recording is closed")

        said: list[str] = []
        source = run_of(open_later(self._files, (), (), said.append)())
        if not source.is_all:
            raise NstraceError(said[0], "give the files that are recordings", ExitCode.USAGE)
        return source

    @property
    def past(self) -> Past:
        """Everything in it, for many questions: past.history.holders() answers a million in a second."""
        from tracer.recording.past import read_past

        if self._past is None:
            self._past = read_past(self._source())
        return self._past

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
            recalled = hindsight.at(meant, parse_moment(_moment_text(at), self.span) - offset_ns)
            is_known = recalled.hole is None
        if not is_known:
            raise hindsight.unknown(meant, recalled)
        return recalled.translations

    def ps(self, *targets: str | Iterable[str], at: str | datetime | None = None) -> Processes:
        """The processes of a moment, by default of its end: as `nstrace ps --from FILE --at TIME`."""
        from tracer.results import Processes

        found, notes = self._gathered(targets, at)
        return Processes(found, notes)

    def containers(self, *targets: str | Iterable[str], at: str | datetime | None = None) -> Containers:
        """The containers of a moment, by default of its end: as `nstrace containers --from FILE --at TIME`."""
        from tracer.results import Containers

        found, notes = self._gathered(targets, at)
        return Containers(found, notes)

    def tree(self, *targets: str | Iterable[str], at: str | datetime | None = None) -> Tree:
        """The processes of a moment as a tree, by default of its end: as `nstrace tree --from FILE --at TIME`."""
        from tracer.results import Tree

        found, notes = self._gathered(targets, at)
        return Tree(found, notes)

    def _gathered(self, targets: Sequence[object], at: str | datetime | None) -> tuple[Gathered, list[str]]:
        """The processes of a moment, and notes on them."""
        from tracer.wiring.open_recordings import targets_of
        from tracer.wiring.process_lists import moment_of, recorded

        notes: list[str] = []
        meant = targets_of(texts_of(targets) or ("all",))
        source = self._source()
        moment = moment_of(source, None if at is None else _moment_text(at))
        found = recorded(source, meant, moment, "another moment or target may have some", notes.append)
        found.say_the_rest()
        return found, notes

    def events(self, events: str | Collection[str] = EVENT_NAMES, *, threads: bool = False) -> Iterator[dict[str, Any]]:
        """Its events in their order, as `tracer.follow` yields them, gaps included. Raises NstraceError."""
        return self._events(names_of(events), threads, plain)

    def typed_events(self, events: str | Collection[str] = EVENT_NAMES, *, threads: bool = False) -> Iterator[Event]:
        """As `events`, each event as an object of `tracer.stream.typed`."""
        from tracer.stream.typed import event_of

        return self._events(names_of(events), threads, event_of)

    def _events(self, names: Collection[str], threads: bool, decode: Callable[[bytes], T]) -> Iterator[T]:
        reader = self._read(self._source(), names, threads, decode)
        self._readers.add(reader)
        return reader

    @staticmethod
    def _read(
        source: RecordedSource, names: Collection[str], threads: bool, decode: Callable[[bytes], T]
    ) -> Generator[T, None, None]:
        from tracer.views.jsonl import JsonLines

        view = JsonLines(kinds_named(names, threads), threads, source.wall_offset_ns)
        for batch in source.batches(lambda: 0.0):
            yield from map(decode, lines_of(view.render(batch, source.attribution)))

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


def lines_of(lines: bytes) -> list[bytes]:
    """The lines of a text, without their ends."""
    return lines.split(b"\n")[:-1]


def _moment_text(at: str | datetime) -> str:
    """A moment as it is typed. Raises TypeError."""
    if isinstance(at, datetime):
        return at.astimezone(UTC).isoformat()
    if not isinstance(at, str):
        raise TypeError(f"a moment is text, such as '14:03:05', or a datetime: not {at!r}")
    return at


@contextlib.contextmanager
def gathered_now(targets: Sequence[object]) -> Iterator[tuple[Gathered, list[str]]]:
    """The processes of now that the targets mean, and notes on them; an engine can be asked as long as this lasts.
    Raises NstraceError."""
    from tracer.containers.names import Names
    from tracer.host.lookup import Lookup
    from tracer.system.host_pidns import require_initial_pidns
    from tracer.wiring.process_lists import living

    texts = texts_of(targets)
    require_initial_pidns()
    notes: list[str] = []
    with contextlib.closing(Names()) as names:
        found = living(Lookup(names), tuple(texts), notes.append)
        yield found, notes
        found.say_the_rest()
