"""Whose events were lost: the programs count losses by CPU and pair of namespace and cgroup; gaps have their number.

Pure. A gap is attributed to a pair only where the counters leave no other choice: exact or silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

PairKey = tuple[int, int, int]
"""Innermost PID namespace (inum, gen) and cgroup id."""


class Loser(NamedTuple):
    """Whose losses, and why. pair: None: not known. throttled: refused for the sake of others, not for lack of room;
    False where that is not known."""

    pair: PairKey | None
    throttled: bool = False


Share = tuple[Loser, int]
NOBODY = Loser(None)


class LossLedger:
    """What one CPU has lost of each pair, compared with the gaps reported for that CPU.

    The counters run ahead of the gaps: a hole in the sequence numbers shows only with the next event after it.
    """

    def __init__(self) -> None:
        self._settled: Counter[Loser] = Counter()  # the counters when gaps and counters last agreed,
        self._unsettled = 0  # and how much was reported since without knowing whose

    def shares(self, gaps: Sequence[int], totals: Mapping[Loser, int], failed: int) -> list[list[Share]]:
        """For each gap the pairs that lost events in it, and how many each.

        gaps: events lost in each gap of this CPU now. totals: the CPU's losses until now. failed: its losses in all,
        read before; more than in totals where there was no room for another pair.
        """
        since = Counter(totals) - self._settled
        reported, lost = sum(gaps), since.total()
        if failed > sum(totals.values()) or reported + self._unsettled > lost:
            self._unsettled += reported
            return [[(NOBODY, gap)] for gap in gaps]
        if len(since) == 1:
            (loser,) = since
            self._settled[loser] += reported + self._unsettled
            self._unsettled = 0
            return [[(loser, gap)] for gap in gaps]
        one_by_one = len(gaps) == 1 and not self._unsettled and reported == lost
        self._unsettled += reported
        if self._unsettled == lost:  # the counters are not ahead of the gaps
            self._settled, self._unsettled = Counter(totals), 0
        if one_by_one:
            return [list(since.items())]
        pairs = {loser.pair for loser in since}
        whose = Loser(pairs.pop()) if len(pairs) == 1 else NOBODY
        return [[(whose, gap)] for gap in gaps]
