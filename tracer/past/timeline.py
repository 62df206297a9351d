"""Recorded rows -> every process's life in columns, in lanes of containers and PID namespaces: what pictures are drawn
from. Pure.

All times are boottime, in ns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.errors import NstraceError
from tracer.past.texts import CUT, Texts
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.lanes import Lanes
from tracer.stream.metadata import Container
from tracer.stream.pidns import chain_of
from tracer.stream.schema import ASIDE_KINDS, CONTAINER_KINDS, KINDS, NO_CPU, SHOWN_KINDS, Flag, Kind, Subject
from tracer.stream.tally import Rate, counted_times

MAX_ROWS = 3_000_000
_LIFE_KINDS = tuple(kind for kind in SHOWN_KINDS if KINDS[kind].subject is Subject.PROCESS)
_KIND_SLOTS = max(Kind) + 1
_UNKNOWN_UID = 0xFFFFFFFF

_FACT = np.dtype(
    [
        ("start_ns", "<i8"), ("ts_ns", "<i8"), ("parent_start_ns", "<i8"), ("tgid", "<u4"), ("nr", "<u4"),
        ("parent_tgid", "<u4"), ("lane", "<u4"), ("comm", "<u4"), ("command", "<u4"), ("uid", "<u4"), ("status", "<u4"),
        ("kind", "u1"), ("flags", "u1"), ("level", "u1"),
    ]
)  # fmt: skip
"""What is kept of a row. comm, command: as `Texts` numbers them, 0: not known."""


class Fate:
    """How a life ended, as the column `fate` has it."""

    ENDED, LIVES, UNSEEN = range(3)


class Note(NamedTuple):
    """A row that is about no process, such as a gap. since_ns: ts_ns where it is of a moment. container: None: of all.
    lost: how many events; cpu: None where it is not known. text: what else the row says."""

    kind: str
    since_ns: int
    ts_ns: int
    container: Container | None
    lost: int | None
    cpu: int | None
    text: str


class Timeline(NamedTuple):
    """The lives of processes, in order of their start.

    processes: array of shape (n,) with the fields of LIFE; execs: array of shape (m,) with the fields of EXEC, those of
    a process together, in order. between: of processes that are nested more deeply than one level their numbers between
    the host's and the innermost, by the index of the process. begin_ns, end_ns: of what was recorded. most: the most
    events in one second (`tracer.stream.tally.Rate`).
    """

    begin_ns: int
    end_ns: int
    processes: NDArray[np.void]
    execs: NDArray[np.void]
    between: dict[int, tuple[int, ...]]
    lanes: Lanes
    notes: list[Note]
    comms: list[bytes]
    commands: list[bytes]
    most: int


LIFE = np.dtype(
    [
        ("start_ns", "<i8"), ("end_ns", "<i8"), ("tgid", "<u4"), ("nr", "<u4"), ("parent_tgid", "<u4"),
        ("parent", "<i4"), ("lane", "<u4"), ("comm", "<u4"), ("command", "<u4"), ("uid", "<u4"), ("status", "<u4"),
        ("level", "u1"), ("fate", "u1"), ("was_there", "u1"),
    ]
)  # fmt: skip
"""One process. parent: its index, -1: it is not among them. status: as wait(2) reports it, where fate is ENDED.
level: of the namespace that nr is in. was_there: it began before it could be followed."""
EXEC = np.dtype([("process", "<u4"), ("ts_ns", "<i8"), ("command", "<u4"), ("errno", "<u4")])
"""One exec, or a failed one: errno is not 0."""


class Collector:
    """Receives the batches of a recording, and makes a Timeline of them: of MAX_ROWS at most."""

    def __init__(self) -> None:
        self._rows = 0
        self._facts: list[NDArray[np.void]] = []
        self._lanes = Lanes()
        self._notes: list[Note] = []
        self._between: dict[tuple[int, int], tuple[int, ...]] = {}
        self._comms, self._commands = Texts(), Texts()
        self._rate = Rate()

    def take(self, batch: Batch, attribution: Attribution) -> None:
        """The next part of the recording, and what is known of containers there. Raises NstraceError where there is
        too much."""
        self._rows += len(batch)
        if self._rows > MAX_ROWS:
            raise NstraceError(
                f"a picture has room for {MAX_ROWS} events, and there are more",
                "choose a part: --since and --until, or a TARGET",
            )
        self._rate.add(counted_times(batch.rows))
        self._lanes.learn(batch, attribution)
        for at in np.flatnonzero(of_kind(batch.rows, *ASIDE_KINDS)).tolist():
            self._notes.append(self._note(batch, at, attribution))
        lives = batch.select(of_kind(batch.rows, *_LIFE_KINDS))
        if len(lives):
            self._facts.append(self._facts_of(lives, attribution))

    def _facts_of(self, batch: Batch, attribution: Attribution) -> NDArray[np.void]:
        rows, known = batch.rows, Known(batch.rows)
        facts = np.zeros(len(rows), _FACT)
        for name in ("start_ns", "ts_ns", "parent_start_ns", "tgid", "parent_tgid", "status", "kind", "flags", "level"):
            facts[name] = rows[name]
        facts["nr"] = rows["chain"]["nr"][:, 0]
        facts["uid"] = np.where(known("uid"), rows["uid"], _UNKNOWN_UID)
        lanes = [self._lanes.number(batch, at, attribution) for at in batch.pairs.first]
        facts["lane"] = np.array(lanes, np.uint32)[batch.pairs.of_row]
        names, of_row = np.unique(rows["comm"], return_inverse=True)
        facts["comm"] = np.array([self._comms.number(name) for name in names.tolist()], np.uint32)[of_row]
        facts["comm"][~known("comm")] = 0
        self._put_commands(batch, known, facts)
        for at in np.flatnonzero(rows["level"] > 1).tolist():
            identity = int(rows["tgid"][at]), int(rows["start_ns"][at])
            if identity not in self._between:
                self._between[identity] = tuple(number.nr for number in chain_of(batch, at)[:-1])
        return facts

    def _put_commands(self, batch: Batch, known: Known, facts: NDArray[np.void]) -> None:
        where = np.flatnonzero(known("args_truncated"))
        number = self._commands.number
        cut = batch.rows["flags"][where] & Flag.ARGS_TRUNCATED != 0
        facts["command"][where] = [
            number(_joined(raw, exe_len, is_cut))
            for (raw, exe_len), is_cut in zip(batch.commands(where), cut.tolist(), strict=True)
        ]

    def _note(self, batch: Batch, at: int, attribution: Attribution) -> Note:
        row, known = batch.rows[at], Known(batch.rows[at : at + 1])
        is_loss = row["kind"] == Kind.GAP
        return Note(
            kind=Kind(int(row["kind"])).name.lower(),
            since_ns=int(row["start_ns"]) if known("since")[0] else int(row["ts_ns"]),
            ts_ns=int(row["ts_ns"]),
            container=attribution.of_row(batch, at),
            lost=int(row["seq"]) if is_loss else None,
            cpu=int(row["cpu"]) if is_loss and row["cpu"] != NO_CPU else None,
            text=fact_of(batch, at).action if row["kind"] in CONTAINER_KINDS else "",
        )

    def finish(self, end_ns: int) -> Timeline:
        """All that was received. end_ns: until when was recorded, if that is later than the last row."""
        facts = np.concatenate([np.zeros(0, _FACT), *self._facts])
        self._facts.clear()
        self._count(facts)
        order = np.lexsort((np.arange(len(facts)), facts["tgid"], facts["start_ns"]))
        facts = facts[order]
        is_first = np.ones(len(facts), bool)
        is_first[1:] = (facts["tgid"][1:] != facts["tgid"][:-1]) | (facts["start_ns"][1:] != facts["start_ns"][:-1])
        process = np.cumsum(is_first) - 1
        times = [facts["ts_ns"].max(initial=0), *(note.ts_ns for note in self._notes)]
        end_ns = int(max(end_ns, *times))
        begins = [facts["ts_ns"].min(initial=end_ns), *(note.since_ns for note in self._notes if note.since_ns)]
        lives = _lives(facts, is_first, process, end_ns)
        return Timeline(
            begin_ns=int(min(begins)),
            end_ns=end_ns,
            processes=lives,
            execs=_execs(facts, process),
            between=_placed(self._between, lives),
            lanes=self._lanes,
            notes=self._notes,
            comms=self._comms.texts,
            commands=self._commands.texts,
            most=self._rate.most,
        )

    def _count(self, facts: NDArray[np.void]) -> None:
        slots = facts["lane"].astype(np.int64) * _KIND_SLOTS + facts["kind"]
        counts = np.bincount(slots, minlength=len(self._lanes.all) * _KIND_SLOTS).reshape(-1, _KIND_SLOTS)
        for lane, of_kinds in zip(self._lanes.all, counts.tolist(), strict=True):
            lane.counts = {Kind(kind).name.lower(): count for kind, count in enumerate(of_kinds) if count}


def _joined(raw: bytes, exe_len: int, is_cut: bool) -> bytes:
    """File name, NUL, arguments each ended by NUL."""
    return raw[:exe_len] + b"\0" + raw[exe_len:] + (CUT if is_cut else b"")


def _lives(
    facts: NDArray[np.void], is_first: NDArray[np.bool_], process: NDArray[np.int64], end_ns: int
) -> NDArray[np.void]:
    """One row of LIFE for each process. facts: in order of process, then of the stream."""
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(facts))[: len(first)] - 1
    lives = np.zeros(len(first), LIFE)
    for name in ("start_ns", "tgid", "nr", "parent_tgid", "level"):
        lives[name] = facts[name][first]
    lives["lane"] = facts["lane"][last]
    is_report = facts["kind"] != Kind.EXEC_FAILED  # whose command is not what the process runs
    for name, unknown in (("comm", 0), ("command", 0), ("uid", _UNKNOWN_UID)):
        has = np.flatnonzero((facts[name] != unknown) & is_report)
        lives[name] = unknown
        lives[name][process[has]] = facts[name][has]  # the last one stays
    lives["was_there"] = facts["kind"][first] == Kind.SNAPSHOT
    _put_ends(lives, facts, process, end_ns)
    lives["parent"] = _index_of(lives, facts["parent_start_ns"][first], facts["parent_tgid"][first])
    return lives


def _put_ends(lives: NDArray[np.void], facts: NDArray[np.void], process: NDArray[np.int64], end_ns: int) -> None:
    exits = np.flatnonzero(facts["kind"] == Kind.EXIT)[::-1]  # the first one stays
    gone = np.flatnonzero((facts["kind"] == Kind.SNAPSHOT) & (facts["flags"] & Flag.ENDED != 0))
    lives["end_ns"], lives["fate"] = np.maximum(end_ns, lives["start_ns"]), Fate.LIVES
    for which, fate in ((gone, np.full(len(gone), Fate.UNSEEN)), (exits, _fates(facts[exits]))):
        lives["end_ns"][process[which]] = np.maximum(facts["ts_ns"][which], facts["start_ns"][which])
        lives["fate"][process[which]] = fate
        lives["status"][process[which]] = facts["status"][which]
    order = np.lexsort((lives["start_ns"], lives["tgid"]))
    before, after = order[:-1], order[1:]
    given_away = (lives["tgid"][before] == lives["tgid"][after]) & (lives["fate"][before] == Fate.LIVES)
    which = before[given_away]
    lives["end_ns"][which], lives["fate"][which] = lives["start_ns"][after[given_away]], Fate.UNSEEN


def _fates(exits: NDArray[np.void]) -> NDArray[np.int64]:
    return np.where(exits["flags"] & Flag.INFERRED != 0, Fate.UNSEEN, Fate.ENDED)


def _index_of(lives: NDArray[np.void], start_ns: NDArray[np.int64], tgid: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The index in lives, which are in order of start and tgid, of each of these processes; -1: it is not there."""
    if not len(lives):
        return np.zeros(0, np.int64)
    starts = np.unique(lives["start_ns"])
    keys = np.searchsorted(starts, lives["start_ns"]) << 32 | lives["tgid"].astype(np.int64)
    wanted = np.searchsorted(starts, start_ns) << 32 | tgid.astype(np.int64)
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_there = (keys[found] == wanted) & (lives["start_ns"][found] == start_ns)
    is_there &= found < np.arange(len(lives))  # a parent began before: nothing turns in a circle
    return np.where(is_there, found, -1)


def _execs(facts: NDArray[np.void], process: NDArray[np.int64]) -> NDArray[np.void]:
    which = np.flatnonzero(np.isin(facts["kind"], (Kind.EXEC, Kind.EXEC_FAILED)))
    execs = np.zeros(len(which), EXEC)
    execs["process"] = process[which]
    for name in ("ts_ns", "command"):
        execs[name] = facts[name][which]
    has_failed = facts["kind"][which] == Kind.EXEC_FAILED
    execs["errno"] = np.where(has_failed, np.maximum(facts["status"][which], 1), 0)
    return execs


def _placed(between: dict[tuple[int, int], tuple[int, ...]], lives: NDArray[np.void]) -> dict[int, tuple[int, ...]]:
    if not between:
        return {}
    deep = np.flatnonzero(np.isin(lives["tgid"], [tgid for tgid, _start_ns in between])).tolist()
    identities = zip(lives["tgid"][deep].tolist(), lives["start_ns"][deep].tolist(), strict=True)
    return {at: between[one] for at, one in zip(deep, identities, strict=True) if one in between}
