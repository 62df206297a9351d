"""What the events of a recording report of a process that can change without an event: user, name, parent. Pure.

Every event of a process has them as they were at its moment, and nothing reports that they change (a change of
credentials or of the name has no tracepoint, and neither has reparenting). So an answer is as of the last event, and
says so; where the next event reports something else, it says that it had changed by then. All times are boottime, in
ns, except those of an Entry.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.answers.census import NOBODY, AsOf, Entry, Later
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.pidns import Chain, ProcId
from tracer.stream.schema import LIFE_KINDS, Flag, Kind


class Report(NamedTuple):
    """What one event reports. uid, parent: None: not known. ns_ppid: the parent's number in the process's innermost
    namespace, 0: it has none there. is_carried: of an earlier event, which another file of the recording holds.
    is_reported: False: there was no report yet."""

    kind: Kind
    ts_ns: int
    uid: int | None
    comm: bytes
    parent: ProcId | None
    ns_ppid: int
    cgroup_id: int
    is_carried: bool
    is_reported: bool = True


class Command(NamedTuple):
    """What a process runs. args: None: not known; args_truncated: there were more than these. is_shortened: more were
    recorded than are kept here."""

    exe: bytes
    args: bytes | None
    args_truncated: bool = False
    is_shortened: bool = False


class Fate(NamedTuple):
    """What is known of a process at a moment: whether it lives for certain, and else when it had ended, at the latest;
    None: not known."""

    lives: bool
    ended_ns: int | None = None


UNKNOWN_COMMAND = Command(b"", None)


def command_in(batch: Batch, index: int) -> Command:
    """The command that a row reports whose arguments are known."""
    payload = batch.payload(index)
    return Command(payload.exe, payload.args, bool(batch.rows["flags"][index] & Flag.ARGS_TRUNCATED))


def reporting(rows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which rows report their process as it was at their moment, shape (n,). A thread has a name and a user of its own;
    an inferred exit has those that were known already."""
    found: NDArray[np.bool_] = of_kind(rows, *LIFE_KINDS, Kind.MOVE) | Known(rows)("status")
    return found


def reports_of(rows: NDArray[np.void]) -> list[Report]:
    """The report of each row."""
    known = Known(rows)
    parents = zip(rows["parent_tgid"].tolist(), rows["parent_start_ns"].tolist(), strict=True)
    columns = [rows[name].tolist() for name in ("kind", "ts_ns", "uid", "comm", "parent_vtgid", "cgroup_id", "flags")]
    return [
        Report(
            kind=Kind(kind),
            ts_ns=ts_ns,
            uid=uid if has_uid else None,
            comm=comm,
            parent=None if not has_parent else ProcId(*parent) if parent[0] else NOBODY,
            ns_ppid=ns_ppid,
            cgroup_id=cgroup_id,
            is_carried=bool(flags & Flag.CARRIED),
        )
        for parent, has_uid, has_parent, kind, ts_ns, uid, comm, ns_ppid, cgroup_id, flags in zip(
            parents, known("uid").tolist(), known("ppid").tolist(), *columns, strict=True
        )
    ]


def unreported(first: Report, start_ns: int) -> Report:
    """What is known of a process before its first report: nothing that it can change."""
    return first._replace(ts_ns=start_ns, uid=None, comm=b"", parent=None, ns_ppid=0, cgroup_id=0, is_reported=False)


class Described(NamedTuple):
    """A process at a moment: its last report until then, the next one, what it runs, and what became of its parent."""

    proc_id: ProcId
    chain: Chain
    report: Report
    later: Report | None
    command: Command
    parent: Fate

    def entry(self, attribution: Attribution, wall_offset_ns: int) -> Entry:
        """The entry for an answer. No event reports which process adopts an orphan, but a parent outside of the
        process's innermost namespace is followed by another outside of it: find_new_reaper(), kernel/exit.c."""
        report, chain = self.report, self.chain
        is_known = self.parent.lives or report.parent == NOBODY
        return Entry(
            proc_id=self.proc_id,
            parent=report.parent if is_known else None,
            ns_ppid=report.ns_ppid if is_known or (report.parent and report.ns_ppid == 0) else None,
            numbers=tuple(number.nr for number in chain),
            chain=chain,
            containers=attribution.enclosing(chain[1:] or chain, report.cgroup_id),
            comm=report.comm,
            exe=self.command.exe,
            args=self.command.args,
            uid=report.uid,
            state="",
            started_ns=self.proc_id.start_ns + wall_offset_ns,
            as_of=self._as_of(wall_offset_ns),
            args_truncated=self.command.args_truncated,
        )

    def _as_of(self, wall_offset_ns: int) -> AsOf:
        ended_ns = None if self.parent.lives else self.parent.ended_ns
        return AsOf(
            at_ns=self.report.ts_ns + wall_offset_ns,
            at_the_latest=self.report.is_carried,
            last_parent=self.report.parent,
            parent_ended_ns=None if ended_ns is None else ended_ns + wall_offset_ns,
            later=_changes(self.report, self.later, wall_offset_ns) if self.later else None,
        )


def _changes(before: Report, after: Report, wall_offset_ns: int) -> Later | None:
    if not before.is_reported:
        return Later(after.ts_ns + wall_offset_ns, after.uid, after.comm or None, after.parent)
    uid = None if before.uid is None or after.uid == before.uid else after.uid
    parent = None if before.parent is None or after.parent == before.parent else after.parent
    is_renamed = after.kind != Kind.EXEC and b"" not in (before.comm, after.comm) and before.comm != after.comm
    comm = after.comm if is_renamed else None
    if uid is None and parent is None and comm is None:
        return None
    return Later(after.ts_ns + wall_offset_ns, uid, comm, parent)
