"""The living processes and the known containers after a run of batches: the beginning of a rotation's next file."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution, reduce, teaches
from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.ended_spaces import EndedSpaces
from tracer.stream.repair import identities, identity
from tracer.stream.schema import LIFE_KINDS, NO_CPU, NOTE_KINDS, Flag, Kind

_MAX_FACTS = 1 << 13  # beside those about who lives: of cgroups in which processes may appear again


class CarryOver:
    """Receives every batch of a stream. Keeps the latest row of each living process, cgroup, namespace and session.
    keeps_parents: also those that have ended; without, such a process has none that is known, for it has been adopted.
    """

    def __init__(self, keeps_parents: bool = False) -> None:
        self._keeps_parents = keeps_parents
        self._processes = Batch.concat([])
        self._facts = Batch.concat([])
        self._sessions = Batch.concat([])
        self._ended = EndedSpaces()
        self._attribution = Attribution()
        self._unsure: tuple[int, int] | None = None  # events were lost from, until; not repaired yet

    def apply(self, batch: Batch) -> None:
        """Update the rows with a batch."""
        about = Batch.concat([self._processes, batch.select(of_kind(batch.rows, *LIFE_KINDS, Kind.EXIT))])
        latest = about.select(_is_last(identities(about.rows)))
        ended = (latest.rows["kind"] == Kind.EXIT) | (latest.rows["flags"] & Flag.ENDED != 0)
        living = latest.select(~ended)
        self._processes = living if self._keeps_parents else _without_parents(living, identities(latest.rows[ended]))
        self._move(batch.rows[of_kind(batch.rows, Kind.MOVE)])
        if len(told := self._told(batch)):
            facts = Batch.concat([self._facts, told])
            facts = facts.select(_is_last(_subjects(facts.rows)))
            self._facts = facts if len(facts) <= _MAX_FACTS else self._bounded(facts)
        self._forget(batch)
        self._note_sessions(batch.select(of_kind(batch.rows, Kind.SESSION)))
        self._note_losses(batch.rows[of_kind(batch.rows, *NOTE_KINDS)])

    def forget(self, cgroup_ids: Collection[int]) -> None:
        """Cgroups were removed: drop what was said of them, unless a process is known to be in one, or a namespace to
        have begun there."""
        rows = self._facts.rows
        is_cgroup = rows["kind"] == Kind.CGROUP
        in_use = [self._processes.rows["cgroup_id"], rows["cgroup_id"][~is_cgroup]]
        over = np.setdiff1d(np.fromiter(cgroup_ids, np.uint64), np.concatenate(in_use))
        self._facts = self._facts.select(~is_cgroup | ~np.isin(rows["cgroup_id"], over))
        self._attribution.forget_cgroups(over.tolist())

    def _told(self, batch: Batch) -> Batch:
        """What it says of cgroups, and of how namespaces begin: a first process that moves on later begins none."""
        told = []
        for part in self._attribution.split_and_learn(batch.select(teaches(batch))):
            counts = (part.rows["kind"] == Kind.CGROUP) | (of_kind(part.rows, Kind.PIDNS) & (part.rows["args_len"] > 0))
            for at in np.flatnonzero(~counts).tolist():
                counts[at] = self._attribution.begins(part, at)
            part = part.select(counts)
            told.append(reduce(part, part.rows["kind"] == Kind.CGROUP))
        return Batch.concat(told)

    def _bounded(self, facts: Batch) -> Batch:
        """The facts about the cgroups and namespaces of living processes, and the latest of the others."""
        living, rows = self._processes.rows, facts.rows
        is_inside = (rows["kind"] != Kind.CGROUP) & np.isin(_spaces(rows)[:, 0], _spaces(living))
        others = np.flatnonzero(~is_inside & ~np.isin(rows["cgroup_id"], living["cgroup_id"]))
        keep = np.ones(len(facts), bool)
        keep[others[:-_MAX_FACTS]] = False
        return facts.select(keep)

    def _forget(self, batch: Batch) -> None:
        """Drop what was said of namespaces that are over."""
        self._ended.take(batch)
        ended = self._ended.due(int(batch.rows["ts_ns"].max())) if len(batch) else []
        inside = set(_spaces(self._processes.rows).ravel().tolist()) if ended else ()
        over = {space: one for one in ended if (space := one.pidns.inum << 32 ^ one.pidns.gen) not in inside}
        if over:
            facts = self._facts.rows
            is_gone = np.isin(_spaces(facts)[:, 0], np.fromiter(over, np.uint64))
            self._facts = self._facts.select((facts["kind"] == Kind.CGROUP) | ~is_gone)
        for one in over.values():
            self._attribution.forget(one.pidns)

    def _note_sessions(self, said: Batch) -> None:
        """Keep the latest row of each session that has living processes."""
        if len(said) or len(self._sessions):
            sessions = Batch.concat([self._sessions, said])
            sessions = sessions.select(_is_last(sessions.rows["session"]))
            self._sessions = sessions.select(np.isin(sessions.rows["session"], self._processes.rows["session"]))

    def _move(self, moves: NDArray[np.void]) -> None:
        ids = identities(self._processes.rows) if len(moves) else np.empty(0, np.uint64)
        for mover, cgroup_id in zip(identities(moves).tolist(), moves["cgroup_id"].tolist(), strict=True):
            self._processes.rows["cgroup_id"][ids == mover] = cgroup_id

    def _note_losses(self, rows: NDArray[np.void]) -> None:
        for kind, since_ns, until_ns in zip(
            *(rows[name].tolist() for name in ("kind", "start_ns", "ts_ns")), strict=True
        ):
            if kind == Kind.GAP:
                since, until = self._unsure or (since_ns, until_ns)
                self._unsure = min(since, since_ns), max(until, until_ns)
            elif self._unsure and since_ns >= self._unsure[1]:  # the list that it was compared with was begun later
                self._unsure = None

    def snapshot(self, now_ns: int) -> Batch:
        """The facts, what was said of sessions, then the processes as CARRIED SNAPSHOT rows, reported as of now; and
        where lost events may have changed them, a GAP row up to now, which loses nothing that was not reported as
        lost before."""
        rows = self._processes.rows.copy()
        rows["kind"], rows["ts_ns"], rows["seq"], rows["state"] = Kind.SNAPSHOT, now_ns, 0, 0
        rows["flags"] = rows["flags"] & ~np.uint8(Flag.INFERRED) | np.uint8(Flag.CARRIED)
        rows["tid"], rows["vtid"], rows["old_tid"] = rows["tgid"], rows["chain"]["nr"][:, 0], 0
        facts = self._facts.rows.copy()
        facts["ts_ns"] = now_ns
        sessions = self._sessions.rows.copy()
        sessions["ts_ns"], sessions["flags"] = now_ns, Flag.CARRIED
        gaps = np.zeros(1 if self._unsure else 0, EVENT)
        if self._unsure:
            gaps["kind"], gaps["cpu"], gaps["start_ns"], gaps["ts_ns"] = Kind.GAP, NO_CPU, self._unsure[0], now_ns
        said = [Batch(facts, self._facts.heap), Batch(sessions, self._sessions.heap)]
        return Batch.concat([*said, Batch(rows, self._processes.heap), Batch(gaps)])


def _without_parents(processes: Batch, ended: NDArray[np.uint64]) -> Batch:
    """Remove parents that have ended from the rows; no event reports which processes have adopted the children."""
    rows = processes.rows
    is_orphan = np.isin(identity(rows["parent_tgid"], rows["parent_start_ns"]), ended)
    if not is_orphan.any():
        return processes
    rows = rows.copy()
    for name in ("parent_tgid", "parent_start_ns", "parent_vtgid"):
        rows[name][is_orphan] = 0
    return Batch(rows, processes.heap)


def _subjects(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """One number for each fact's cgroup or namespace, shape (n,); another for what an engine reports of a namespace."""
    named = ~_spaces(rows)[:, 0]
    named ^= (rows["args_len"] > 0).astype(np.uint64) << np.uint64(62)
    subjects: NDArray[np.uint64] = np.where(rows["kind"] == Kind.CGROUP, rows["cgroup_id"], named)
    return subjects


def _spaces(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """One number for each namespace of the rows, innermost first, shape (n, INLINE_LEVELS)."""
    spaces: NDArray[np.uint64] = rows["chain"]["inum"].astype(np.uint64) << np.uint64(32) ^ rows["chain"]["gen"]
    return spaces


def _is_last(keys: NDArray[np.unsignedinteger]) -> NDArray[np.bool_]:
    """True for the last row of each key, shape (n,)."""
    _keys, from_the_end = np.unique(keys[::-1], return_index=True)
    last = np.zeros(len(keys), bool)
    last[len(keys) - 1 - from_the_end] = True
    return last
