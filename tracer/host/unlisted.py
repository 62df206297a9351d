"""Processes that /proc shows and the kernel's iterator over tasks does not: a hardened kernel may hide some from BPF.

They are reported as the list reports the others, where all that identifies them is known: the exact start is not in
/proc, but every child has its parent's.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.host.proc_operations import Proc
from tracer.host.procfs import TICK_NS, LivingProcess
from tracer.stream.batch import EVENT, Batch, join_rows, of_kind, pick
from tracer.stream.schema import STREAM_KINDS, Kind
from tracer.system.host_pidns import INITIAL_PIDNS_INUM


class Unlisted(NamedTuple):
    """batch: SNAPSHOT rows of processes for which all values of a row are known. unknown: the PIDs of the others."""

    batch: Batch
    unknown: tuple[int, ...]


def find_unlisted(proc: Proc, listed: Batch, early: Batch, began_ns: int) -> Unlisted:
    """The processes that neither the list nor an event has reported. listed: SNAPSHOT rows; early: the events since
    began_ns (boottime). The rows have the time at which the list ends."""
    known = join_rows([listed.rows, pick(early.rows, ~of_kind(early.rows, *STREAM_KINDS))])
    rows, unknown = [], []
    for tgid in sorted(set(proc.tgids()).difference(known["tgid"].tolist())):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            process = proc.process(tgid)
            if process.proc_id.start_ns >= began_ns - TICK_NS:
                continue  # its fork event is on its way
            row = _row(proc, process, known)
            if row is None:
                unknown.append(tgid)
            else:
                rows.append(row)
    found = Batch.concat(map(Batch, rows))
    found.rows["ts_ns"] = listed.rows["ts_ns"].max()
    return Unlisted(found, tuple(unknown))


def _row(proc: Proc, process: LivingProcess, known: NDArray[np.void]) -> NDArray[np.void] | None:
    """The row of a process; None: something that identifies it, or that decides about it, is not known."""
    start_ns, cgroup_id = _exact_start_ns(process, known), proc.cgroup_id(process.cgroup)
    if start_ns is None or cgroup_id is None or process.level:
        return None
    parents = known["start_ns"][known["tgid"] == process.parent_tgid]
    row = np.zeros(1, EVENT)
    row["kind"], row["state"], row["comm"], row["uid"] = Kind.SNAPSHOT, ord(process.state), process.comm, process.uid
    row["tgid"] = row["tid"] = row["vtid"] = row["chain"]["nr"][:, 0] = process.tgid
    row["chain"]["inum"][:, 0] = INITIAL_PIDNS_INUM
    row["start_ns"], row["cgroup_id"] = start_ns, cgroup_id
    if len(parents):
        row["parent_tgid"] = row["parent_vtgid"] = process.parent_tgid
        row["parent_start_ns"] = parents[-1]
    return row


def _exact_start_ns(process: LivingProcess, known: NDArray[np.void]) -> int | None:
    """The start time as the process's children have it, since /proc has clock ticks; None: no child is known."""
    starts = known["parent_start_ns"][known["parent_tgid"] == process.tgid]
    exact = starts[starts // TICK_NS == process.proc_id.start_ns // TICK_NS]
    return int(exact[0]) if len(exact) else None
