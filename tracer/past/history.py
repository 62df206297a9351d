"""Which process had which number when: lifetimes by PID namespace and number, of recorded batches. Pure.

Built by columns, looked up by searchsorted. Every answer is right or says that it is not known: events may have been
lost, and what was before the first and after the last event is not recorded. All times are boottime, in ns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.past.gaps import NEVER_NS, Gaps, Hole
from tracer.past.reports import Fate
from tracer.stream.batch import NUMBER, Batch, of_kind
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, ProcId
from tracer.stream.schema import CONTAINER_KINDS, STREAM_KINDS, TOLD_LATER, Flag, Kind

_NR_BITS = 23  # a PID has 22 and may be 1 << 22
_NOBODY = -1


@dataclass(frozen=True)
class Lifetime:
    """A process that had the number. process: its index in the history. seen_ns: until then it lived for certain.

    end_ns: when its last thread ended; None: not known. at_the_latest: no event reported its end, which was found
    later: it ended at end_ns or at some time before.
    """

    process: int
    proc_id: ProcId
    seen_ns: int
    end_ns: int | None
    at_the_latest: bool


class Holder(NamedTuple):
    """Which process has a number at a moment.

    living: the process that has it; with a hole: that may still have it. hole: where events are missing that could
    change the answer; None: it is certain. before and after: the processes that had it last, and have it next. An ended
    process keeps the number until its parent reaps it, which no event reports.
    """

    living: Lifetime | None
    hole: Hole | None
    before: Lifetime | None
    after: Lifetime | None


class History:
    """batch: a recording's rows, or those of them that are about the numbers to look up, with all GAP and REPAIR rows.
    begins_ns: from then on every process was reported; ends_ns: until then."""

    def __init__(self, batch: Batch, begins_ns: int, ends_ns: int) -> None:
        self.batch, self.begins_ns, self.ends_ns = batch, begins_ns, ends_ns
        self.gaps = Gaps(batch.rows)
        rows = batch.rows
        about = np.flatnonzero(~of_kind(rows, *STREAM_KINDS, *CONTAINER_KINDS))
        tgid, start = rows["tgid"][about], rows["start_ns"][about].astype(np.int64)
        order = np.lexsort((tgid, start))
        tgid, start = tgid[order], start[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (tgid[1:] != tgid[:-1]) | (start[1:] != start[:-1])
        self._heads = np.flatnonzero(is_first)
        self._rows = about[order]  # of each process together, processes in order of their start
        self.tgid, self.start = tgid[self._heads], start[self._heads]
        self._index_ends()
        self._index_numbers()

    def __len__(self) -> int:
        return len(self._heads)

    def _index_ends(self) -> None:
        """Set when each process ended: an exit event reports the time. That it was in no list any more (an inferred
        exit), or a zombie in one, shows only that it had ended by then; that it was in one shows only that it lived at
        some time before that is told."""
        rows = self.batch.rows[["kind", "flags", "ts_ns"]][self._rows]
        times = rows["ts_ns"].astype(np.int64)
        is_exit, inferred = rows["kind"] == Kind.EXIT, rows["flags"] & Flag.INFERRED != 0
        was_over = (is_exit & inferred) | (rows["kind"] == Kind.SNAPSHOT) & (rows["flags"] & Flag.ENDED != 0)
        self.exit = self._least(times, is_exit & ~inferred)
        self._found_ended = self._least(times, was_over)
        lived = np.where(was_over | (rows["flags"] & TOLD_LATER != 0), -1, times)
        seen = np.maximum.reduceat(lived, self._heads) if len(self) else lived
        self.seen = np.minimum(np.maximum(seen, self.start), self.exit)

    def _least(self, times: NDArray[np.int64], which: NDArray[np.bool_]) -> NDArray[np.int64]:
        """For each process the first of its times that count; NEVER_NS: there is none."""
        counting = np.where(which, times, NEVER_NS)
        return np.minimum.reduceat(counting, self._heads) if len(self) else counting

    def _index_numbers(self) -> None:
        """Make one entry for each number of each process, by slot (namespace and number), then in order of start."""
        first = self.batch.rows[["chain", "level", "deep_len"]][self._rows[self._heads]]
        everyone = np.arange(len(self))
        parts = [
            (np.full(len(self), INITIAL_PIDNS.inum, np.uint64), np.zeros(len(self), np.uint64), self.tgid, everyone)
        ]
        for level in range(first["chain"].shape[1]):
            inside = np.flatnonzero(first["level"] > level)
            number = first["chain"][inside, level]
            parts.append((number["inum"].astype(np.uint64), number["gen"], number["nr"], inside))
        for one in np.flatnonzero(first["deep_len"]).tolist():
            deep = np.frombuffer(self.batch.payload(int(self._rows[self._heads[one]])).deep, NUMBER)
            parts.append((deep["inum"].astype(np.uint64), deep["gen"], deep["nr"], np.full(len(deep), one)))
        inum, gen, nr, process = (np.concatenate(column) for column in zip(*parts, strict=True))
        slots = self._space_of(inum, gen) << _NR_BITS | nr.astype(np.int64)
        order = np.lexsort((process, slots))
        self._entries = process[order]
        self._slots, self._slot_heads = np.unique(slots[order], return_index=True)
        self._slot_ends = np.append(self._slot_heads[1:], len(order))
        slot_of_entry = np.repeat(np.arange(len(self._slots)), self._slot_ends - self._slot_heads)
        self._keys = slot_of_entry * (len(self) + 1) + self._entries
        self._index_given_away(slot_of_entry)

    def _index_given_away(self, slot_of_entry: NDArray[np.int64]) -> None:
        """Limit ends that were not reported: the process had ended before any of its numbers was given to another."""
        next_start = np.full(len(self._entries), NEVER_NS)
        has_next = slot_of_entry[1:] == slot_of_entry[:-1]
        next_start[:-1][has_next] = self.start[self._entries[1:][has_next]]
        np.minimum.at(self._found_ended, self._entries, next_start)
        self.end = np.where(self.exit < NEVER_NS, self.exit, self._found_ended)

    def _space_of(self, inum: NDArray[np.uint64], gen: NDArray[np.uint64]) -> NDArray[np.int64]:
        """An index for each namespace."""
        order = np.lexsort((gen, inum))
        inum, gen = inum[order], gen[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (inum[1:] != inum[:-1]) | (gen[1:] != gen[:-1])
        names = zip(inum[is_first].tolist(), gen[is_first].tolist(), strict=True)
        self.spaces = {PidnsId(*name): number for number, name in enumerate(names)}
        numbers = np.empty(len(order), np.int64)
        numbers[order] = np.cumsum(is_first) - 1
        return numbers

    def at(self, pidns: PidnsId, nr: int, moment_ns: int) -> Holder:
        """Which process has this number of this namespace at a moment."""
        entries = self._of(pidns, nr)
        place = int(np.searchsorted(self.start[entries], moment_ns, side="right"))
        before, last, after = (
            self.lifetime(int(entries[index])) if 0 <= index < len(entries) else None
            for index in (place - 2, place - 1, place)
        )
        if last is None:
            return Holder(None, self.hole(moment_ns, moment_ns, self.begins_ns), None, after)
        hole = None if moment_ns <= last.seen_ns else self.hole(moment_ns, moment_ns, last.seen_ns)
        if last.end_ns is not None and last.end_ns <= moment_ns:
            return Holder(None, self.hole(moment_ns, moment_ns, last.seen_ns), last, after)
        return Holder(last, hole, before, after)

    def during(
        self, pidns: PidnsId, nr: int, begin_ns: int, end_ns: int, most: int | None = None
    ) -> tuple[list[Lifetime], Hole | None]:
        """All processes that had the number at some time from begin to end, the first of them where `most` is given;
        and where events are missing that could tell of others, or of the end of one of them before that."""
        entries = self._of(pidns, nr)
        meets = (self.start[entries] <= end_ns) & (self.end[entries] > begin_ns)
        found = [self.lifetime(process) for process in entries[meets][:most].tolist()]
        if len(found) == 1 and found[0].proc_id.start_ns <= begin_ns and found[0].seen_ns >= end_ns:
            return found, None
        before = int(np.searchsorted(self.start[entries], begin_ns, side="right")) - 1
        known_ns = self.begins_ns if before < 0 else int(self.seen[entries[before]])
        return found, self.hole(begin_ns, end_ns, min(begin_ns, known_ns))

    def holders(
        self, spaces: NDArray[np.int64], numbers: NDArray[np.int64], moments_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """`at` for many at once: the process that has each number, -1 for none, and whether that is certain.

        spaces: as `self.spaces` numbers the namespaces, -1 for one that is not in it; all of shape (n,).
        """
        last = self._last(spaces << _NR_BITS | numbers, moments_ns)
        if not len(self):
            return last, ~self._is_hole(moments_ns, np.full_like(moments_ns, self.begins_ns))
        seen = np.where(last >= 0, self.seen[last], self.begins_ns)
        is_over = (last >= 0) & (self.end[last] <= moments_ns)
        lives = (last >= 0) & ~is_over
        certain = (lives & (moments_ns <= seen)) | ~self._is_hole(moments_ns, seen)
        return np.where(lives, last, _NOBODY), certain

    def lifetime(self, process: int) -> Lifetime:
        """The lifetime of the process with this index."""
        end = int(self.end[process])
        return Lifetime(
            process,
            ProcId(int(self.tgid[process]), int(self.start[process])),
            int(self.seen[process]),
            None if end == NEVER_NS else end,
            int(self.exit[process]) == NEVER_NS and end != NEVER_NS,
        )

    def life_of(self, proc_id: ProcId) -> Lifetime | None:
        """The lifetime of a process; None: no row is about it."""
        first, last = np.searchsorted(self.start, [proc_id.start_ns, proc_id.start_ns + 1]).tolist()
        found = first + np.flatnonzero(self.tgid[first:last] == proc_id.tgid)
        return self.lifetime(int(found[0])) if len(found) else None

    def fate(self, proc_id: ProcId, moment_ns: int) -> Fate:
        """What had become of a process at a moment."""
        life = self.life_of(proc_id)
        if life is None or proc_id.start_ns > moment_ns:
            return Fate(lives=False)
        if life.end_ns is not None and life.end_ns <= moment_ns:
            return Fate(lives=False, ended_ns=life.end_ns)
        return Fate(lives=moment_ns <= life.seen_ns or self.hole(moment_ns, moment_ns, life.seen_ns) is None)

    def rows_of(self, process: int) -> NDArray[np.int64]:
        """The indices in the batch of a process's rows, in their order."""
        end = self._heads[process + 1] if process + 1 < len(self) else len(self._rows)
        rows: NDArray[np.int64] = self._rows[self._heads[process] : end]
        return rows

    def hole(self, begin_ns: int, end_ns: int, known_ns: int) -> Hole | None:
        """Where events are missing that could mislead at some time from begin to end about what happened after
        known_ns; None: nowhere."""
        if begin_ns < self.begins_ns:
            return Hole(None, self.begins_ns)
        if end_ns > self.ends_ns:
            return Hole(self.ends_ns, None)
        return self.gaps.hole(begin_ns, end_ns, known_ns)

    def _last(self, slots: NDArray[np.int64], moments_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each slot the process that had it last, started at a moment or before; -1: none.

        One search in all entries: slot and start make one number, where the starts are numbered in their order.
        """
        if not len(self._slots):
            return np.full(len(slots), _NOBODY)
        found = np.minimum(np.searchsorted(self._slots, slots), len(self._slots) - 1)
        started = np.searchsorted(self.start, moments_ns, side="right")  # processes are in order of their start
        place = np.searchsorted(self._keys, found * (len(self) + 1) + started) - 1
        is_there = (self._slots[found] == slots) & (place >= self._slot_heads[found])
        last: NDArray[np.int64] = np.where(is_there, self._entries[place], _NOBODY)
        return last

    def _of(self, pidns: PidnsId, nr: int) -> NDArray[np.int64]:
        """The processes that had this number, in order of their start."""
        space = self.spaces.get(pidns)
        slot = _NOBODY if space is None or not 0 < nr < 1 << _NR_BITS else space << _NR_BITS | nr
        found = int(np.searchsorted(self._slots, slot))
        if found == len(self._slots) or self._slots[found] != slot:
            return np.empty(0, np.int64)
        processes: NDArray[np.int64] = self._entries[self._slot_heads[found] : self._slot_ends[found]]
        return processes

    def _is_hole(self, moments_ns: NDArray[np.int64], known_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        outside = (moments_ns < self.begins_ns) | (moments_ns > self.ends_ns)
        return outside | self.gaps.unsure(moments_ns, known_ns)
