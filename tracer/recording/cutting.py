"""A part of a recording -> a recording that stands alone: it begins with who lived then and which containers there
were."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tracer.recording.carry_over import CarryOver
from tracer.recording.source import RecordedSource
from tracer.recording.writer import FileSink, Writer
from tracer.typed.moments import Span


def cut(source: RecordedSource, window: Span, fd: int, own: Mapping[str, str]) -> int:
    """Write what a source has of a window to a file. window: by the wall clock. fd: the file's. own: metadata in which
    the new recording differs from the old one. Gives how many rows it has. Raises NstraceError."""
    begin_ns, end_ns = (moment - source.wall_offset_ns for moment in (window.begin_ns, window.end_ns))
    facts = {**source.recordings[0].metadata, **own, "part": "1", "realtime_ns": str(window.begin_ns)}
    writer = Writer(FileSink(os.dup(fd), "the recording"), facts, lambda: 0.0)  # a clock that stands: by size alone
    before: CarryOver | None = CarryOver()
    source.show(Span(0, window.end_ns))
    for batch in source.batches(lambda: 0.0):
        times = batch.rows["ts_ns"].astype("int64")
        if before:
            before.apply(batch.select(times < begin_ns))
            if (times >= begin_ns).any():
                writer.take(before.snapshot(max(0, begin_ns)))
                before = None
        writer.take(batch.select(times >= begin_ns))
    if before:
        writer.take(before.snapshot(max(0, begin_ns)))
    writer.close(min(end_ns, source.recordings[-1].last_ns))
    return writer.rows
