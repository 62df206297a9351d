"""After a gap: the kernel's own list of processes against the table; what differs becomes inferred events. Pure.

The list (a snapshot of all processes) is no single moment: it is read while processes come and go. So a verdict takes
three steps, in this order: the processes that live according to the events so far; the list; all events that were
reported until the list was read. A process that lived at the first step and is not in the list has ended, and its exit
was lost: any other exit has been reported by the third step. A process that is in the list and in no event until then
was born, and its fork was lost or is on its way. A process with more execs in the list than were reported has changed
its program. That is counted by the kernel (exec_id), since the name does not show it: a process can give itself any
name, and can exec a program of the name that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import EVENT, NUMBER, Batch, of_kind
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId, ProcId
from tracer.stream.schema import Flag, Kind
from tracer.stream.table import ECHO_NS, Process, Table

SOON_S = 0.1
WITHIN_S = 2.0
_PAUSE = 9  # nine parts of rest to one of work
_MIX = np.uint64(0x9E3779B97F4A7C15)  # spreads a small number over all bits


def identities(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """One number for each row's process, shape (n,): start times differ where the tgid is the same."""
    return identity(rows["tgid"], rows["start_ns"])


def _identities_of(processes: list[Process]) -> NDArray[np.uint64]:
    tgids = np.array([process.tgid for process in processes], np.uint64)
    return identity(tgids, np.array([process.start_ns for process in processes], np.uint64))


def identity(tgid: NDArray[np.integer[Any]], start_ns: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One number for each process, from its PID on the host and its start time."""
    return start_ns * np.uint64(1 << 22) ^ tgid.astype(np.uint64)  # a PID has 22 bits


def born(listed: Batch, table: Table, reported: Batch, since_ns: int) -> Batch:
    """Processes that are in the list and in no event, as FORK rows marked INFERRED, in order of their start. reported:
    the events of the third step, known to the table; an exit among them may be of a process that was not known.
    since_ns: when events were first lost; a process whose fork event was due before that counts as seen, even if the
    table does not know it."""
    rows = listed.rows
    exited = identities(reported.rows[reported.rows["kind"] == Kind.EXIT])
    candidates = (rows["flags"] & Flag.ENDING == 0) & ~np.isin(identities(rows), exited)
    candidates &= rows["start_ns"].astype(np.int64) >= since_ns - ECHO_NS
    for index in np.flatnonzero(candidates).tolist():
        row = rows[index]
        if table.was_evicted(ProcId(int(row["tgid"]), int(row["start_ns"]))):
            candidates[index] = False
            continue
        inum, nr, gen = row["chain"][0].tolist()
        holders = table.find(INITIAL_PIDNS, int(row["tgid"])), table.find(PidnsId(inum, gen), nr)
        # known, or its number was given away since
        candidates[index] = all(holder is None or holder.start_ns < row["start_ns"] for holder in holders)
    found = listed.select(candidates)
    found = found.take(np.argsort(found.rows["start_ns"], kind="stable"))
    found.rows["kind"], found.rows["flags"] = Kind.FORK, found.rows["flags"] | Flag.INFERRED
    return found


def changed(listed: Batch, table: Table) -> Batch:
    """Processes that run another program than was reported by the third step, as EXEC rows marked INFERRED. Of several
    execs that were lost in a row only the last."""
    rows = listed.rows
    processes = table.living()
    known = dict(zip(_identities_of(processes).tolist(), (process.exec_id for process in processes), strict=True))
    exec_ids, listed_ids = rows["exec_id"].tolist(), identities(rows).tolist()
    reported = [known.get(identity, own) for identity, own in zip(listed_ids, exec_ids, strict=True)]
    ahead = (rows["exec_id"] - np.array(reported, np.uint16)).view(np.int16)  # it wraps around after 65 535
    found = listed.select((ahead > 0) & (rows["flags"] & Flag.ENDING == 0))
    changes = found.rows.copy()
    changes["kind"], changes["flags"] = Kind.EXEC, changes["flags"] | Flag.INFERRED
    changes["old_tid"] = changes["tgid"]
    return Batch(changes, found.heap)


def vanished(living: Iterable[Process], listed: Batch, table: Table, is_there: Callable[[int], bool]) -> list[Process]:
    """Of the processes that lived at the first step, those that have ended without an exit event.

    is_there: whether any process has this host PID, by another source: one that is in neither list nor exit must be
    absent there too. (An exec by a thread gives it the leader's number in two steps: exchange_tids(), kernel/pid.c.)
    """
    rows = listed.rows
    lives = rows["flags"] & Flag.ENDED == 0
    processes = [process for process in living if process.exited_ns is None]
    gone = ~np.isin(_identities_of(processes), identities(rows[lives]))
    listed_tgids = set(rows["tgid"].tolist())
    found = (processes[index] for index in np.flatnonzero(gone).tolist())
    return [
        process
        for process in found
        if _was_not_evicted(process, table) and (process.tgid in listed_tgids or not is_there(process.tgid))
    ]


def _was_not_evicted(process: Process, table: Table) -> bool:
    """Whether the table still has it or has given its number away: the exit of an evicted process has no witness."""
    holder = table.find(INITIAL_PIDNS, process.tgid)
    return holder is not None and holder.start_ns >= process.start_ns


def exit_rows(processes: list[Process]) -> Batch:
    """The EXIT rows of processes, marked INFERRED, without a time: how and when they ended is not known."""
    rows, heap = np.zeros(len(processes), EVENT), []
    rows["kind"], rows["flags"] = Kind.EXIT, Flag.INFERRED
    for row, process in zip(rows, processes, strict=True):
        inside = process.chain[1:] or process.chain  # in the initial namespace alone: a chain of one
        numbers = np.array([(pidns.inum, nr, pidns.gen) for pidns, nr in reversed(inside)], NUMBER)
        inline = numbers[: row["chain"].shape[0]]
        row["chain"][: len(inline)] = inline
        heap.append(numbers[len(inline) :].tobytes())
        row["deep_len"], row["level"], row["cgroup_id"] = len(heap[-1]), len(process.chain) - 1, process.cgroup_id
        row["tgid"], row["tid"], row["vtid"] = process.tgid, process.tgid, process.nr
        row["start_ns"], row["comm"] = process.start_ns, process.comm
        row["parent_tgid"], row["parent_start_ns"] = process.parent_tgid, process.parent_start_ns
        row["parent_vtgid"] = process.parent_nr
    return Batch(rows, b"".join(heap))


def repair_row(began_ns: int, now_ns: int) -> Batch:
    """The REPAIR row that ends a repair."""
    row = np.zeros(1, EVENT)
    row["kind"], row["start_ns"], row["ts_ns"] = Kind.REPAIR, began_ns, now_ns
    return Batch(row)


class Schedule:
    """When to repair: soon after a gap, when those that follow it at once have come too; under continuous loss now and
    then, the less often the longer a list takes, but within WITHIN_S of the last gap. Times in s, all of one clock."""

    def __init__(self) -> None:
        self._due_s: float | None = None
        self._not_before_s = 0.0

    def want(self, now_s: float) -> None:
        """Note that something was lost."""
        if self._due_s is None:
            self._due_s = max(now_s + SOON_S, self._not_before_s)

    def due_in(self, now_s: float) -> float:
        """Seconds until a repair is due; 0: now, infinite: nothing was lost."""
        return float("inf") if self._due_s is None else max(0.0, self._due_s - now_s)

    def done(self, began_s: float, now_s: float) -> None:
        """Note that the list has been read; what is lost from now on needs another repair."""
        self._due_s = None
        self._not_before_s = now_s + min(WITHIN_S / 2, max(SOON_S, _PAUSE * (now_s - began_s)))


class Echoes:
    """Forks and execs that arrive after they were inferred from a list: no event is reported twice."""

    def __init__(self) -> None:
        self._expected: list[tuple[int, NDArray[np.uint64]]] = []
        self._sorted = np.zeros(0, np.uint64)  # all of them

    def expect(self, rows: NDArray[np.void], now_ns: int) -> None:
        """Note rows that were inferred from a list that was read until now_ns."""
        recent = rows[(rows["start_ns"].astype(np.int64) > now_ns - ECHO_NS) | (rows["kind"] == Kind.EXEC)]
        if len(recent):
            self._expected.append((now_ns, _reports(recent)))
            self._sort()

    def _sort(self) -> None:
        """Once for all batches: many processes may be expected, and a batch has few rows."""
        self._sorted = np.sort(np.concatenate([np.zeros(0, np.uint64), *(ids for _since, ids in self._expected)]))

    def drop(self, batch: Batch, now_ns: int) -> Batch:
        """The batch without the events that were inferred already."""
        while self._expected and self._expected[0][0] < now_ns - ECHO_NS:
            self._expected.pop(0)
            self._sort()
        echoes = of_kind(batch.rows, Kind.FORK, Kind.EXEC)
        if not self._expected or not echoes.any():
            return batch
        reports = _reports(batch.rows)
        places = np.minimum(np.searchsorted(self._sorted, reports), len(self._sorted) - 1)
        return batch.select(~(echoes & (self._sorted[places] == reports)))


def _reports(rows: NDArray[np.void]) -> NDArray[np.uint64]:
    """One number for what each row reports: that its process exists, or that it has done an exec, and which."""
    execs = np.where(rows["kind"] == Kind.EXEC, rows["exec_id"].astype(np.uint64) + np.uint64(1), np.uint64(0))
    return identities(rows) ^ execs * _MIX
