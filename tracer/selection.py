"""Which events to show: decides once for each pair of PID namespace and cgroup. Pure.

The same decisions filter in the kernel (a source writes them to its map) and here, for what came undecided.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution
from tracer.events import Batch, Kind
from tracer.pidns import PidnsId, chain_of
from tracer.targets import Target

STREAM_KINDS = (Kind.GAP, Kind.CGROUP)  # of no single process: always pass


class Decision(NamedTuple):
    """Follow or ignore everyone in this cgroup whose innermost namespace is this one."""

    pidns: PidnsId
    cgroup_id: int
    follow: bool


class Selection:
    """Targets applied to a stream. Remembers every decision; `fresh` holds those not yet taken away."""

    def __init__(self, targets: tuple[Target, ...], attribution: Attribution) -> None:
        self.targets = targets
        self.attribution = attribution
        self.fresh: list[Decision] = []
        self._follow: dict[tuple[int, int, int], bool] = {}

    def mask(self, batch: Batch) -> NDArray[np.bool_]:
        """True for the rows that a target means, shape (n,). The batch's facts must have been applied."""
        rows = batch.rows
        kinds = rows["kind"]
        result = np.isin(kinds, STREAM_KINDS)
        innermost = rows["chain"][:, 0]
        pairs = zip(innermost["inum"].tolist(), innermost["gen"].tolist(), rows["cgroup_id"].tolist(), strict=True)
        known = self._follow
        for index, pair in enumerate(pairs):
            follow = known.get(pair)
            if follow is None and not result[index]:
                follow = self._decide(batch, index, pair)
            if follow:
                result[index] = True
        return result

    def _decide(self, batch: Batch, index: int, pair: tuple[int, int, int]) -> bool:
        chain = chain_of(batch, index)
        containers = self.attribution.enclosing(chain, pair[2])
        follow = any(target.means(containers, chain) for target in self.targets)
        self._follow[pair] = follow
        self.fresh.append(Decision(chain[-1].pidns, pair[2], follow))
        return follow

    def take_fresh(self) -> list[Decision]:
        """Decisions made since the last call."""
        fresh, self.fresh = self.fresh, []
        return fresh
