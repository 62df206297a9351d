"""Processes that were born and ended within one batch: most of a storm. Pure.

They are set aside as the rows that told of them, until someone asks; most are forgotten before. So that nothing else
can tell, their numbers are kept: whoever is born with one of them has them looked at first.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.events import Batch, Flag, Kind, of_kind
from tracer.pidns import INITIAL_PIDNS, PidnsId

_FEW = 128  # fewer are quicker taken one by one
_ODD = int(Flag.INFERRED | Flag.ENDED)
Numbers = dict[PidnsId, set[int]]


def split(batch: Batch) -> tuple[Batch, Batch]:
    """The batch without the rows of such processes, and these rows; only where no number was given away within it."""
    rows = batch.rows
    usual = (rows["level"] <= 1) & (rows["flags"] & _ODD == 0)
    born = np.flatnonzero((rows["kind"] == Kind.FORK) & usual)
    if len(born) < _FEW:
        return batch, Batch.concat([])
    born = born[np.argsort(rows["tgid"][born])]
    ended = np.flatnonzero((rows["kind"] == Kind.EXIT) & usual)
    places = np.searchsorted(rows["tgid"][born], rows["tgid"][ended])
    found = places < len(born)
    places, ended = places[found], ended[found]
    same = _same_process(rows, born[places], ended)
    brief = np.zeros(len(born), bool)
    brief[places[same]] = True
    born = born[brief]
    if len(born) < _FEW:
        return batch, Batch.concat([])
    places = np.minimum(np.searchsorted(rows["tgid"][born], rows["tgid"]), len(born) - 1)
    is_theirs = of_kind(rows, Kind.FORK, Kind.EXEC, Kind.EXIT)
    is_theirs &= _same_process(rows, born[places], np.arange(len(rows)))
    theirs, others = batch.select(is_theirs), batch.select(~is_theirs)
    if not _all_differ(theirs, others):
        return batch, Batch.concat([])
    return others, theirs


def _same_process(rows: NDArray[np.void], one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = rows["tgid"][one] == rows["tgid"][other]
    same &= rows["start_ns"][one] == rows["start_ns"][other]
    return same


def _all_differ(theirs: Batch, others: Batch) -> bool:
    """Whether each number was one process's alone."""
    mine = numbers_of(theirs)
    births = int((theirs.rows["kind"] == Kind.FORK).sum())
    if len(mine[INITIAL_PIDNS]) < births:
        return False
    inside = int(((theirs.rows["kind"] == Kind.FORK) & (theirs.rows["level"] == 1)).sum())
    if sum(map(len, mine.values())) < births + inside:
        return False
    appearing = others.select(of_kind(others.rows, Kind.FORK, Kind.EXEC, Kind.SNAPSHOT))
    return all(mine[pidns].isdisjoint(nrs) for pidns, nrs in numbers_of(appearing).items() if pidns in mine)


def numbers_of(batch: Batch) -> Numbers:
    """The numbers of the processes in the rows: on the host and in their innermost namespaces."""
    rows, pairs = batch.rows, batch.pairs
    numbers: Numbers = {INITIAL_PIDNS: set(rows["tgid"].tolist())}
    nrs = rows["chain"]["nr"][:, 0]
    for pair, (key, first) in enumerate(zip(pairs.keys, pairs.first, strict=True)):
        if rows["level"][first]:
            mine = nrs if len(pairs.keys) == 1 else nrs[pairs.of_row == pair]
            numbers.setdefault(PidnsId(*key[:2]), set()).update(mine.tolist())
    return numbers


class _Entry(NamedTuple):
    batch: Batch
    numbers: Numbers
    processes: int
    last_ns: int


class Aside:
    """Those set aside, oldest first. count: how many processes."""

    def __init__(self) -> None:
        self.count = 0
        self._entries: deque[_Entry] = deque()
        self._numbers: Numbers = {}

    def knows(self, pidns: PidnsId, nr: int) -> bool:
        """Whether one of them had this number there."""
        return nr in self._numbers.get(pidns, ())

    def meets(self, numbers: Numbers) -> bool:
        """Whether one of them had one of these numbers."""
        return any(not self._numbers[pidns].isdisjoint(nrs) for pidns, nrs in numbers.items() if pidns in self._numbers)

    def put(self, batch: Batch, numbers: Numbers) -> None:
        """The rows of such processes, none of whose numbers is here."""
        entry = _Entry(batch, numbers, int((batch.rows["kind"] == Kind.FORK).sum()), int(batch.rows["ts_ns"].max()))
        self._entries.append(entry)
        self.count += entry.processes
        for pidns, nrs in numbers.items():
            self._numbers.setdefault(pidns, set()).update(nrs)

    def drop(self, before_ns: int, keep: int) -> None:
        """Forget those that ended before a time, as long as so many are left."""
        while (
            self._entries and self._entries[0].last_ns < before_ns and self.count - self._entries[0].processes >= keep
        ):
            entry = self._entries.popleft()
            self.count -= entry.processes
            for pidns, nrs in entry.numbers.items():
                self._numbers[pidns] -= nrs
                if not self._numbers[pidns]:
                    del self._numbers[pidns]

    def take_all(self) -> list[Batch]:
        """Give them back."""
        batches = [entry.batch for entry in self._entries]
        self._entries.clear()
        self._numbers.clear()
        self.count = 0
        return batches
