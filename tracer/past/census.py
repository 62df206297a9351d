"""The census of a moment of a recording: the table, replayed up to then, with what each process ran. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tracer.answers.census import NOBODY, Census, Entry
from tracer.attribution import Attribution
from tracer.events import Batch, Kind
from tracer.known import Known
from tracer.pidns import INITIAL_PIDNS, ProcId
from tracer.repair import identities
from tracer.table import Process, Table

_TELLS = (Kind.EXEC, Kind.SNAPSHOT, Kind.FORK)


class Losses(NamedTuple):
    """Events that were lost and not made up for: who began or ended then is not known. Wall clock, ns."""

    lost: int
    since_ns: int
    until_ns: int


class _Told(NamedTuple):
    """What the last event of a process has told of it."""

    uid: int
    cgroup_id: int
    exe: bytes
    args: bytes


class Recall:
    """Fed with all batches up to the moment. wall_offset_ns: wall clock minus boottime."""

    def __init__(self, attribution: Attribution, wall_offset_ns: int) -> None:
        self._attribution, self._offset = attribution, wall_offset_ns
        self._table = Table()
        self._told: dict[int, _Told] = {}  # by identity
        self._gaps: list[tuple[int, int, int]] = []

    def take(self, batches: Iterable[Batch]) -> None:
        """The next batches."""
        for batch in batches:
            self._table.apply(batch)
            self._learn(batch)
            self._note_gaps(batch)

    def _learn(self, batch: Batch) -> None:
        """The last event that tells something of each process, but for those that have ended within the batch."""
        rows = batch.rows
        ids, kinds, has_command = identities(rows), rows["kind"], Known(rows)("args_truncated")
        ended = ids[kinds == Kind.EXIT]
        for identity in ended[np.isin(ended, np.fromiter(self._told, np.uint64, len(self._told)))].tolist():
            del self._told[identity]
        telling = np.flatnonzero(np.isin(kinds, _TELLS) & ~np.isin(ids, ended))
        for at in telling.tolist():
            row, identity = rows[at], int(ids[at])
            exe, args = batch.payload(at)[1:] if has_command[at] else (b"", b"")
            self._told[identity] = _Told(int(row["uid"]), int(row["cgroup_id"]), exe, args)

    def _note_gaps(self, batch: Batch) -> None:
        rows = batch.rows
        for row in rows[rows["kind"] == Kind.GAP]:
            self._gaps.append((int(row["seq"]), int(row["start_ns"]), int(row["ts_ns"])))
        if not self._table.unsure:
            self._gaps.clear()

    def losses(self) -> Losses | None:
        """What makes the census unsure; None: nothing does."""
        if not self._gaps:
            return None
        lost, since, until = zip(*self._gaps, strict=True)
        return Losses(sum(lost), min(since) + self._offset, max(until) + self._offset)

    def census(self) -> Census:
        """Who lives at the moment."""
        known = ((process, self._told.get(_identity(process.proc_id))) for process in self._table.living())
        return Census(self._entry(process, told) for process, told in known if told)

    def _entry(self, process: Process, told: _Told) -> Entry:
        chain = process.chain
        # Whoever took over an orphan is not told; outside of the namespace it is in any case.
        parent = self._table.find(INITIAL_PIDNS, process.parent_tgid)
        knows_parent = parent is not None and parent.proc_id == process.parent and parent.exited_ns is None
        return Entry(
            proc_id=process.proc_id,
            parent=process.parent if knows_parent else None if process.parent_tgid else NOBODY,
            ns_ppid=process.parent_nr if knows_parent or process.parent_nr == 0 else None,
            numbers=tuple(number.nr for number in chain),
            chain=chain,
            containers=self._attribution.enclosing(chain[1:] or chain, told.cgroup_id),
            comm=process.comm,
            exe=told.exe,
            args=told.args,
            uid=told.uid,
            state="",
            started_ns=process.start_ns + self._offset,
        )


def _identity(proc_id: ProcId) -> int:
    return (proc_id.start_ns << 22 ^ proc_id.tgid) & (1 << 64) - 1  # as identities() counts
