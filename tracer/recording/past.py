"""A recording -> what can be asked of it: its history, and from when to when it tells of everybody."""

from __future__ import annotations

from tracer.events import Batch
from tracer.past.archive import Past
from tracer.past.history import History
from tracer.recording.reader import Recording, Sieve
from tracer.recording.source import RecordedSource


def read_past(source: RecordedSource, sieve: Sieve | None = None) -> Past:
    """All that the source holds. sieve: leaves out rows that are not asked for, before they are decoded."""
    for recording in source.recordings:
        recording.sieve = sieve
    batch = Batch.concat(list(source.batches(lambda: 0.0)))
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
