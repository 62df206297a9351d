"""A recording -> the processes that lived at a moment, and the lost events that make them unsure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tracer.answers.census import Census
from tracer.past.census import LossWindow, Recall
from tracer.recording.filtered import check_complete
from tracer.recording.row_filter import RowsOf
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch
from tracer.typed.moments import Span


class Recalled(NamedTuple):
    """The processes; the lost events that make them unsure. forgotten: how many more lived, for which there was no
    room; shortened: of how many commands only the beginnings are here."""

    census: Census
    losses: LossWindow | None
    forgotten: int
    shortened: int


def read_census(source: RecordedSource, moment_ns: int) -> Recalled:
    """The census of a moment. moment_ns: by the wall clock. source: no stream, without targets. What comes after the
    moment is read for the next event of those that live then: it shows what they had changed. Raises NstraceError."""
    check_complete([source])
    recall = Recall(source.attribution, source.wall_offset_ns)
    source.show(Span(0, moment_ns))
    recall.take(source.batches(lambda: 0.0))
    at_ns = moment_ns - source.wall_offset_ns
    recall.look_ahead(_behind(source, at_ns, RowsOf(recall.living())), at_ns)
    return Recalled(recall.census(at_ns), recall.losses(), recall.forgotten, recall.shortened)


def _behind(source: RecordedSource, moment_ns: int, of_living: RowsOf) -> Iterator[Batch]:
    """The events of the living processes after a moment (boottime)."""
    for recording in source.recordings:
        again = recording.again()
        again.sieve = of_living
        for part in again.parts(lambda index: index.last_ns > moment_ns):
            if part.batch is not None and not part.index.carried:
                yield part.batch.select(part.batch.rows["ts_ns"] > moment_ns)
