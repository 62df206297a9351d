"""The recorded source: as the live one, from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution, reduce
from tracer.events import Batch, Kind
from tracer.recording.files import StreamInput
from tracer.recording.reader import Index, Recording
from tracer.selection import Selection
from tracer.table import Table
from tracer.targets import Target

_FOREVER_NS = 1 << 64


class RecordedSource:
    """Batches of one run of nstrace, from its files in order.

    targets: (): everything that was recorded. from_ns, to_ns: the window of time, boottime, both included.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        targets: tuple[Target, ...] = (),
        from_ns: int = 0,
        to_ns: int = _FOREVER_NS,
    ) -> None:
        self.recordings = recordings
        self.attribution, self.table = Attribution(), Table()
        self.lost = 0
        self._selection = Selection(targets, self.attribution)
        self._from_ns, self._to_ns = from_ns, to_ns

    @property
    def wall_offset_ns(self) -> int:
        """Wall clock minus boottime when the trace began."""
        return self.recordings[0].facts.wall_offset_ns

    @property
    def is_complete(self) -> bool:
        """Whether, as far as read, nothing is missing: all files were closed, none is damaged."""
        return all(recording.is_closed and not recording.damages for recording in self.recordings)

    def account(self) -> None:
        """A recording holds what was delivered; nothing else was counted."""

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean, until there are no more or timeout_s() is None."""
        for number, recording in enumerate(self.recordings):
            if isinstance(recording.input, StreamInput):
                recording.input.keep_waiting = lambda: timeout_s() is not None
            for read in recording.parts(self._is_wanted):
                if read.batch is None or (read.index.carried and number):
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
