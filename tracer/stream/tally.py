"""What a stream adds up to, for each container and in all: processes, failures, losses, commands, lives. Pure.

Column by column; what is kept is bounded, and what there was no room for is counted.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.distinct import distinct
from tracer.stream.failures import is_failure
from tracer.stream.killers import is_oom, killer_in
from tracer.stream.known import Known
from tracer.stream.pidns import chain_of
from tracer.stream.schema import SUMMARY_KINDS, Flag, Kind

HOST = ""
"""The name of what is in no container."""
_SECOND_NS = 1_000_000_000
_MAX_PLACES, _MAX_COMMANDS, _MAX_LIVES, _MAX_STEPS, _LATE_S = 4096, 1024, 5, 4096, 64
_INFERRED, _ENDED = int(Flag.INFERRED), int(Flag.ENDED)
_COUNTED = (
    *(Kind.FORK, Kind.EXEC, Kind.EXEC_FAILED, Kind.EXIT, Kind.SNAPSHOT, Kind.MOVE, Kind.GAP),
    *(Kind.THREAD_FORK, Kind.THREAD_EXIT),
)
Places = NDArray[np.intp]
"""For each row the index of its place, shape (n,)."""


class Life(NamedTuple):
    """A process that has ended. duration_ns: how long it lived."""

    duration_ns: int
    pid: int
    comm: bytes


@dataclass
class Tally:
    """What is counted of a container, or in all.

    before: processes that were there already. begun, ended: forks and exits, of which inferred were not reported.
    failed: exits with another code than 0; killed: by a signal; oom: of these for lack of memory. alive and most_alive:
    as far as events report it. ran and failures: by comm, how often a program was run, and failed. longest: the
    longest lives, in a heap; shortest: the shortest one. lost: events; gaps: how many.
    """

    before: int = 0
    begun: int = 0
    execs: int = 0
    failed_execs: int = 0
    ended: int = 0
    inferred: int = 0
    failed: int = 0
    killed: int = 0
    oom: int = 0
    alive: int = 0
    most_alive: int = 0
    lost: int = 0
    gaps: int = 0
    ran: Counter[bytes] = field(default_factory=Counter)
    failures: Counter[bytes] = field(default_factory=Counter)
    longest: list[Life] = field(default_factory=list)
    shortest: Life | None = None

    def add_life(self, life: Life) -> None:
        """Keep it if it is among the longest, or the shortest."""
        if len(self.longest) < _MAX_LIVES:
            heapq.heappush(self.longest, life)
        elif life > self.longest[0]:
            heapq.heapreplace(self.longest, life)
        if self.shortest is None or life < self.shortest:
            self.shortest = life


class Rate:
    """Events by time: in steps of a second, and of two, four and so on where the stream is long. most: the most events
    in one second, counted from the first event on, however long the stream is."""

    def __init__(self) -> None:
        self.step_ns, self.begin_ns = _SECOND_NS, 0
        self.counts = np.zeros(0, np.int64)
        self.most = 0
        self._last: dict[int, int] = {}  # events by second

    def add(self, times_ns: NDArray[np.int64]) -> None:
        """Count events at these times, shape (n,); those before the first are counted with it."""
        if not len(times_ns):
            return
        if not len(self.counts):
            self.begin_ns = int(times_ns.min())
        self._note_most(np.maximum(times_ns - self.begin_ns, 0) // _SECOND_NS)
        steps = np.maximum(times_ns - self.begin_ns, 0) // self.step_ns
        while steps.max() >= _MAX_STEPS:
            self._double()
            steps //= 2
        added = np.bincount(steps)
        counts = np.zeros(max(len(added), len(self.counts)), np.int64)
        counts[: len(self.counts)] += self.counts
        counts[: len(added)] += added
        self.counts = counts

    def _note_most(self, seconds: NDArray[np.int64]) -> None:
        """Events in these seconds, shape (n,). Of the last _LATE_S it is kept how many they had: more may come."""
        found, counts = np.unique(seconds, return_counts=True)
        for second, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._last[second] = count = self._last.get(second, 0) + count
            self.most = max(self.most, count)
        if len(self._last) > _LATE_S:
            self._last = {second: self._last[second] for second in sorted(self._last)[-_LATE_S:]}

    def _double(self) -> None:
        counts = np.append(self.counts, 0) if len(self.counts) % 2 else self.counts
        self.counts, self.step_ns = counts.reshape(-1, 2).sum(axis=1), 2 * self.step_ns


def counted_times(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """When the events among these rows happened that a rate is of: those that were reported. Shape (n,)."""
    times: NDArray[np.int64] = rows["ts_ns"][of_kind(rows, *SUMMARY_KINDS) & (rows["flags"] & _INFERRED == 0)]
    return times.astype(np.int64)


class Tallies:
    """Adds batches up. all: of everything; of: by label of the container, HOST for what is in none, pidns:INUM for a
    namespace of no container that is known. left_out: places there was no room for: they are counted in all alone.
    rate: of events; first_ns and last_ns: from when to when; None: there were none."""

    def __init__(self) -> None:
        self.all = Tally()
        self.of: dict[str, Tally] = {}
        self.rate = Rate()
        self.left_out: set[str] = set()
        self.first_ns: int | None = None
        self.last_ns = 0

    def take(self, batch: Batch, containers: Attribution) -> None:
        """Count the rows of the next batch."""
        batch = batch.select(of_kind(batch.rows, *_COUNTED))
        if not len(batch):
            return
        rows = batch.rows
        times = rows["ts_ns"].astype(np.int64)
        self.first_ns = min(times.min(), self.first_ns) if self.first_ns is not None else int(times.min())
        self.last_ns = max(self.last_ns, int(times.max()))
        self.rate.add(counted_times(rows))
        names, places = _places(batch, containers)
        tallies = [self._tally(name) for name in names]
        self._count(rows, places, tallies)
        self._count_alive(batch, places, tallies, containers)
        self._count_commands(rows, places, tallies)
        self._add_lives(rows, places, tallies)
        self._count_oom(batch, places, tallies)

    def _tally(self, name: str) -> Tally:
        if name not in self.of and len(self.of) >= _MAX_PLACES:
            self.left_out.add(name)
            return Tally()
        return self.of.setdefault(name, Tally())

    def _count(self, rows: NDArray[np.void], places: Places, tallies: list[Tally]) -> None:
        inferred, failure, known = rows["flags"] & _INFERRED != 0, is_failure(rows), Known(rows)
        ends = of_kind(rows, Kind.EXIT)
        by_signal = ends & known("status") & (rows["status"] & 0x7F != 0)
        masks = {
            "before": of_kind(rows, Kind.SNAPSHOT),
            "begun": of_kind(rows, Kind.FORK),
            "execs": of_kind(rows, Kind.EXEC),
            "failed_execs": of_kind(rows, Kind.EXEC_FAILED),
            "ended": ends,
            "inferred": inferred & of_kind(rows, *SUMMARY_KINDS),
            "failed": failure & ends & ~by_signal,
            "killed": by_signal,
            "gaps": of_kind(rows, Kind.GAP),
        }
        for name, mask in masks.items():
            self._add(name, np.bincount(places[mask], minlength=len(tallies)), tallies)
        gaps = masks["gaps"]
        if gaps.any():
            lost = np.bincount(places[gaps], rows["seq"][gaps], len(tallies))
            self._add("lost", lost.astype(np.int64), tallies)

    def _add(self, name: str, counts: NDArray[np.int64], tallies: list[Tally]) -> None:
        for place in np.flatnonzero(counts).tolist():
            count = int(counts[place])
            for tally in (tallies[place], self.all):
                setattr(tally, name, getattr(tally, name) + count)

    def _count_alive(self, batch: Batch, places: Places, tallies: list[Tally], containers: Attribution) -> None:
        """In the order of the rows: what begins, and what ends. What moves leaves one place and comes into another."""
        rows = batch.rows
        change = of_kind(rows, Kind.FORK).astype(np.int64) - of_kind(rows, Kind.EXIT)
        change += of_kind(rows, Kind.SNAPSHOT) & (rows["flags"] & _ENDED == 0)
        _follow(self.all, change)
        for at in np.flatnonzero(of_kind(rows, Kind.MOVE)).tolist():
            left = self.of.get(_name_of(batch, at, containers, int(rows["seq"][at])))
            if left is not None and left is not tallies[places[at]]:
                left.alive -= 1
                change[at] = 1
        changed = np.flatnonzero(change)
        order = changed[np.argsort(places[changed], kind="stable")]
        bounds = np.searchsorted(places[order], np.arange(len(tallies) + 1))
        for place, tally in enumerate(tallies):
            _follow(tally, change[order[bounds[place] : bounds[place + 1]]])

    def _count_commands(self, rows: NDArray[np.void], places: Places, tallies: list[Tally]) -> None:
        """By the name that the kernel shows."""
        failed = is_failure(rows) & of_kind(rows, Kind.EXIT)
        at = np.flatnonzero(failed | of_kind(rows, Kind.EXEC))
        names = np.ascontiguousarray(rows["comm"][at]).view("<u8").reshape(-1, 2)
        first, of_row = distinct(names[:, 0], names[:, 1], places[at], failed[at].view(np.uint8))
        counts = np.bincount(of_row, minlength=len(first)).tolist()
        for index, count in zip(at[first].tolist(), counts, strict=True):
            comm = bytes(rows["comm"][index])
            for tally in (tallies[places[index]], self.all):
                _count_one(tally.failures if failed[index] else tally.ran, comm, count)

    def _add_lives(self, rows: NDArray[np.void], places: Places, tallies: list[Tally]) -> None:
        at = np.flatnonzero(Known(rows)("duration_ns"))
        lived = (rows["ts_ns"][at] - rows["start_ns"][at]).view(np.int64)
        order = np.lexsort((lived, places[at]))
        bounds = np.searchsorted(places[at][order], np.arange(len(tallies) + 1)).tolist()
        for tally, begin, end in zip(tallies, bounds[:-1], bounds[1:], strict=True):
            for place in {*range(begin, min(end, begin + 1)), *range(max(begin, end - _MAX_LIVES), end)}:
                index = int(at[order[place]])
                life = Life(int(lived[order[place]]), int(rows["tgid"][index]), bytes(rows["comm"][index]))
                tally.add_life(life)
                self.all.add_life(life)

    def _count_oom(self, batch: Batch, places: Places, tallies: list[Tally]) -> None:
        for at in np.flatnonzero(batch.rows["killer_len"]).tolist():
            if is_oom(killer_in(batch.payload(at).killer)):
                tallies[places[at]].oom += 1
                self.all.oom += 1


def _places(batch: Batch, containers: Attribution) -> tuple[list[str], Places]:
    """The names of the places of the rows, and which each row's is."""
    names = [_name_of(batch, at, containers) for at in batch.pairs.first]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(numbers), np.array([numbers[name] for name in names], np.intp)[batch.pairs.of_row]


def _name_of(batch: Batch, at: int, containers: Attribution, cgroup_id: int | None = None) -> str:
    """The name of the place of a row. cgroup_id: as if its process were in that one."""
    if cgroup_id is None:
        container = containers.of_row(batch, at)
    else:
        container = containers.container(chain_of(batch, at), cgroup_id)
    if container:
        return container.label
    row = batch.rows[at]
    return f"pidns:{row['chain']['inum'][0]}" if row["level"] > 0 else HOST


def _follow(tally: Tally, change: NDArray[np.int64]) -> None:
    """Change the number of those alive."""
    if len(change):
        alive = tally.alive + np.cumsum(change)
        tally.most_alive = max(tally.most_alive, int(alive.max()))
        tally.alive = int(alive[-1])


def _count_one(counts: Counter[bytes], comm: bytes, count: int) -> None:
    """Where there is no room, the half that occurred least is forgotten."""
    if comm not in counts and len(counts) >= _MAX_COMMANDS:
        kept = counts.most_common(_MAX_COMMANDS // 2)
        counts.clear()
        counts.update(dict(kept))
    counts[comm] += count
