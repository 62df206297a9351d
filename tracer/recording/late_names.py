"""What a recording says late: the names of containers whose engine was slow, found ahead of everything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.columns import values_of
from tracer.recording.inputs import FileInput
from tracer.recording.reader import Recording
from tracer.recording.schema import SCHEMA
from tracer.stream.attribution import facts_by_cgroup
from tracer.stream.batch import Batch
from tracer.stream.lru import Lru
from tracer.stream.metadata import CgroupFact
from tracer.stream.schema import Kind


def late_names(recordings: Sequence[Recording]) -> Lru[int, CgroupFact]:
    """By cgroup id, the fact that names a container which was reported without a name before. A cgroup id is one life
    of one container, so the name is that of the rows before, too. Reads the batches that have such facts, and of them
    little more than the facts. Empty for a stream, which can be read once."""
    late = facts_by_cgroup()
    for cgroup_id, fact in _facts_in(recordings):
        if fact.is_named and cgroup_id not in late:
            late.put(cgroup_id, fact)
    return late


def _facts_in(recordings: Sequence[Recording]) -> Iterator[tuple[int, CgroupFact]]:
    before: Recording | None = None
    for recording in recordings:
        goes_on = before is None or (before.whole is not None and recording.facts.part == before.facts.part + 1)
        before = recording
        if not isinstance(recording.input, FileInput):
            continue
        if goes_on and recording.whole and not recording.whole.late:  # what it repeats was named in the file before
            continue
        again = recording.again()
        again.sieve = _Facts()
        for part in again.parts(lambda index: index.late + index.carried > 0):  # it repeats what has a name by then
            batch = Batch.concat([part.batch] if part.batch else [])
            for at in np.flatnonzero(batch.rows["kind"] == Kind.CGROUP).tolist():
                yield int(batch.rows["cgroup_id"][at]), msgspec.json.decode(batch.payload(at).args, type=CgroupFact)


class _Facts:
    """Keeps what is said about cgroups."""

    needs = pa.schema([SCHEMA.field("event")])

    def keeps(self, columns: pa.RecordBatch) -> NDArray[np.bool_]:
        """As `Sieve.keeps`."""
        is_fact = pc.equal(columns.column("event"), "cgroup")
        mask: NDArray[np.bool_] = values_of(is_fact.cast(pa.int8())) != 0
        return mask
