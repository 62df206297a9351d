"""A recording -> who lived at a moment, and what was lost that makes it unsure."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.answers.census import Census
from tracer.events import Batch
from tracer.moments import Span
from tracer.past.census import Losses, Recall
from tracer.recording.about import Of
from tracer.recording.source import RecordedSource


def read_census(source: RecordedSource, moment_ns: int) -> tuple[Census, Losses | None]:
    """moment_ns: by the wall clock. Of a source that is no stream and has no targets. What comes behind the moment is
    read for the next event of those who live then: it tells what they had changed."""
    recall = Recall(source.attribution, source.wall_offset_ns)
    source.show(Span(0, moment_ns))
    recall.take(source.batches(lambda: 0.0))
    recall.look_ahead(_behind(source, moment_ns - source.wall_offset_ns, Of(recall.living())))
    return recall.census(), recall.losses()


def _behind(source: RecordedSource, moment_ns: int, of_living: Of) -> Iterator[Batch]:
    """What was reported of the living after a moment (boottime)."""
    for recording in source.recordings:
        again = recording.again()
        again.sieve = of_living
        for part in again.parts(lambda index: index.last_ns > moment_ns):
            if part.batch is not None and not part.index.carried:
                yield part.batch.select(part.batch.rows["ts_ns"] > moment_ns)
