"""Batches -> what a screen is told a few times a second: who came, who ended, and how many were too brief to be seen.

Exact: every process that outlives a sample is named when it comes and when it ends, and the others are counted. Pure.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind
from tracer.stream.distinct import distinct
from tracer.stream.failures import is_failure
from tracer.stream.known import Known
from tracer.stream.lanes import Lanes
from tracer.stream.metadata import Container
from tracer.stream.pidns import chain_of
from tracer.stream.schema import CONTAINER_KINDS, KINDS, SHOWN_KINDS, SUMMARY_KINDS, Flag, Kind, Subject
from tracer.text.escape import safe_text

MAX_LIVING = 262_144
MAX_BRIEF, MAX_RAN, MAX_NOTES, MAX_OVER = 64, 20_000, 1000, 100
_LIFE_KINDS = tuple(kind for kind in SHOWN_KINDS if KINDS[kind].subject is Subject.PROCESS)
_MAX_COMMAND = 4096

ProcKey = tuple[int, int]
"""PID on the host and start time: the identity of a process."""


class LaneFacts(msgspec.Struct, frozen=True, array_like=True):
    """A container's processes in one PID namespace. spaces: that namespace and those around it, as (inode number,
    generation), the host's first. parent: the number of the lane around it; None: none."""

    number: int
    label: str
    container: Container | None
    spaces: list[tuple[int, int]]
    parent: int | None

    @property
    def image(self) -> str:
        """The container's image; "": it is none, or not known."""
        return safe_text((self.container and self.container.image) or "")

    @property
    def level(self) -> int:
        """How deep the namespace is; 0: the host's."""
        return len(self.spaces) - 1

    @property
    def pidns(self) -> int:
        """The namespace's inode number."""
        return self.spaces[-1][0]


class Born(msgspec.Struct, frozen=True, array_like=True):
    """A process that lives. pids: the host's first. parent: its identity as it began. uid: None: not known. args: what
    it runs, NUL-ended, b"": not known; is_cut: it had more of them. since_ns: when it began (CLOCK_BOOTTIME);
    was_there: before it could be followed."""

    key: ProcKey
    pids: list[int]
    lane: int
    parent: ProcKey
    uid: int | None
    comm: bytes
    exe: bytes
    args: bytes
    is_cut: bool
    since_ns: int
    was_there: bool


class Ran(msgspec.Struct, frozen=True, array_like=True):
    """A living process's exec, or a failed one: errno is not 0, exe what it tried."""

    key: ProcKey
    ts_ns: int
    uid: int | None
    comm: bytes
    exe: bytes
    args: bytes
    is_cut: bool
    errno: int


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """A process that was named has ended. status: as wait(2) reports it; None: not reported."""

    key: ProcKey
    ts_ns: int
    status: int | None


class Brief(msgspec.Struct, frozen=True, array_like=True):
    """Processes that began and ended between two samples."""

    lane: int
    comm: bytes
    count: int
    failed: int


class Over(msgspec.Struct, frozen=True, array_like=True):
    """One of those processes: it may be a zombie, which no event tells."""

    born: Born
    ended: Ended


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """Events that were lost; of a container where label is not empty."""

    lost: int
    since_ns: int
    until_ns: int
    label: str


class Told(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened to a container as a whole."""

    ts_ns: int
    label: str
    text: str


class Sample(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What has happened since the sample before. now_ns: until when (CLOCK_BOOTTIME). events: how many. living: how
    many processes live. acts: of processes, how many forks and execs were theirs. by_lane: lane, events, failures.
    is_new: forget all that was said before. is_sure: no loss that has not been made up for. over: the last MAX_OVER
    of those that are counted in brief."""

    now_ns: int
    events: int
    living: int
    lanes: list[LaneFacts]
    born: list[Born]
    ran: list[Ran]
    ended: list[Ended]
    brief: list[Brief]
    acts: list[tuple[int, int, int]]
    by_lane: list[tuple[int, int, int]]
    losses: list[Loss]
    told: list[Told]
    is_new: bool = False
    is_sure: bool = True
    over: list[Over] = []


def merged(first: Sample, second: Sample) -> Sample:
    """Two samples, one after the other, as one: for a screen that was not ready for the first one. As large as what
    lives, not as the time that it takes."""
    if second.is_new:
        return second
    keys = {one.key for one in first.born}
    over = {one.key: one for one in second.ended if one.key in keys}
    briefs = {(one.lane, one.comm): one for one in first.brief}
    for one in [*second.brief, *_brief_of(first.born, over)]:
        before = briefs.get((one.lane, one.comm))
        counts = (one.count, one.failed) if before is None else (one.count + before.count, one.failed + before.failed)
        briefs[one.lane, one.comm] = Brief(one.lane, one.comm, *counts)
    acts = Counter({(tgid, start): count for tgid, start, count in [*first.acts]})
    acts.update({(tgid, start): count for tgid, start, count in second.acts})
    lanes = {one.number: one for one in [*first.lanes, *second.lanes]}
    return Sample(
        second.now_ns, first.events + second.events, second.living, list(lanes.values()),
        [one for one in [*first.born, *second.born] if one.key not in over],
        [one for one in [*first.ran, *second.ran] if one.key not in over][-MAX_RAN:],
        [*first.ended, *(one for one in second.ended if one.key not in over)],
        sorted(briefs.values(), key=lambda one: -one.count)[:MAX_BRIEF],
        [(*key, count) for key, count in acts.items()],
        _added(first.by_lane, second.by_lane),
        [*first.losses, *second.losses][-MAX_NOTES:], [*first.told, *second.told][-MAX_NOTES:],
        first.is_new, second.is_sure,
        [*first.over, *second.over, *(Over(one, over[one.key]) for one in first.born if one.key in over)][-MAX_OVER:],
    )  # fmt: skip


def _brief_of(born: Sequence[Born], over: Mapping[ProcKey, Ended]) -> list[Brief]:
    return [Brief(one.lane, one.comm, 1, int(bool(over[one.key].status))) for one in born if one.key in over]


def _added(first: Sequence[tuple[int, int, int]], second: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    sums = {lane: (events, failed) for lane, events, failed in first}
    for lane, events, failed in second:
        before = sums.get(lane, (0, 0))
        sums[lane] = events + before[0], failed + before[1]
    return [(lane, *each) for lane, each in sums.items()]


class Sampler:
    """Receives batches, and says on request what they came to."""

    def __init__(self) -> None:
        self._lanes = Lanes()
        self._said_lanes: dict[int, LaneFacts] = {}
        self._parts: list[tuple[Batch, NDArray[np.int64]]] = []
        self._living: OrderedDict[ProcKey, None] = OrderedDict()
        self._losses: list[Loss] = []
        self._told: list[Told] = []
        self._now_ns = 0
        self._is_new, self._is_sure = True, True

    @property
    def is_due(self) -> bool:
        """Whether there is anything to say."""
        return bool(self._parts or self._losses or self._told or self._is_new)

    def take(self, batch: Batch, attribution: Attribution) -> None:
        """The next rows, and what is known of containers there."""
        if not len(batch):
            return
        self._now_ns = max(self._now_ns, int(batch.rows["ts_ns"].max()))
        for at in np.flatnonzero(of_kind(batch.rows, Kind.GAP, Kind.REPAIR, *CONTAINER_KINDS)).tolist():
            self._aside(batch, at, attribution)
        lives = batch.select(of_kind(batch.rows, *_LIFE_KINDS))
        if len(lives):
            lanes = [self._lanes.number(lives, at, attribution) for at in lives.pairs.first]
            self._parts.append((lives, np.array(lanes, np.int64)[lives.pairs.of_row]))

    def _aside(self, batch: Batch, at: int, attribution: Attribution) -> None:
        row, container = batch.rows[at], attribution.of_row(batch, at)
        label = safe_text(container.label) if container else ""
        if row["kind"] == Kind.GAP:
            self._losses.append(Loss(int(row["seq"]), int(row["start_ns"]), int(row["ts_ns"]), label))
            self._is_sure = False
        elif row["kind"] == Kind.REPAIR:
            self._is_sure = True
        else:
            what = f"{Kind(int(row['kind'])).name.lower()} {fact_of(batch, at).action}"
            self._told.append(Told(int(row["ts_ns"]), label, what))

    def sample(self, now_ns: int = 0) -> Sample:
        """What has come since the last call. now_ns: what time it is, if that is later than the last row."""
        batch = Batch.concat([part for part, _lanes in self._parts])
        lanes = np.concatenate([np.zeros(0, np.int64), *(lanes for _part, lanes in self._parts)])
        told, losses, is_new = self._told, self._losses, self._is_new
        self._parts, self._told, self._losses, self._is_new = [], [], [], False
        self._now_ns = max(self._now_ns, now_ns)
        born, ran, ended, brief, over = self._lives(batch, lanes)
        failed = is_failure(batch.rows)
        counted = of_kind(batch.rows, *SUMMARY_KINDS)
        return Sample(
            self._now_ns, int(counted.sum()), len(self._living), self._lanes_to_say(), born, ran, ended, brief,
            _acts(batch.rows, self._living), _by_lane(lanes, counted, failed), losses, told, is_new,
            self._is_sure, over,
        )  # fmt: skip

    def _lanes_to_say(self) -> list[LaneFacts]:
        """Those that are new or have another name than was said."""
        fresh = []
        for number, lane in enumerate(self._lanes.all):
            spaces = [(space.inum, space.gen) for space in lane.spaces]
            facts = LaneFacts(number, safe_text(lane.label), lane.container, spaces, self._lanes.parent(lane))
            if self._said_lanes.get(number) != facts:
                self._said_lanes[number] = facts
                fresh.append(facts)
        return fresh

    def _lives(
        self, batch: Batch, lanes: NDArray[np.int64]
    ) -> tuple[list[Born], list[Ran], list[Ended], list[Brief], list[Over]]:
        rows = batch.rows
        first, of_row = distinct(rows["tgid"], rows["start_ns"])
        keys = list(zip(rows["tgid"][first].tolist(), rows["start_ns"][first].tolist(), strict=True))
        ends, named = np.zeros(len(keys), bool), np.array([key in self._living for key in keys], bool)
        exits = rows["kind"] == Kind.EXIT
        ends[of_row[exits]] = True
        is_new, listed = ~named, np.zeros(len(keys), bool)
        listed[of_row[rows["kind"] == Kind.SNAPSHOT]] = True  # it is there, perhaps as a zombie
        named |= listed
        ends[of_row[rows["flags"] & Flag.ENDED != 0]] = True
        last = np.zeros(len(keys), np.int64)
        last[of_row] = np.arange(len(rows))
        known = Known(rows)
        born = [
            _born(batch, known, int(first[at]), int(last[at]), int(lanes[last[at]]), keys[at])
            for at in np.flatnonzero(is_new & (~ends | listed)).tolist()
        ]
        self._living.update(dict.fromkeys(one.key for one in born))
        wanted = of_kind(rows, Kind.EXEC, Kind.EXEC_FAILED) & (named | ~ends)[of_row]
        ran = [_ran(batch, known, at, keys[of_row[at]]) for at in np.flatnonzero(wanted).tolist()]
        over = np.flatnonzero(exits & named[of_row]).tolist()
        ended = [_ended(rows[at], keys[of_row[at]]) for at in over if keys[of_row[at]] in self._living]
        for one in ended:
            self._living.pop(one.key, None)
        ended += self._evicted()
        is_brief = exits & ~named[of_row]
        last_ones = np.flatnonzero(is_brief)[-MAX_OVER:].tolist()
        gone = [
            Over(_born(batch, known, at, at, int(lanes[at]), key), _ended(rows[at], key))
            for at in last_ones
            for key in [keys[of_row[at]]]
        ]
        return born, ran, ended, _brief(rows, lanes, is_brief), gone

    def _evicted(self) -> list[Ended]:
        gone = []
        while len(self._living) > MAX_LIVING:
            key, _ = self._living.popitem(last=False)
            gone.append(Ended(key, self._now_ns, None))
        return gone


def _born(batch: Batch, known: Known, first: int, last: int, lane: int, key: ProcKey) -> Born:
    row = batch.rows[first]
    inside = [number.nr for number in chain_of(batch, first)] if row["level"] else []
    runs = last if batch.rows["args_len"][last] else first
    return Born(
        key, [key[0], *inside], lane, (int(row["parent_tgid"]), int(row["parent_start_ns"])),
        _uid(batch, known, first), batch.rows["comm"][last].item(), *_command(batch, runs), key[1],
        bool(row["kind"] == Kind.SNAPSHOT),
    )  # fmt: skip


def _uid(batch: Batch, known: Known, at: int) -> int | None:
    return int(batch.rows["uid"][at]) if known("uid")[at] else None


def _command(batch: Batch, at: int) -> tuple[bytes, bytes, bool]:
    """File, arguments, and whether there are more of these."""
    payload, row = batch.payload(at), batch.rows[at]
    is_cut = bool(row["flags"] & Flag.ARGS_TRUNCATED) or len(payload.args) > _MAX_COMMAND
    return payload.exe, payload.args[:_MAX_COMMAND], is_cut


def _ran(batch: Batch, known: Known, at: int, key: ProcKey) -> Ran:
    row = batch.rows[at]
    errno = max(1, int(row["status"])) if row["kind"] == Kind.EXEC_FAILED else 0
    return Ran(
        key, int(row["ts_ns"]), _uid(batch, known, at), row["comm"].item(), *_command(batch, at), errno
    )  # fmt: skip


def _ended(row: np.void, key: ProcKey) -> Ended:
    return Ended(key, int(row["ts_ns"]), None if row["flags"] & Flag.INFERRED else int(row["status"]))


def _brief(rows: NDArray[np.void], lanes: NDArray[np.int64], which: NDArray[np.bool_]) -> list[Brief]:
    """Those of these exits, by lane and name; the most frequent ones."""
    names, failed = rows["comm"][which], rows["status"][which] != 0
    counts: Counter[tuple[int, bytes]] = Counter()
    failures: Counter[tuple[int, bytes]] = Counter()
    for lane, name, has_failed in zip(lanes[which].tolist(), names.tolist(), failed.tolist(), strict=True):
        counts[lane, name] += 1
        failures[lane, name] += has_failed
    rest: Counter[int] = Counter()
    for (lane, _name), count in counts.most_common()[MAX_BRIEF:]:
        rest[lane] += count
    named = [Brief(lane, name, count, failures[lane, name]) for (lane, name), count in counts.most_common(MAX_BRIEF)]
    return named + [Brief(lane, b"others", count, 0) for lane, count in rest.items()]


def _acts(rows: NDArray[np.void], living: OrderedDict[ProcKey, None]) -> list[tuple[int, int, int]]:
    forks = of_kind(rows, Kind.FORK)
    execs = of_kind(rows, Kind.EXEC)
    tgids = np.concatenate([rows["parent_tgid"][forks], rows["tgid"][execs]])
    starts = np.concatenate([rows["parent_start_ns"][forks], rows["start_ns"][execs]])
    first, of_row = distinct(tgids, starts)
    counts = np.bincount(of_row, minlength=len(first)).tolist() if len(first) else []
    found = zip(tgids[first].tolist(), starts[first].tolist(), counts, strict=True)
    return [(tgid, start, count) for tgid, start, count in found if (tgid, start) in living]


def _by_lane(
    lanes: NDArray[np.int64], counted: NDArray[np.bool_], failed: NDArray[np.bool_]
) -> list[tuple[int, int, int]]:
    if not len(lanes):
        return []
    events, failures = (np.bincount(lanes, weights=each).astype(int).tolist() for each in (counted, failed))
    return [(lane, *each) for lane, each in enumerate(zip(events, failures, strict=True)) if any(each)]
