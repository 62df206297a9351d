"""Who lives and what is known of containers after a run of batches: what the next file of a rotation begins with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import reduce
from tracer.events import Batch, Flag, Kind
from tracer.repair import identities

_APPEARS = (Kind.FORK, Kind.EXEC, Kind.SNAPSHOT)
_MAX_FACTS = 1 << 16


class Living:
    """Fed with every batch of a stream. The latest row of each living process, and of each cgroup and namespace."""

    def __init__(self) -> None:
        self._processes = Batch.concat([])
        self._facts = Batch.concat([])

    def apply(self, batch: Batch) -> None:
        """Bring it up to date."""
        kinds = batch.rows["kind"]
        about = Batch.concat([self._processes, batch.select(np.isin(kinds, [*_APPEARS, Kind.EXIT]))])
        latest = about.select(_is_last(identities(about.rows)))
        ended = (latest.rows["kind"] == Kind.EXIT) | (latest.rows["flags"] & Flag.ENDED != 0)
        self._processes = latest.select(~ended)
        teaching = batch.select(np.isin(kinds, [Kind.CGROUP, *_APPEARS, Kind.PIDNS]))
        births = reduce(teaching, teaching.rows["kind"] == Kind.CGROUP)
        if len(births):
            facts = Batch.concat([self._facts, births])
            facts = facts.select(_is_last(_subjects(facts.rows)))
            self._facts = facts.part(max(0, len(facts) - _MAX_FACTS), len(facts))

    def snapshot(self, now_ns: int) -> Batch:
        """The facts, then the processes as SNAPSHOT rows, told now."""
        rows = self._processes.rows.copy()
        rows["kind"], rows["ts_ns"], rows["cpu"], rows["seq"] = Kind.SNAPSHOT, now_ns, 0, 0
        rows["tid"], rows["vtid"], rows["old_tid"] = rows["tgid"], rows["chain"]["nr"][:, 0], 0
        facts = self._facts.rows.copy()
        facts["ts_ns"] = now_ns
        return Batch.concat([Batch(facts, self._facts.heap), Batch(rows, self._processes.heap)])


def _subjects(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """One number for each fact's cgroup or namespace."""
    space = rows["chain"][:, 0]
    named = space["inum"].astype(np.uint64) << np.uint64(32) ^ space["gen"]
    subjects: NDArray[np.uint64] = np.where(rows["kind"] == Kind.CGROUP, rows["cgroup_id"], ~named)
    return subjects


def _is_last(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """True for the last row of each key, shape (n,)."""
    _keys, from_the_end = np.unique(keys[::-1], return_index=True)
    last = np.zeros(len(keys), bool)
    last[len(keys) - 1 - from_the_end] = True
    return last
