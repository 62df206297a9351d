"""A recording -> what can be asked of it: its history, and from when to when it tells of everybody."""

from __future__ import annotations

import itertools

import numpy as np

from tracer.events import EVENT, NO_CPU, Batch, Kind
from tracer.past.archive import Past
from tracer.past.history import History
from tracer.recording.reader import Recording, Sieve
from tracer.recording.source import RecordedSource


def read_past(source: RecordedSource, sieve: Sieve | None = None) -> Past:
    """All that the source holds. sieve: leaves out rows that are not asked for, before they are decoded."""
    for recording in source.recordings:
        recording.sieve = sieve
    batch = Batch.concat([*source.batches(lambda: 0.0), _missing_parts(source.recordings)])
    first, last = source.recordings[0], source.recordings[-1]
    history = History(batch, _begin_ns(first, batch), last.last_ns)
    return Past(history, source.attribution, source.wall_offset_ns)


def _begin_ns(first: Recording, batch: Batch) -> int:
    """From when on everybody was told of. Probes are attached before a recording begins, and the snapshot is read
    later: who was there in between is in it, or an exit tells. A later part begins with a snapshot."""
    began_ns = first.facts.began_ns - first.facts.wall_offset_ns
    if first.facts.part == 1 and began_ns <= first.last_ns:
        return began_ns
    return int(batch.rows["ts_ns"].min()) if len(batch) else first.last_ns


def _missing_parts(recordings: list[Recording]) -> Batch:
    """A GAP row for each place where parts of a rotated recording are not there."""
    missing = [
        (before, after) for before, after in itertools.pairwise(recordings) if after.facts.part != before.facts.part + 1
    ]
    rows = np.zeros(len(missing), EVENT)
    rows["kind"], rows["cpu"] = Kind.GAP, NO_CPU
    rows["start_ns"] = [before.last_ns for before, _after in missing]
    rows["ts_ns"] = [after.facts.began_ns - after.facts.wall_offset_ns for _before, after in missing]
    return Batch(rows)
