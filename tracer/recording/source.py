"""The recorded source: as the live one, from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution, reduce
from tracer.events import Batch, Kind
from tracer.moments import Span
from tracer.recording.files import StreamInput
from tracer.recording.reader import Index, Recording
from tracer.selection import Selection
from tracer.table import Table
from tracer.targets import Target

_FOREVER_NS = 1 << 64


class RecordedSource:
    """Batches of one run of nstrace, from its files in order.

    targets: (): everything that was recorded.
    """

    def __init__(self, recordings: Sequence[Recording], targets: tuple[Target, ...] = ()) -> None:
        self.recordings = list(recordings)
        self.attribution, self.table = Attribution(), Table()
        self.lost = 0
        self._selection = Selection(targets, self.attribution)
        self._from_ns, self._to_ns = 0, _FOREVER_NS

    @property
    def wall_offset_ns(self) -> int:
        """Wall clock minus boottime when the trace began."""
        return self.recordings[0].facts.wall_offset_ns

    @property
    def is_complete(self) -> bool:
        """Whether, as far as read, nothing is missing: all files were closed, none is damaged."""
        return all(recording.is_closed and not recording.damages for recording in self.recordings)

    def show(self, window: Span) -> None:
        """From now on only what happened in this window."""
        self._from_ns = max(0, window.begin_ns - self.wall_offset_ns)
        self._to_ns = max(0, window.end_ns - self.wall_offset_ns)

    def span(self) -> Span:
        """From when to when the files tell of events, from their headers alone; a stream's end is not known."""
        indices = [index for recording in self.recordings for index in recording.indices() if index.last_ns]
        if not indices:
            return Span(self.recordings[0].facts.began_ns, self.recordings[0].facts.began_ns)
        first, last = min(index.first_ns for index in indices), max(index.last_ns for index in indices)
        return Span(first + self.wall_offset_ns, last + self.wall_offset_ns)

    def account(self) -> None:
        """A recording holds what was delivered; nothing else was counted."""

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean, until there are no more or timeout_s() is None."""
        before: Recording | None = None
        for recording in self.recordings:
            if isinstance(recording.input, StreamInput):
                recording.input.keep_waiting = lambda: timeout_s() is not None
            goes_on = before is not None and recording.facts.part == before.facts.part + 1
            before = recording
            for read in recording.parts(self._is_wanted):
                if read.batch is None or (read.index.carried and goes_on):
                    continue
                for part in self.attribution.take(read.batch):
                    chosen = reduce(part, self._mask(part))
                    self.lost += int(chosen.rows["seq"][chosen.rows["kind"] == Kind.GAP].sum())
                    yield chosen
                    if timeout_s() is None:
                        return

    def _is_wanted(self, index: Index) -> bool:
        return index.facts > 0 or (index.last_ns >= self._from_ns and index.first_ns <= self._to_ns)

    def _mask(self, part: Batch) -> NDArray[np.bool_]:
        mask = self._selection.mask(part) if self._selection.targets else np.ones(len(part), bool)
        if self._from_ns or self._to_ns < _FOREVER_NS:
            times = part.rows["ts_ns"]
            mask &= (times >= self._from_ns) & (times <= min(self._to_ns, _FOREVER_NS - 1))
        return mask
