"""--where on a stream of events: the rows for which a condition is true, and those that say how complete the stream is.

The same live and in recordings. What does not pass leaves what identifies containers' namespaces behind, so that a
recording of what passes shows what was shown.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.ask.condition import Condition
from tracer.recording.schema import FLAT
from tracer.recording.some_columns import some
from tracer.stream.attribution import Attribution, reduce
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import METADATA_KINDS, NOTE_KINDS, Kind

_TIME = pa.timestamp("ns")  # with a time zone DuckDB would have microseconds
_UNTIL = "until"
SCHEMA = pa.schema(
    [*(field.with_type(_TIME) if pa.types.is_timestamp(field.type) else field for field in FLAT), (_UNTIL, _TIME)]
)
"""The names that a condition may use: those of exports, and of the JSON."""
_ALWAYS = (*METADATA_KINDS, *NOTE_KINDS)


class EventFilter:
    """A condition on events, as it was typed. Raises NstraceError (usage) where it is wrong."""

    def __init__(self, text: str) -> None:
        self._condition = Condition(text, SCHEMA)
        self._schema = pa.schema([SCHEMA.field(name) for name in self._condition.needs])
        self._clocks: dict[Attribution, tuple[int, str]] = {}

    def add_run(self, attribution: Attribution, wall_offset_ns: int, host: str) -> None:
        """Say of a run of nstrace, by its attribution, what its clock and its host are: ahead of its batches."""
        self._clocks[attribution] = wall_offset_ns, host

    def passing(self, batch: Batch, containers: Attribution) -> Batch:
        """The rows that pass, and always gaps, repairs and what is known of containers. Raises NstraceError where the
        condition cannot be evaluated for a row."""
        return self._with(batch, containers, _ALWAYS)

    def kept(self, batch: Batch, containers: Attribution) -> Batch:
        """As `passing`, for a recording: with the rows about sessions, for rows of their processes name them."""
        return self._with(batch, containers, (*_ALWAYS, Kind.SESSION))

    def matching(self, batch: Batch, containers: Attribution) -> NDArray[np.bool_]:
        """For which rows the condition is true, shape (n,): of no gap, and of nothing that says what is known of
        containers. Raises NstraceError as `passing` does."""
        matches = ~of_kind(batch.rows, *_ALWAYS, Kind.SNAPSHOT, Kind.SESSION)
        if matches.any():
            matches[matches] = self._condition.mask(self._columns(batch.select(matches), containers))
        return matches

    def _with(self, batch: Batch, containers: Attribution, kinds: tuple[Kind, ...]) -> Batch:
        always = of_kind(batch.rows, *kinds)
        if always.all():
            return batch
        passes = always.copy()
        passes[~always] = self._condition.mask(self._columns(batch.select(~always), containers))
        return batch if passes.all() else reduce(batch, passes)

    def _columns(self, events: Batch, containers: Attribution) -> pa.RecordBatch:
        found = some(events, containers, *self._clocks[containers], self._schema.names)
        arrays = [
            pa.nulls(len(events), _TIME) if field.name == _UNTIL else _as(field.type, found.column(field.name))
            for field in self._schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _as(type_: pa.DataType, array: pa.Array) -> pa.Array:
    return array if array.type == type_ else array.cast(type_)
