"""Which events to show: decides once for each pair of PID namespace and cgroup. Pure.

The same decisions filter in the kernel (a source writes them to its map) and here, for what came undecided.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution
from tracer.events import STREAM_KINDS, Batch
from tracer.losses import PairKey
from tracer.pidns import PidnsId, chain_of
from tracer.targets import Target

_PASSES = np.isin(np.arange(256), STREAM_KINDS)


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
        self._follow: dict[PairKey, bool] = {}

    def mask(self, batch: Batch) -> NDArray[np.bool_]:
        """True for the rows that a target means, shape (n,). The batch's facts must have been applied."""
        passes, pairs = _PASSES[batch.rows["kind"]], batch.pairs
        follow = [self._follow.get(pair) for pair in pairs.keys]
        for number, known in enumerate(follow):
            if known is None:
                rows = np.flatnonzero((pairs.of_row == number) & ~passes)
                follow[number] = len(rows) > 0 and self._decide(batch, int(rows[0]), pairs.keys[number])
        result: NDArray[np.bool_] = passes | np.array(follow, bool)[pairs.of_row]
        return result

    def may_mean(self, batch: Batch) -> NDArray[np.bool_]:
        """True for all rows but those of pairs that are known not to be meant, shape (n,). Decides nothing."""
        known = np.array([self._follow.get(pair, True) for pair in batch.pairs.keys], bool)
        result: NDArray[np.bool_] = known[batch.pairs.of_row]
        return result

    def _decide(self, batch: Batch, index: int, pair: PairKey) -> bool:
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
