"""Processes that were born and ended within one batch: most of a storm. Pure.

They are set aside as the rows that reported them, until a look-up needs them; most are forgotten before. So that
nothing else shows a difference, their numbers are kept: a process that is born with one of them settles them first.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, of_kind, pick
from tracer.stream.distinct import distinct
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, chain_of
from tracer.stream.schema import INLINE_LEVELS, LIFE_KINDS, TRACED_KINDS, Flag, Kind

_FEW = 128  # fewer are faster one by one
_ODD = int(Flag.INFERRED | Flag.ENDED)
Numbers = dict[PidnsId, set[int]]


class ShortLived(NamedTuple):
    """Such processes. rows: all rows about them, without names and arguments; numbers: theirs, each had by one only."""

    rows: NDArray[np.void]
    numbers: Numbers
    processes: int


def split(batch: Batch) -> tuple[Batch, ShortLived | None]:
    """The batch without the rows of short-lived processes, and these; None: too few, or they share numbers."""
    rows = batch.rows
    kinds = np.ascontiguousarray(rows["kind"])
    is_birth = (kinds == Kind.FORK) & (rows["level"] <= 1) & (rows["flags"] & _ODD == 0)
    births = np.flatnonzero(is_birth)
    if len(births) < _FEW:
        return batch, None
    tgids, starts = np.ascontiguousarray(rows["tgid"]), np.ascontiguousarray(rows["start_ns"])
    slots = tgids & np.uint32(_slots(len(births)) - 1)
    in_slot = np.zeros(_slots(len(births)), np.intp)
    in_slot[slots[births]] = births  # a process that loses its slot to another is not set aside
    birth = in_slot[slots]
    is_theirs = is_birth[birth] & (tgids == tgids[birth]) & (starts == starts[birth])
    is_theirs &= of_kind(rows, *TRACED_KINDS)
    has_ended = np.zeros(len(rows), bool)
    has_ended[birth[is_theirs & (kinds == Kind.EXIT) & (rows["flags"] & _ODD == 0)]] = True
    is_theirs &= has_ended[birth]
    if (processes := int(np.count_nonzero(has_ended))) < _FEW:
        return batch, None
    numbers = numbers_of(Batch(pick(rows, np.flatnonzero(has_ended))))
    others = batch.select(~is_theirs)
    if not _all_differ(numbers, int((rows["level"][has_ended] == 1).sum()) + processes, others):
        return batch, None
    theirs = pick(rows, is_theirs)
    for name in ("deep_len", "exe_len", "args_len", "killer_len"):  # none of them has a deep chain
        theirs[name] = 0
    return others, ShortLived(theirs, numbers, processes)


def _slots(count: int) -> int:
    """A power of two, so large that few numbers of so many consecutive ones share a slot."""
    return 4 << count.bit_length()


def _all_differ(mine: Numbers, count: int, others: Batch) -> bool:
    """Whether each of these numbers, count in all, belonged to one process only."""
    if sum(map(len, mine.values())) < count:
        return False
    appearing = others.select(of_kind(others.rows, *LIFE_KINDS))
    return all(mine[pidns].isdisjoint(nrs) for pidns, nrs in numbers_of(appearing).items() if pidns in mine)


def numbers_of(batch: Batch) -> Numbers:
    """The numbers of the processes in the rows, on the host and in all their namespaces, by namespace."""
    rows, chain = batch.rows, batch.rows["chain"]
    numbers: Numbers = {INITIAL_PIDNS: set(rows["tgid"].tolist())}
    for depth in range(INLINE_LEVELS):
        inside = np.flatnonzero(rows["level"] > depth)
        inum, gen, nr = (chain[name][inside, depth] for name in ("inum", "gen", "nr"))
        first, of_row = distinct(inum, gen)
        for place, at in enumerate(first.tolist()):
            mine = nr if len(first) == 1 else nr[of_row == place]
            numbers.setdefault(PidnsId(int(inum[at]), int(gen[at])), set()).update(mine.tolist())
    for at in np.flatnonzero(rows["level"] > INLINE_LEVELS).tolist():
        for number in chain_of(batch, at):
            numbers.setdefault(number.pidns, set()).add(number.nr)
    return numbers


class _Entry(NamedTuple):
    brief: ShortLived
    last_ns: int


class Aside:
    """The processes that were set aside, oldest first. count: how many."""

    def __init__(self) -> None:
        self.count = 0
        self._entries: deque[_Entry] = deque()
        self._numbers: Numbers = {}

    def knows(self, pidns: PidnsId, nr: int) -> bool:
        """Whether one of them had this number in this namespace."""
        return nr in self._numbers.get(pidns, ())

    def meets(self, numbers: Numbers) -> bool:
        """Whether one of them had one of these numbers."""
        return any(not self._numbers[pidns].isdisjoint(nrs) for pidns, nrs in numbers.items() if pidns in self._numbers)

    def put(self, brief: ShortLived) -> None:
        """Add processes, none of whose numbers is known here."""
        self._entries.append(_Entry(brief, int(brief.rows["ts_ns"].max())))
        self.count += brief.processes
        for pidns, nrs in brief.numbers.items():
            self._numbers.setdefault(pidns, set()).update(nrs)

    def drop(self, before_ns: int, keep: int) -> None:
        """Forget processes that ended before a time, as long as `keep` of them are left."""
        while self._entries and self._entries[0].last_ns < before_ns:
            brief = self._entries[0].brief
            if self.count - brief.processes < keep:
                return
            self._entries.popleft()
            self.count -= brief.processes
            for pidns, nrs in brief.numbers.items():
                self._numbers[pidns] -= nrs
                if not self._numbers[pidns]:
                    del self._numbers[pidns]

    def take_all(self) -> list[Batch]:
        """Remove and return all of them, as batches in their order."""
        batches = [Batch(entry.brief.rows) for entry in self._entries]
        self._entries.clear()
        self._numbers.clear()
        self.count = 0
        return batches
