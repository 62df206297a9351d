"""Who came into a container from outside: found by facts of the kernel alone. Pure.

A process is a visitor that is in the container's PID namespace, is not number 1 there, and has a parent that has no
number there (docker exec, nsenter); or that is in a container's cgroup only, and was begun, or moved there, by somebody
who is not (containers that share a PID namespace: there the parent's number says nothing). A list of processes does not
say who began a process, only who its parent is by now: with a shared namespace that says nothing either.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.losses import PairKey
from tracer.stream.lru import Lru
from tracer.stream.metadata import RUNTIME_COMM, RUNTIME_EXE, Container, Killer
from tracer.stream.pidns import INITIAL_PIDNS, Chain, PidnsId, ProcId, chain_of
from tracer.stream.repair import identities, identity
from tracer.stream.schema import PROCESS_KINDS, Flag, Kind
from tracer.stream.table import Table
from tracer.text.escape import decode

_ENDED, _MOVED = int(Flag.ENDED), int(Flag.MOVED)
_MAX_KNOWN = 65536
_MAX_DOORS = 4096  # at one time
_LISTED = int(Flag.INFERRED | Flag.CARRIED)
_RUNTIMES = (b"runc", b"crun", b"exe")
_BEGINS = (Kind.FORK, Kind.SNAPSHOT)


class Visitor(NamedTuple):
    """at: the index of the row with which it comes in. container: None: the PID namespace is of none. by_runtime: it
    comes through a container runtime's own process. asker: who has begun it; None: not known."""

    at: int
    container: Container | None
    by_runtime: bool
    asker: Killer | None


class _Who(NamedTuple):
    """A process that has forked another. chain: as of `chain_of`."""

    proc_id: ProcId
    chain: Chain
    cgroup_id: int
    comm: bytes


class _Pair(NamedTuple):
    """is_shared: the container's processes are not in a PID namespace of its own."""

    container: Container | None
    is_shared: bool


def is_runtime(comm: bytes) -> bool:
    """Whether a process has the name of a container runtime that has not yet become the container's program."""
    return comm.startswith(RUNTIME_COMM) or comm in _RUNTIMES


class Visitors:
    """Receives every batch ahead of the table."""

    def __init__(self, attribution: Attribution, table: Table) -> None:
        self._attribution, self._table = attribution, table
        self._pairs: dict[PairKey, _Pair] = {}
        self._learned = 0
        self._begun: Lru[str, None] = Lru(_MAX_KNOWN)  # the labels of containers whose first process was seen
        self._begin_at: dict[str, int] = {}  # of those whose it is in this batch, where
        self._doors: Lru[int, None] = Lru(_MAX_DOORS)  # a runtime's processes that become a container's, by identity

    def find(self, batch: Batch) -> list[Visitor]:
        """Who comes in with these rows, in their order."""
        rows = batch.rows
        pairs = self._pairs_of(batch)
        self._note_begun(batch, pairs)
        shares = [pair.is_shared for pair in pairs]
        if True not in shares and not len(batch.parentless):
            return []
        outside = rows["parent_vtgid"] == 0
        is_shared = np.array(shares, bool)[batch.pairs.of_row]
        lives = rows["flags"] & _ENDED == 0
        entering = outside & (rows["level"] > 0) & lives & ~is_shared
        entering &= of_kind(rows, *_BEGINS, Kind.MOVE)  # a runtime may put it into its cgroup later
        if entering.any():
            entering &= rows["chain"]["nr"][:, 0] != 1
        found = [self._entered(batch, at, pairs) for at in np.flatnonzero(entering).tolist()]
        if is_shared.any():
            found += self._by_cgroup(batch, is_shared & lives, pairs)
        return sorted((one for one in found if one), key=lambda one: one.at)

    def forget(self, container: Container) -> None:
        """A life of a container is over."""
        names = (container.name, None, *container.earlier)
        for label in {msgspec.structs.replace(container, name=name).label for name in names}:
            self._begun.pop(label)

    def _note_begun(self, batch: Batch, pairs: list[_Pair]) -> None:
        """Note which containers with a PID namespace of their own have begun before this batch, and which begin in it:
        who comes into a container's cgroup ahead of its first process is no visitor, but makes it."""
        for label in self._begin_at:
            self._begun.put(label, None)
        self._begin_at.clear()
        for pair, at in zip(pairs, batch.pairs.first, strict=True):
            if pair.container and not pair.is_shared and pair.container.label not in self._begun:
                label = pair.container.label
                self._begin_at[label] = min(at, self._begin_at.get(label, at))

    def _pairs_of(self, batch: Batch) -> list[_Pair]:
        """What is known of each pair; worked out again where anything was learned of containers."""
        if self._learned != self._attribution.learned or len(self._pairs) > _MAX_KNOWN:
            self._learned = self._attribution.learned
            self._pairs.clear()
        known = self._pairs
        for key, first in zip(batch.pairs.keys, batch.pairs.first, strict=True):
            if key not in known:
                known[key] = self._pair(batch, first)
        return [known[key] for key in batch.pairs.keys]

    def _pair(self, batch: Batch, first: int) -> _Pair:
        row = batch.rows[first]
        if row["kind"] not in PROCESS_KINDS:
            return _Pair(None, False)
        own, (inum, _nr, gen) = self._attribution.of_row(batch, first), row["chain"][0].tolist()
        return _Pair(own, self._attribution.is_elsewhere(PidnsId(inum, gen), own))

    def _entered(self, batch: Batch, at: int, pairs: list[_Pair]) -> Visitor | None:
        """The visitor that enters a PID namespace with this row; None: it comes from inside of the container."""
        row, own = batch.rows[at], pairs[int(batch.pairs.of_row[at])].container
        by_runtime = is_runtime(bytes(row["comm"]))
        parent = self._who_forked(batch, at)
        if parent and self._is_inside(batch, at, parent, own):
            return None
        return Visitor(at, own, by_runtime, None if by_runtime else self._asker(row, parent))

    def _is_inside(self, batch: Batch, at: int, who: _Who, own: Container | None) -> bool:
        """Whether somebody is in the container of this row's process, or in a namespace that has that one inside."""
        if own is None:
            return who.chain[-1].pidns in {number.pidns for number in chain_of(batch, at)}
        container = self._attribution.container(who.chain, who.cgroup_id)
        return container is not None and container.id == own.id

    def _who_forked(self, batch: Batch, at: int) -> _Who | None:
        """Who has forked this row's process, as far as that is known: of a list its parent."""
        row = batch.rows[at]
        tgid, start_ns = int(row["parent_tgid"]), int(row["parent_start_ns"])
        forker = int(row["old_tid"]) if row["kind"] == Kind.FORK and not row["flags"] & _LISTED else 0
        is_parent = forker in (0, tgid)
        before = batch.rows[:at] if row["kind"] == Kind.FORK else batch.rows
        places = np.flatnonzero(
            of_kind(before, *PROCESS_KINDS)
            & (before["tgid"] == (tgid if is_parent else forker))
            & ((before["start_ns"] == start_ns) | (not is_parent))
        )
        if len(places):
            found = batch.rows[int(places[-1])]
            proc_id, chain = ProcId(int(found["tgid"]), int(found["start_ns"])), chain_of(batch, int(places[-1]))
            return _Who(proc_id, chain, int(found["cgroup_id"]), bytes(found["comm"]))
        holder = self._table.holder(tgid if is_parent else forker, start_ns if is_parent else None)
        if holder is None:
            return None
        return _Who(holder.proc_id, holder.chain[1:] or holder.chain, holder.cgroup_id, holder.comm)

    # --- containers that share a PID namespace

    def _by_cgroup(self, batch: Batch, which: NDArray[np.bool_], pairs: list[_Pair]) -> list[Visitor | None]:
        rows, ids = batch.rows, identities(batch.rows)
        appears = np.flatnonzero(which & of_kind(rows, *_BEGINS, Kind.MOVE))
        forkers, are_inside = self._forkers(batch, appears, pairs)
        doors = np.array(list(self._doors), np.uint64)
        asked = ~are_inside
        while (more := ~asked & np.isin(forkers, np.concatenate([doors, ids[appears[asked]]]))).any():
            asked |= more  # a runtime's process may fork the one that becomes the visitor
        asked_ids = np.concatenate([doors, ids[appears[asked]]])
        execs = np.flatnonzero(which & (rows["kind"] == Kind.EXEC) & np.isin(ids, asked_ids))
        inside_by = dict(zip(appears.tolist(), np.where(are_inside, forkers, 0).tolist(), strict=True))
        places = sorted([*appears[asked].tolist(), *execs.tolist()])
        return [self._came_in(batch, at, int(ids[at]), pairs, inside_by.get(at, 0)) for at in places]

    def _forkers(
        self, batch: Batch, at: NDArray[np.intp], pairs: list[_Pair]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Who has forked each process that appears in these rows, by identity, 0 where that is not known; and whether
        that one is in the same container."""
        rows = batch.rows
        keys = zip(
            *(rows[name][at].tolist() for name in ("parent_tgid", "parent_start_ns", "old_tid", "kind")),
            batch.pairs.of_row[at].tolist(),
            strict=True,
        )
        known: dict[tuple[int, ...], tuple[int, bool]] = {}
        found = []
        for index, key in zip(at.tolist(), keys, strict=True):
            if key not in known:
                who = self._who_forked(batch, index)
                is_inside = who is not None and self._is_inside(batch, index, who, pairs[key[-1]].container)
                known[key] = _identity(who.proc_id) if who else 0, is_inside
            found.append(known[key])
        return np.array([who for who, _inside in found], np.uint64), np.array([inside for _who, inside in found], bool)

    def _came_in(self, batch: Batch, at: int, identity: int, pairs: list[_Pair], inside_by: int) -> Visitor | None:
        """The visitor that comes into a container's cgroup with this row; None: it is the container's first process, a
        runtime's process that will be another program, or it may have been inside before. inside_by: who has forked it,
        by identity, if that one is in the container too; else 0."""
        row, own = batch.rows[at], pairs[int(batch.pairs.of_row[at])].container
        if own is None or (inside_by and inside_by not in self._doors):
            return None
        is_renewed = row["kind"] == Kind.EXEC and batch.payload(at).exe.startswith(RUNTIME_EXE)
        if is_renewed or is_runtime(bytes(row["comm"])):
            self._doors.put(identity, None)
            return None
        was_door = identity in self._doors
        self._doors.pop(identity)
        is_listed = (row["kind"] == Kind.SNAPSHOT and not row["flags"] & _MOVED) or row["flags"] & _LISTED
        is_first = own.label not in self._begun and at <= self._begin_at.get(own.label, at)
        self._begun.put(own.label, None)
        if is_first or is_listed or (row["kind"] == Kind.EXEC and not was_door):
            return None
        moved = row["kind"] in (Kind.MOVE, Kind.SNAPSHOT)
        asker = None if was_door or moved else self._asker(row, self._who_forked(batch, at))
        return Visitor(at, own, was_door, asker)

    def _asker(self, row: np.void, parent: _Who | None) -> Killer | None:
        """Who has begun the process of a FORK row that no runtime has begun; of a list that is not known."""
        if row["kind"] != Kind.FORK or row["flags"] & _LISTED or not row["parent_tgid"]:
            return None
        if parent is None:  # until its first exec a process has the name of who forked it
            return Killer(pid=int(row["old_tid"] or row["parent_tgid"]), comm=decode(bytes(row["comm"])))
        host = parent.proc_id.tgid
        pids = [host] if parent.chain[0].pidns == INITIAL_PIDNS else [host, *(number.nr for number in parent.chain)]
        container = self._attribution.container(parent.chain, parent.cgroup_id)
        return Killer(host, pids, decode(parent.comm), container.label if container else None)


def _identity(proc_id: ProcId) -> int:
    return int(identity(np.array([proc_id.tgid], np.uint64), np.array([proc_id.start_ns], np.uint64))[0])
