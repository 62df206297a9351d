"""The recorded source: like the live one, but from files."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tracer.errors import ExitCode, NstraceError
from tracer.recording.carry_over import CarryOver
from tracer.recording.index import Index, Whole
from tracer.recording.inputs import FileInput, StreamInput
from tracer.recording.late_names import late_names
from tracer.recording.reader import Recording
from tracer.stream.attribution import Attribution, reduce
from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.cgroup_moves import CgroupMoves
from tracer.stream.pidns import chain_of
from tracer.stream.schema import NO_CPU, STREAM_KINDS, Flag, Kind
from tracer.stream.selection import Selection
from tracer.stream.table import Table
from tracer.stream.undecided import Undecided
from tracer.stream.window import up_to, within
from tracer.typed.moments import UNKNOWN_NS, Span
from tracer.typed.targets import Target, TargetKind

if TYPE_CHECKING:
    from concurrent.futures import Executor

_FOREVER_NS = 1 << 64
_PIECE_BYTES = 1 << 20


class Choice(Protocol):
    """Which batches are read, beside those that are needed for every question."""

    def has_any(self, recording: Recording) -> bool:
        """Whether it has any batch of this file."""

    def has(self, recording: Recording, index: Index) -> bool:
        """Whether it has this batch."""


class RecordedSource:
    """Batches of one run of nstrace, from its files in order.

    targets: what it shows; (): everything that was recorded. is_all: no file that was asked for was left out.
    knows_what_follows: a container that its engine named late has its name in the rows before, too; set it to False for
    what the live stream has shown.
    goes_on_ns: from when on (boottime) another stream goes on: where the files end before, a gap says so; 0: none does.
    passing: takes what the targets mean; returns the rows that are shown. choice: which batches are read; None: all.
    """

    def __init__(self, recordings: Sequence[Recording], targets: tuple[Target, ...] = ()) -> None:
        self.recordings = list(recordings)
        self.attribution = Attribution()
        self.table: Table | None = None
        self.is_all = True
        self.lost = 0
        self.found = 0  # how many rows of processes the targets mean, so far
        self._selection = Selection(tuple(map(self._bound, targets)), self.attribution)
        self._moves = CgroupMoves(partial(_cgroup_before, self._selection))
        self._held = Undecided(self._selection)
        self._from_ns, self._to_ns, self._reads_from_ns = 0, _FOREVER_NS, 0
        self.goes_on_ns = 0
        self.on_progress: Callable[[], None] = lambda: None
        self.knows_what_follows = True
        self.choice: Choice | None = None
        self.passing: Callable[[Batch, Attribution], Batch] = lambda batch, _containers: batch
        self._before: CarryOver | None = None  # what was ahead of the window, until that begins

    @property
    def name(self) -> str:
        """The names of its files."""
        more = f" and {len(self.recordings) - 1} more" if len(self.recordings) > 1 else ""
        return f"{self.recordings[0].name}{more}"

    def __str__(self) -> str:
        """Which run it is, for people."""
        return f"{self.name} (host {self.recordings[0].facts.host}, {self.span()})"

    @property
    def targets(self) -> tuple[Target, ...]:
        """What it shows; (): all processes."""
        return self._selection.targets

    @property
    def wall_offset_ns(self) -> int:
        """Wall clock minus boottime when the trace began."""
        return self.recordings[0].facts.wall_offset_ns

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing as far as it was read: all files exist, were closed, and are not damaged."""
        is_whole = not any(recording.is_torn or recording.damages for recording in self.recordings)
        return self.is_all and is_whole and all(itertools.starmap(_goes_on, itertools.pairwise(self.recordings)))

    def read_while(self, keep_reading: Callable[[], bool]) -> None:
        """From now on read nothing more where this returns False: whatever is asked of the files."""
        for recording in self.recordings:
            recording.keep_reading = keep_reading

    def decode_ahead(self, pool: Executor | None) -> None:
        """Have the threads of this pool, which it has already, decode what is read next."""
        for recording in self.recordings:
            recording.pool = pool

    def show(self, window: Span, *, with_living: bool = False) -> None:
        """Show only what happened in this window from now on. with_living: begin with who lived at its beginning, as
        SNAPSHOT rows, with the parents that the whole recording shows; all that was before is read for that."""
        self._from_ns = max(0, window.begin_ns - self.wall_offset_ns)
        self._to_ns = max(0, window.end_ns - self.wall_offset_ns)
        self._reads_from_ns = 0 if with_living else self._from_ns
        self._before = CarryOver(keeps_parents=True) if with_living and self._from_ns else None

    @property
    def until_ns(self) -> int:
        """Until when it shows what happened (boottime), of the end of the files and that of the window; valid when it
        was read."""
        return min(self._to_ns, self.recordings[-1].last_ns)

    def span(self) -> Span:
        """From when to when the files have events, from their headers alone; a stream's end is known after it was
        read."""
        began_ns = self.recordings[0].facts.began_ns
        if self.is_stream:
            last_ns = max(recording.last_ns for recording in self.recordings) + self.wall_offset_ns
            has_ended = all(recording.is_closed or _has_ended(recording) for recording in self.recordings)
            return Span(began_ns, max(began_ns, last_ns) if has_ended else UNKNOWN_NS)
        firsts, lasts = zip(*[recording.range_ns() for recording in self.recordings], strict=True)
        if all(first is None for first in firsts):
            return Span(began_ns, max(began_ns, max(lasts) + self.wall_offset_ns))
        first_ns = min(first for first in firsts if first is not None) + self.wall_offset_ns
        # of a file without an event that others follow it is known when it began
        return Span(first_ns if firsts[0] is not None else min(began_ns, first_ns), max(lasts) + self.wall_offset_ns)

    def _bound(self, target: Target) -> Target:
        """A target pid:N, bound to the namespace of the first process that has this number on the host."""
        if target.kind != TargetKind.PID:
            return target
        for recording in self.recordings:
            for part in recording.again().parts() if isinstance(recording.input, FileInput) else ():
                if part.batch is None:
                    continue
                mine = (part.batch.rows["tgid"] == int(target.value)) & ~of_kind(part.batch.rows, *STREAM_KINDS)
                for index in np.flatnonzero(mine)[:1].tolist():
                    pidns = chain_of(part.batch, index)[-1].pidns
                    return Target(TargetKind.PIDNS, str(pidns.inum), target.text, pidns.gen)
        where = "a PID cannot be looked up in a stream" if self.is_stream else "no recorded process has this PID"
        raise NstraceError(f"{target.text}: {where}", "nstrace replay FILE shows all", ExitCode.NO_TARGET)

    @property
    def is_stream(self) -> bool:
        """Whether one of its files is a pipe: it can be read once, and its end is not known before."""
        return any(not isinstance(recording.input, FileInput) for recording in self.recordings)

    def means_anybody(self) -> bool:
        """Whether the targets mean any process, in the window or out of it. For a stream with a window that is not
        known any more, and counts as true."""
        if self.found or not self._has_window:
            return self.found > 0
        if self.is_stream:
            return True
        again = RecordedSource([recording.again() for recording in self.recordings], self.targets)
        return any(again.found for _batch in again.batches(lambda: 0.0))

    def container_names(self) -> set[str]:
        """The names of all containers that were reported so far."""
        facts = map(self.attribution.cgroups.get, list(self.attribution.cgroups))
        containers = (fact.container for fact in facts if fact and fact.container)
        return {container.name or container.id[:12] for container in containers}

    def listed_ns(self) -> int | None:
        """When all processes of the beginning had been listed, by the wall clock, in ns; None: there were none."""
        for part in () if self.is_stream else self.recordings[0].again().parts():
            if part.batch is not None and len(part.batch):
                rows = part.batch.rows
                listed = rows[(rows["kind"] == Kind.SNAPSHOT) & (rows["flags"] & Flag.MOVED == 0)]
                return int(listed["ts_ns"].max()) + self.wall_offset_ns if len(listed) else None
        return None

    @property
    def read_bytes(self) -> int:
        """How many bytes of the files have been read or skipped."""
        return sum(recording.input.at for recording in self.recordings)

    @property
    def total_bytes(self) -> int:
        """How many bytes the files have; 0: one of them is a stream."""
        inputs = [recording.input for recording in self.recordings]
        return 0 if self.is_stream else sum(found.size for found in inputs if isinstance(found, FileInput))

    def account(self) -> None:
        """A recording holds what was delivered; nothing else was counted."""

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean, until there are no more or timeout_s() is None."""
        if self.knows_what_follows:
            self.attribution.late = late_names(self.recordings)
        self.attribution.expects_names = self.is_stream
        before: Recording | None = None
        for recording in self.recordings:
            if isinstance(recording.input, StreamInput):
                recording.input.keep_waiting = lambda: timeout_s() is not None
            with _read_while(recording, lambda: timeout_s() is not None):
                for chosen in self._chosen_of(recording, before):
                    yield from map(self._counted, self._since(chosen))
                    self.on_progress()
                    if timeout_s() is None:
                        return
            before = recording
        for chosen in self._last():
            yield from map(self._counted, self._since(chosen))
        if self._before:
            yield self._counted(self._living_before(self._before))

    def _since(self, chosen: Batch) -> Iterator[Batch]:
        """What of these rows is in the window; ahead of the first of it who lived at its beginning."""
        if self._reads_from_ns == self._from_ns:
            yield chosen
            return
        is_before = chosen.rows["ts_ns"] < self._from_ns
        if self._before:
            self._before.apply(chosen.select(is_before))
            if is_before.all():
                return
            yield self._living_before(self._before)
        yield chosen.select(~is_before)

    def _living_before(self, before: CarryOver) -> Batch:
        self._before = None
        return before.snapshot(self._from_ns).only(Kind.SNAPSHOT)

    def _last(self) -> Iterator[Batch]:
        """What was held until now. Names that a stream has not brought do not come any more."""
        self.attribution.changes += self.attribution.expects_names
        self.attribution.expects_names = False
        yield from self._held.settle()
        yield from self._held.give_up()
        if (last_ns := self.recordings[-1].last_ns) < self.goes_on_ns:
            yield _nobody_looked(last_ns, self.goes_on_ns)

    def _chosen_of(self, recording: Recording, before: Recording | None) -> Iterator[Batch]:
        for batch in self._batches_of(recording, before):
            for piece in _pieces(batch):
                for part in self.attribution.split_and_learn(piece):
                    yield from self._chosen(part)

    def _counted(self, chosen: Batch) -> Batch:
        self.found += int((~of_kind(chosen.rows, *STREAM_KINDS)).sum())
        self.lost += int(chosen.rows["seq"][chosen.rows["kind"] == Kind.GAP].sum())
        return self.passing(chosen, self.attribution)

    def _batches_of(self, recording: Recording, before: Recording | None) -> Iterator[Batch]:
        """The batches of a file without what the one before has; a gap where a file in between is missing."""
        goes_on = before is not None and _goes_on(before, recording)
        if before is not None and not goes_on:
            yield _missing_part(before, recording)
        whole = recording.whole if goes_on or recording.facts.part == 1 else None
        if whole and not self._is_wanted_of(recording, whole):
            recording.pass_over(whole)
            return
        for read in recording.parts(lambda index: self._is_wanted(recording, index, goes_on)):
            if read.batch is not None:
                yield read.batch

    def _is_wanted_of(self, recording: Recording, whole: Whole) -> bool:
        """Whether any batch of a file may be wanted, but for what it repeats of the one before."""
        in_window = self._is_in_window(whole)
        is_chosen = self.choice is None or whole.always > 0 or self.choice.has_any(recording)
        return whole.facts > 0 or (in_window and is_chosen)

    @property
    def _has_window(self) -> bool:
        return self._from_ns > 0 or self._to_ns < _FOREVER_NS

    def _is_wanted(self, recording: Recording, index: Index, goes_on: bool) -> bool:
        if index.carried and goes_on:
            return False
        is_chosen = self.choice is None or index.always > 0 or self.choice.has(recording, index)
        return index.facts > 0 or (self._is_in_window(index) and is_chosen)

    def _is_in_window(self, says: Index | Whole) -> bool:
        """Whether any of its rows may be in the window: a gap behind its end may have begun in it."""
        begin_ns = says.first_ns if isinstance(says, Index) else says.begin_ns
        return says.last_ns >= self._reads_from_ns and (begin_ns <= self._to_ns or says.always > 0)

    def _chosen(self, part: Batch) -> Iterator[Batch]:
        part = up_to(part, self._to_ns)
        wanted = within(part.rows, self._reads_from_ns, self._to_ns)
        if not self._selection.targets:
            yield reduce(part, wanted)
            return
        shown = self._moves.apply(part, self._selection.mask(part))
        yield from self._held.take(part, shown & wanted, self._selection.waiting(part) & ~shown & wanted)


@contextlib.contextmanager
def _read_while(recording: Recording, keep_reading: Callable[[], bool]) -> Iterator[None]:
    before = recording.keep_reading
    recording.keep_reading = lambda: before() and keep_reading()
    try:
        yield
    finally:
        recording.keep_reading = before


def _pieces(batch: Batch) -> Iterator[Batch]:
    """The batch in pieces with little text each: views need several times as much memory as they show."""
    if len(batch.heap) <= _PIECE_BYTES:
        yield batch
        return
    cuts = np.flatnonzero(np.diff((batch.starts + batch.lengths) // _PIECE_BYTES)) + 1
    for start, stop in itertools.pairwise([0, *cuts.tolist(), len(batch)]):
        yield batch.part(start, stop)


def _cgroup_before(selection: Selection, part: Batch, at: int) -> int:
    """The cgroup that the process of a MOVE row leaves, if the targets mean the process there; else 0."""
    row = part.rows[at]
    old = int(row["seq"]) if row["kind"] == Kind.MOVE else 0
    return old if old and selection.means(part, at, old) else 0


def _has_ended(recording: Recording) -> bool:
    return not isinstance(recording.input, StreamInput) or recording.input.has_ended


def _goes_on(before: Recording, after: Recording) -> bool:
    return after.facts.part == before.facts.part + 1


def _missing_part(before: Recording, after: Recording) -> Batch:
    """The row in place of missing parts of a rotated recording."""
    return _nobody_looked(before.last_ns, max(before.last_ns, after.facts.began_ns - after.facts.wall_offset_ns))


def _nobody_looked(since_ns: int, until_ns: int) -> Batch:
    """A row about a time of which nothing is here (boottime): how many events it had is not known."""
    row = np.zeros(1, EVENT)
    row["kind"], row["cpu"], row["start_ns"], row["ts_ns"] = Kind.GAP, NO_CPU, since_ns, until_ns
    return Batch(row)
