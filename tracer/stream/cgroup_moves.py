"""Processes that move between cgroups: a process that was reported stays reported until its exit. Pure.

Decisions are made for pairs of namespace and cgroup, and a process can change its cgroup at any time: runc puts itself
into the container that it starts. By its pair alone a process that leaves the followed cgroups would have no end, and
one that enters them no beginning. So for a process whose pair is ignored since it has moved, what counts is whether it
was reported before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch
from tracer.stream.lru import Lru
from tracer.stream.repair import identities
from tracer.stream.schema import Flag, Kind

_MAX_MOVED = 65536
_NOT_MOVED = np.uint8(~Flag.MOVED & 0xFF)
Reported = Callable[[Batch, int], int]
"""Batch, index of a row -> the cgroup in which its process was last reported before this batch; 0: it was not."""


class CgroupMoves:
    """Remembers the processes that live with an ignored pair after a move, _MAX_MOVED at most: the cgroup of each, 0
    where it is not reported."""

    def __init__(self, reported: Reported) -> None:
        self._reported = reported
        self._strays: Lru[int, int] = Lru(_MAX_MOVED)

    def apply(self, batch: Batch, by_pair: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows to report, shape (n,). by_pair: the rows whose pair is followed.

        A MOVE row of a reported process gets as its seq the cgroup that the process left. A MOVE row whose pair is
        followed, of a process that was not reported, becomes a SNAPSHOT row: from then on the process is reported.
        """
        rows = batch.rows
        if not len(self._strays) and not batch.has(Kind.MOVE) and not batch.may_have(Flag.MOVED):
            return by_pair
        moving = (rows["kind"] == Kind.MOVE) | (rows["flags"] & Flag.MOVED != 0)
        ids, mask = identities(rows), by_pair.copy()
        moved = np.array([*self._strays, *ids[moving].tolist()], np.uint64)
        for at in np.flatnonzero(np.isin(ids, moved)).tolist():
            before = self._strays.get(int(ids[at]))
            if before is None:
                before = _last_cgroup(batch, mask[:at] & (ids[:at] == ids[at])) or self._reported(batch, at)
            mask[at] |= before != 0
            _mark_move(batch, at, before)
            self._note(batch, at, int(ids[at]), is_stray=not by_pair[at], is_reported=before != 0)
        batch.changed()
        return mask

    def _note(self, batch: Batch, at: int, identity: int, *, is_stray: bool, is_reported: bool) -> None:
        row = batch.rows[at]
        if is_stray and row["kind"] != Kind.EXIT:
            self._strays.put(identity, int(row["cgroup_id"]) if is_reported else 0)
        else:
            self._strays.pop(identity)


def _last_cgroup(batch: Batch, mask: NDArray[np.bool_]) -> int:
    """The cgroup id of the last row where mask is true (mask may be shorter than the batch); 0: there is none."""
    rows = np.flatnonzero(mask)
    return int(batch.rows["cgroup_id"][rows[-1]]) if len(rows) else 0


def _mark_move(batch: Batch, at: int, before: int) -> None:
    rows = batch.rows
    if rows["kind"][at] != Kind.SNAPSHOT:
        rows["flags"][at] &= _NOT_MOVED
    if rows["kind"][at] == Kind.MOVE and before:
        rows["seq"][at] = before
    elif rows["kind"][at] == Kind.MOVE:
        rows["kind"][at], rows["flags"][at] = Kind.SNAPSHOT, rows["flags"][at] | Flag.MOVED
