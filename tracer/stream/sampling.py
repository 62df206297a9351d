"""Batches -> samples: who came, who ended, and how many were too brief to be seen. Pure.

Exact: every process that lives, or has ended a moment ago after more than a moment, is named; the others are counted.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind
from tracer.stream.distinct import distinct
from tracer.stream.failures import is_failure
from tracer.stream.known import Known
from tracer.stream.lanes import Lanes
from tracer.stream.pidns import chain_of
from tracer.stream.repair import identity
from tracer.stream.samples import (
    BRIEF_NS,
    MAX_BRIEF,
    MAX_OVER,
    WINDOW_NS,
    Born,
    Brief,
    Ended,
    LaneCounts,
    LaneFacts,
    Loss,
    Moved,
    Over,
    ProcKey,
    Ran,
    Sample,
    Told,
)
from tracer.stream.schema import CONTAINER_KINDS, KINDS, SHOWN_KINDS, SUMMARY_KINDS, Flag, Kind, Subject
from tracer.text.escape import safe_text

MAX_LIVING = 262_144
_LIFE_KINDS = tuple(kind for kind in SHOWN_KINDS if KINDS[kind].subject is Subject.PROCESS)
_MAX_COMMAND = 4096
_RECENT = np.dtype(
    [
        ("ts_ns", "<i8"), ("lane", "<i8"), ("tgid", "<u4"), ("start_ns", "<u8"), ("comm", "S16"),
        ("counts", "?"), ("acts", "?"), ("ends", "?"), ("brief", "?"), ("failed", "?"),
    ]
)  # fmt: skip
"""What is kept of a row for WINDOW_NS. tgid, start_ns: whose it is: of a fork the parent's. acts: a fork or exec, as
long as that one is not known to have ended. ends: its end; brief: after a brief life."""


class Sampler:
    """Receives batches, and says on request what they came to."""

    def __init__(self) -> None:
        self._lanes = Lanes()
        self._said_lanes: dict[int, LaneFacts] = {}
        self._parts: list[tuple[Batch, NDArray[np.int64]]] = []
        self._living: OrderedDict[ProcKey, int] = OrderedDict()  # with their lanes
        self._recent = np.zeros(0, _RECENT)
        self._losses: list[Loss] = []
        self._told: list[Told] = []
        self._now_ns = 0
        self._is_new, self._is_sure = True, True

    def take(self, batch: Batch, attribution: Attribution) -> None:
        """The next rows, and what is known of containers there."""
        if not len(batch):
            return
        self._now_ns = max(self._now_ns, int(batch.rows["ts_ns"].max()))
        self._lanes.learn(batch, attribution)
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
        fresh = _recent(batch.rows, lanes)
        self._recent = np.concatenate([self._recent, fresh])
        self._recent = self._recent[self._recent["ts_ns"] > self._now_ns - WINDOW_NS]
        _note_ends(self._recent, fresh)
        born, ran, ended, over, moved = self._lives(batch, lanes)
        return Sample(
            self._now_ns, int(fresh["counts"].sum()), len(self._living), self._lanes_to_say(), born, ran, ended,
            _brief(self._recent), _acts(self._recent, self._living), _by_lane(self._recent, fresh), losses, told,
            is_new, self._is_sure, over, moved,
        )  # fmt: skip

    def _lanes_to_say(self) -> list[LaneFacts]:
        """Those that are new or have another name than was said."""
        fresh = []
        for number, lane in enumerate(self._lanes.all):
            spaces = [(space.inum, space.gen) for space in lane.spaces]
            label, title = safe_text(lane.label), safe_text(self._lanes.title(lane))
            facts = LaneFacts(number, label, title, lane.container, spaces, self._lanes.parent(lane))
            if self._said_lanes.get(number) != facts:
                self._said_lanes[number] = facts
                fresh.append(facts)
        return fresh

    def _lives(
        self, batch: Batch, lanes: NDArray[np.int64]
    ) -> tuple[list[Born], list[Ran], list[Ended], list[Over], list[Moved]]:
        rows = batch.rows
        first, of_row = distinct(rows["tgid"], rows["start_ns"])
        keys = list(zip(rows["tgid"][first].tolist(), rows["start_ns"][first].tolist(), strict=True))
        last = np.zeros(len(keys), np.int64)
        last[of_row] = np.arange(len(rows))
        named, has_ended = np.array([key in self._living for key in keys], bool), np.zeros(len(keys), bool)
        has_ended[of_row[rows["flags"] & Flag.ENDED != 0]] = True
        exits = np.flatnonzero(rows["kind"] == Kind.EXIT)[::-1]
        end = np.full(len(keys), -1)
        end[of_row[exits]] = exits  # the first one stays
        ends = np.flatnonzero(end >= 0)
        has_ended[ends] = True
        has_row = named | ~has_ended
        has_row[ends[~self._is_over(rows[end[ends]])]] = True
        has_row[of_row[rows["kind"] == Kind.SNAPSHOT]] = True  # it is there, perhaps as a zombie
        known = Known(rows)
        moved = self._moved(keys, np.flatnonzero(named).tolist(), lanes[last])
        born = [
            _born(batch, known, int(first[one]), int(lanes[last[one]]), keys[one])
            for one in np.flatnonzero(has_row & ~named).tolist()
        ]
        self._living.update((one.key, one.lane) for one in born)
        wanted = of_kind(rows, Kind.EXEC, Kind.EXEC_FAILED) & has_row[of_row]
        ran = [_ran(batch, known, at, keys[of_row[at]]) for at in np.flatnonzero(wanted).tolist()]
        ends = ends[np.argsort(end[ends])]
        ended = [_ended(rows[end[one]], keys[one]) for one in ends[has_row[ends]].tolist()]
        for one in ended:
            self._living.pop(one.key)
        ended += self._evicted()
        over = [
            Over(_born(batch, known, int(first[one]), int(lanes[last[one]]), keys[one]),
                 _ended(rows[end[one]], keys[one]))
            for one in ends[~has_row[ends]][-MAX_OVER:].tolist()
        ]  # fmt: skip
        return born, ran, ended, over, moved

    def _is_over(self, exits: NDArray[np.void]) -> NDArray[np.bool_]:
        """As `Ended.is_over`, of these rows."""
        over: NDArray[np.bool_] = _is_brief(exits) | (exits["ts_ns"].astype(np.int64) <= self._now_ns - WINDOW_NS)
        return over

    def _moved(self, keys: list[ProcKey], named: list[int], lanes: NDArray[np.int64]) -> list[Moved]:
        """Of those that have rows already who is in another lane now."""
        now = [(keys[one], int(lanes[one])) for one in named]
        moved = [Moved(key, lane) for key, lane in now if self._living[key] != lane]
        self._living.update((one.key, one.lane) for one in moved)
        return moved

    def _evicted(self) -> list[Ended]:
        gone = []
        while len(self._living) > MAX_LIVING:
            key, _lane = self._living.popitem(last=False)
            gone.append(Ended(key, self._now_ns, None))
        return gone


def _recent(rows: NDArray[np.void], lanes: NDArray[np.int64]) -> NDArray[np.void]:
    """What is kept of these rows, shape (n,)."""
    kept = np.zeros(len(rows), _RECENT)
    is_fork = rows["kind"] == Kind.FORK
    kept["ts_ns"], kept["lane"], kept["comm"] = rows["ts_ns"], lanes, rows["comm"]
    kept["tgid"] = np.where(is_fork, rows["parent_tgid"], rows["tgid"])
    kept["start_ns"] = np.where(is_fork, rows["parent_start_ns"], rows["start_ns"])
    kept["counts"], kept["failed"] = of_kind(rows, *SUMMARY_KINDS), is_failure(rows)
    kept["acts"] = is_fork | (rows["kind"] == Kind.EXEC)
    kept["ends"] = rows["kind"] == Kind.EXIT
    kept["brief"] = kept["ends"] & _is_brief(rows)
    return kept


def _note_ends(recent: NDArray[np.void], fresh: NDArray[np.void]) -> None:
    """Who has ended acts no more: most of those who act in a storm."""
    acts, over = np.flatnonzero(recent["acts"]), fresh[fresh["ends"]]
    actors, ended = (identity(rows["tgid"], rows["start_ns"]) for rows in (recent[acts], over))
    has_ended = np.isin(actors, ended)
    recent["acts"][acts[has_ended]] = False


def _is_brief(exits: NDArray[np.void]) -> NDArray[np.bool_]:
    """As `Ended.is_brief`, of these rows."""
    lived_ns = exits["ts_ns"].astype(np.int64) - exits["start_ns"].astype(np.int64)
    brief: NDArray[np.bool_] = (exits["flags"] & Flag.INFERRED == 0) & (lived_ns < BRIEF_NS)
    return brief


def _born(batch: Batch, known: Known, first: int, lane: int, key: ProcKey) -> Born:
    """As its first row here says; what it runs later is said by a Ran."""
    row = batch.rows[first]
    inside = [number.nr for number in chain_of(batch, first)] if row["level"] else []
    return Born(
        key, [key[0], *inside], lane, (int(row["parent_tgid"]), int(row["parent_start_ns"])),
        _uid(batch, known, first), row["comm"].item(), *_command(batch, first), key[1],
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


def _brief(recent: NDArray[np.void]) -> list[Brief]:
    """Those who ended after a brief life, by lane and name; the most frequent ones."""
    over = recent[recent["brief"]]
    names = np.ascontiguousarray(over["comm"]).view("<u8").reshape(-1, 2)
    first, of_row = distinct(over["lane"], names[:, 0], names[:, 1])
    counts, failed = (np.bincount(of_row[which], minlength=len(first)) for which in (..., over["failed"]))
    kinds = zip(*(part.tolist() for part in (over["lane"][first], over["comm"][first], counts, failed)), strict=True)
    found = sorted((Brief(*kind) for kind in kinds), key=lambda one: (-one.count, one.lane, one.comm))
    rest: Counter[int] = Counter()
    rest_failed: Counter[int] = Counter()
    for one in found[MAX_BRIEF:]:
        rest[one.lane] += one.count
        rest_failed[one.lane] += one.failed
    return found[:MAX_BRIEF] + [Brief(lane, b"others", count, rest_failed[lane]) for lane, count in rest.items()]


def _acts(recent: NDArray[np.void], living: OrderedDict[ProcKey, int]) -> list[tuple[int, int, int]]:
    acts = recent[recent["acts"]]
    first, of_row = distinct(acts["tgid"], acts["start_ns"])
    counts = np.bincount(of_row, minlength=len(first)).tolist() if len(first) else []
    found = zip(acts["tgid"][first].tolist(), acts["start_ns"][first].tolist(), counts, strict=True)
    return [(tgid, start, count) for tgid, start, count in found if (tgid, start) in living]


def _by_lane(recent: NDArray[np.void], fresh: NDArray[np.void]) -> list[LaneCounts]:
    parts = (recent["lane"][recent["counts"]], fresh["lane"][fresh["failed"]], fresh["lane"][fresh["brief"]])
    most = max((int(lanes.max()) + 1 for lanes in parts if len(lanes)), default=0)
    counted = (np.bincount(lanes, minlength=most).tolist() for lanes in parts)
    return [LaneCounts(lane, *each) for lane, each in enumerate(zip(*counted, strict=True)) if any(each)]
