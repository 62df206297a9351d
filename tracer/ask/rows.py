"""Events of recordings as rows of Arrow: of some kinds, and of their columns those that are needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
import pyarrow as pa

from tracer.ask.relations import BEGAN, ORDER, START
from tracer.recording.schema import FLAT
from tracer.recording.some_columns import some
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import Kind

Sources = Callable[[], list[RecordedSource]]
"""Returns recordings to be read from their beginning: called for each reading."""
TIME = pa.timestamp("ns")  # with a time zone DuckDB would have microseconds
_OWN = {ORDER: pa.int64(), BEGAN: TIME, START: pa.int64()}


class Rows:
    """Events of these kinds, in their order, with the columns that are needed; each time that it is iterated, the
    recordings are read anew.

    on_batch: is called with every batch, whatever it has, with the number of its run, and that run's wall clock minus
    boottime. is_stream: one of the recordings can be read once; valid with the first row.
    """

    def __init__(self, sources: Sources, kinds: Collection[Kind], needs: Collection[str]) -> None:
        self._sources, self._kinds, self._needs = sources, tuple(kinds), needs
        self.on_batch: Callable[[Batch, int, int], None] = lambda _batch, _run, _offset_ns: None
        self.is_stream = False
        fields = [_naive(field) for field in FLAT if field.name in needs]
        self.schema = pa.schema(fields + [pa.field(name, type_) for name, type_ in _OWN.items() if name in needs])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        place, sources = 0, self._sources()
        self.is_stream = any(source.is_stream for source in sources)
        for run, source in enumerate(sources):
            host = source.recordings[0].facts.host
            for batch in source.batches(lambda: 0.0):
                self.on_batch(batch, run, source.wall_offset_ns)
                chosen = batch.select(of_kind(batch.rows, *self._kinds))
                if len(chosen):
                    yield self._columns(chosen, source, host, place)
                    place += len(chosen)

    def _columns(self, batch: Batch, source: RecordedSource, host: str, place: int) -> pa.RecordBatch:
        offset_ns, start_ns = source.wall_offset_ns, batch.rows["start_ns"].view(np.int64)
        arrays = list(some(batch, source.attribution, offset_ns, host, self._needs).columns)
        own = {ORDER: np.arange(place, place + len(batch)), BEGAN: start_ns + offset_ns, START: start_ns}
        arrays += [pa.array(values) for name, values in own.items() if name in self._needs]
        pairs = zip(arrays, self.schema, strict=True)
        return pa.RecordBatch.from_arrays([array.cast(field.type) for array, field in pairs], schema=self.schema)


def _naive(field: pa.Field) -> pa.Field:
    """The column as a query has it: times are in UTC and say no zone."""
    return field.with_type(TIME) if pa.types.is_timestamp(field.type) else field
