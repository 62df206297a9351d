"""Which events to show: decides once for each pair of PID namespace and cgroup. Pure.

The same decisions filter in the kernel (a source writes them to its map) and here, for events that arrive undecided.
Where an engine has yet to report the name of a container, nothing is decided, in the kernel neither.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.losses import PairKey
from tracer.stream.lru import Lru
from tracer.stream.metadata import Container
from tracer.stream.pidns import Chain, PidnsId, chain_of
from tracer.stream.schema import CONTAINER_KINDS, STREAM_KINDS, Flag
from tracer.typed.targets import Target

MAX_PAIRS = 65536
_ABOUT_NO_PROCESS = (*STREAM_KINDS, *CONTAINER_KINDS)


class Decision(NamedTuple):
    """Follow or ignore all processes in this cgroup whose innermost namespace is this one."""

    pidns: PidnsId
    cgroup_id: int
    follow: bool


class _Pair(NamedTuple):
    """chain: of one process of the pair; all have the same namespaces. follow: None: not decided yet."""

    chain: Chain
    follow: bool | None


class Selection:
    """Targets applied to a stream. Remembers MAX_PAIRS decisions; `take_fresh` returns those to report to the source.

    A source may forget decisions: for rows that it marks UNDECIDED they are reported again.
    """

    def __init__(self, targets: tuple[Target, ...], attribution: Attribution) -> None:
        self.targets = targets
        self.attribution = attribution
        self._fresh: dict[PairKey, Decision] = {}
        self._pairs: Lru[PairKey, _Pair] = Lru(MAX_PAIRS)
        self._changes = 0

    def mask(self, batch: Batch) -> NDArray[np.bool_]:
        """True for the rows that a target means, shape (n,). The batch's facts must have been applied."""
        self.decide_again()
        pairs = batch.pairs
        follow = [self.follows(pair) for pair in pairs.keys]
        for number, pair in enumerate(pairs.keys):
            if pair not in self._pairs:
                rows = np.flatnonzero((pairs.of_row == number) & ~of_kind(batch.rows, *_ABOUT_NO_PROCESS))
                follow[number] = self._decide(chain_of(batch, int(rows[0])), pair) if len(rows) else None
        if batch.may_have(Flag.UNDECIDED):
            undecided = batch.rows["flags"] & Flag.UNDECIDED != 0
            for number in set(pairs.of_row[undecided].tolist()):
                self._publish(pairs.keys[number])
        result: NDArray[np.bool_] = np.array([known is True for known in follow], bool)[pairs.of_row]
        if batch.has(*_ABOUT_NO_PROCESS):
            result |= of_kind(batch.rows, *STREAM_KINDS)
            for index in np.flatnonzero(of_kind(batch.rows, *CONTAINER_KINDS)).tolist():
                known = self.follows(pairs.keys[int(pairs.of_row[index])])
                result[index] = self._means_container_of(batch, index) if known is None else known
        return result

    def means_container(self, container: Container) -> bool:
        """Whether a target means a container, by what an engine says of it."""
        return any(target.means((container,), ()) for target in self.targets)

    def _means_container_of(self, batch: Batch, index: int) -> bool:
        """Whether a target means the container that a row is about, or one around it."""
        own, chain = self.attribution.of_row(batch, index), chain_of(batch, index)
        around = self.attribution.enclosing(chain, int(batch.rows["cgroup_id"][index]))
        containers = (own, *around) if own else around
        return any(target.means(containers, chain) for target in self.targets)

    def means(self, batch: Batch, index: int, cgroup_id: int) -> bool:
        """Whether a target means the process of the row at index, if it is in this cgroup."""
        inum, _nr, gen = batch.rows["chain"][index, 0].tolist()
        pair = (inum, gen, cgroup_id)
        return (self.follows(pair) if pair in self._pairs else self._decide(chain_of(batch, index), pair)) is True

    def waiting(self, batch: Batch) -> NDArray[np.bool_]:
        """True for the rows of processes that cannot be decided about yet, shape (n,); call it after `mask`."""
        known = (self._pairs.get(pair) for pair in batch.pairs.keys)
        undecided = [found is not None and found.follow is None for found in known]
        if True not in undecided:
            return np.zeros(len(batch), bool)
        result: NDArray[np.bool_] = np.array(undecided)[batch.pairs.of_row] & ~of_kind(batch.rows, *_ABOUT_NO_PROCESS)
        return result

    def may_mean(self, batch: Batch) -> NDArray[np.bool_]:
        """True for all rows except those of pairs that are known not to be followed, shape (n,). Decides nothing."""
        known = np.array([self.follows(pair) is not False for pair in batch.pairs.keys], bool)
        result: NDArray[np.bool_] = known[batch.pairs.of_row]
        return result

    def follows(self, pair: PairKey) -> bool | None:
        """The decision about a pair; None: there is none yet."""
        known = self._pairs.get(pair)
        return known.follow if known else None

    def _decide(self, chain: Chain, pair: PairKey) -> bool | None:
        follow = self._judge(chain, pair[2])
        # A cgroup that was not reported is one that the process has moved to meanwhile: nothing is decided for good.
        if pair[2] in self.attribution.cgroups:
            self._pairs.put(pair, _Pair(chain, follow))
            self._publish(pair)
        return follow

    def _judge(self, chain: Chain, cgroup_id: int) -> bool | None:
        containers = self.attribution.enclosing(chain, cgroup_id)
        waits = self.attribution.is_pending(chain, cgroup_id)
        answers = [
            None if waits and target.waits(containers, chain) else target.means(containers, chain)
            for target in self.targets
        ]
        return True if True in answers else None if None in answers else False

    def forget(self, pidns: PidnsId, cgroup_id: int) -> None:
        """A namespace is over, whose first process was in this cgroup."""
        self._pairs.pop((*pidns, cgroup_id))

    def forget_cgroups(self, cgroup_ids: Collection[int]) -> None:
        """Cgroups were removed."""
        for pair in [pair for pair in self._pairs if pair[2] in cgroup_ids]:
            self._pairs.pop(pair)

    def decide_again(self) -> None:
        """Decide again about all pairs, if what is known of containers has changed."""
        if self._changes == self.attribution.changes:
            return
        self._changes = self.attribution.changes
        for pair in list(self._pairs):
            known = self._pairs.get(pair)
            follow = self._judge(known.chain, pair[2]) if known else None
            if known and follow is not None and follow != known.follow:
                self._pairs.put(pair, _Pair(known.chain, follow))
                self._publish(pair)

    def _publish(self, pair: PairKey) -> None:
        follow = self.follows(pair)
        if follow is not None:
            self._fresh[pair] = Decision(PidnsId(*pair[:2]), pair[2], follow)

    def take_fresh(self) -> list[Decision]:
        """Decisions to report to the source: made, or needed again, since the last call."""
        fresh, self._fresh = self._fresh, {}
        return list(fresh.values())
