"""Whose events were lost: the programs count losses by CPU and pair of namespace and cgroup; gaps tell their number.

Pure. A gap is told as a pair's only where the counters leave no other choice: exact or silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

PairKey = tuple[int, int, int]
"""Innermost PID namespace (inum, gen) and cgroup id."""
Totals = Mapping[PairKey, int]
Share = tuple[PairKey | None, int]


class Losses:
    """What one CPU has lost of each pair, against the gaps told of that CPU.

    The counters run ahead of the gaps: a hole in the sequence numbers shows only with the next event behind it.
    """

    def __init__(self) -> None:
        self._settled: Counter[PairKey] = Counter()  # the counters when gaps and counters last agreed,
        self._unsettled = 0  # and how much was told since without knowing whose

    def shares(self, gaps: Sequence[int], totals: Totals, failed: int) -> list[list[Share]]:
        """For each gap whose it was, as (pair, how many); None for a pair: it cannot be told.

        gaps: events lost in each gap of this CPU now. totals: the CPU's losses by pair until now. failed: its losses
        in all, read before; more than totals have where there was no room for another pair.
        """
        since = Counter(totals) - self._settled
        told = sum(gaps)
        if failed > sum(totals.values()):
            return self._unknown(gaps)
        if len(since) == 1 and told + self._unsettled <= since.total():
            (pair,) = since
            self._settled[pair] += told + self._unsettled
            self._unsettled = 0
            return [[(pair, lost)] for lost in gaps]
        if since.total() == told + self._unsettled:  # the counters have not run ahead
            one_by_one = len(gaps) == 1 and not self._unsettled
            self._settled, self._unsettled = Counter(totals), 0
            return [list(since.items())] if one_by_one else [[(None, lost)] for lost in gaps]
        return self._unknown(gaps)

    def _unknown(self, gaps: Sequence[int]) -> list[list[Share]]:
        self._unsettled += sum(gaps)
        return [[(None, lost)] for lost in gaps]
