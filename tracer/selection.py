"""Which events to show: decides once for each pair of PID namespace and cgroup. Pure.

The same decisions filter in the kernel (a source writes them to its map) and here, for what came undecided.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution
from tracer.events import STREAM_KINDS, Batch, Flag
from tracer.losses import PairKey
from tracer.pidns import PidnsId, chain_of
from tracer.recent import Recent
from tracer.targets import Target

MAX_PAIRS = 65536
_PASSES = np.isin(np.arange(256), STREAM_KINDS)


class Decision(NamedTuple):
    """Follow or ignore everyone in this cgroup whose innermost namespace is this one."""

    pidns: PidnsId
    cgroup_id: int
    follow: bool


class Selection:
    """Targets applied to a stream. Remembers decisions, MAX_PAIRS of them; `take_fresh` gives those to tell the source.

    A source may forget them too: rows that it marks UNDECIDED let it be told again.
    """

    def __init__(self, targets: tuple[Target, ...], attribution: Attribution) -> None:
        self.targets = targets
        self.attribution = attribution
        self._fresh: dict[PairKey, Decision] = {}
        self._follow: Recent[PairKey, bool] = Recent(MAX_PAIRS)

    def mask(self, batch: Batch) -> NDArray[np.bool_]:
        """True for the rows that a target means, shape (n,). The batch's facts must have been applied."""
        passes, pairs = _PASSES[batch.rows["kind"]], batch.pairs
        follow = [self._follow.get(pair) for pair in pairs.keys]
        for number, known in enumerate(follow):
            if known is None:
                rows = np.flatnonzero((pairs.of_row == number) & ~passes)
                follow[number] = len(rows) > 0 and self._decide(batch, int(rows[0]), pairs.keys[number])
        undecided = batch.rows["flags"] & Flag.UNDECIDED != 0
        for number in set(pairs.of_row[undecided].tolist()) if undecided.any() else ():
            self._tell(pairs.keys[number])
        result: NDArray[np.bool_] = passes | np.array(follow, bool)[pairs.of_row]
        return result

    def means(self, batch: Batch, index: int, cgroup_id: int) -> bool:
        """Whether a target means the process of the row at index where it is in this cgroup."""
        inum, _nr, gen = batch.rows["chain"][index, 0].tolist()
        pair = (inum, gen, cgroup_id)
        known = self._follow.get(pair)
        return self._decide(batch, index, pair) if known is None else known

    def _tell(self, pair: PairKey) -> None:
        follow = self._follow.get(pair)
        if follow is not None:
            self._fresh[pair] = Decision(PidnsId(*pair[:2]), pair[2], follow)

    def may_mean(self, batch: Batch) -> NDArray[np.bool_]:
        """True for all rows but those of pairs that are known not to be meant, shape (n,). Decides nothing."""
        known = np.array([self._follow.get(pair) is not False for pair in batch.pairs.keys], bool)
        result: NDArray[np.bool_] = known[batch.pairs.of_row]
        return result

    def _decide(self, batch: Batch, index: int, pair: PairKey) -> bool:
        chain = chain_of(batch, index)
        containers = self.attribution.enclosing(chain, pair[2])
        follow = any(target.means(containers, chain) for target in self.targets)
        # A cgroup that was not told is one that the process has moved to meanwhile: nothing is decided for good.
        if pair[2] in self.attribution.cgroups:
            self._follow.put(pair, follow)
            self._tell(pair)
        return follow

    def take_fresh(self) -> list[Decision]:
        """Decisions to tell: made, or asked for again, since the last call."""
        fresh, self._fresh = self._fresh, {}
        return list(fresh.values())
