"""What a trace begins with: the processes that exist already, and the events since the programs run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from tracer.containers.cgroups import Cgroups
from tracer.containers.resolve_targets import indistinct, refuted
from tracer.host.proc_operations import Proc
from tracer.host.unlisted import find_unlisted
from tracer.kernel.trace import Trace
from tracer.stream.batch import Batch
from tracer.stream.beginning import in_order
from tracer.stream.claims import Claims, bound
from tracer.stream.decoding import Decoded
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.metadata import CgroupFact
from tracer.stream.needed_facts import fact_rows
from tracer.stream.selection import Selection
from tracer.text.hints import shown
from tracer.typed.targets import TargetKind

Inits = Callable[[Collection[str]], Mapping[int, str]]
"""Host PID -> id: first processes, as an engine reports them, of all running containers except those with these ids."""


class FirstBatch:
    """Of one trace; `read` it once. The parameters are those of `tracer.wiring.live.LiveSource`. removed: the ids of
    cgroups that were removed before it was read."""

    def __init__(
        self,
        trace: Trace,
        proc: Proc,
        cgroups: Cgroups,
        firsts: FirstProcesses,
        selection: Selection,
        inits: Inits,
        say: Callable[[str], None],
    ) -> None:
        self._trace, self._proc, self._cgroups, self._firsts = trace, proc, cgroups, firsts
        self._selection, self._inits, self._say = selection, inits, say
        self.removed: Sequence[int] = ()

    def read(self, early: Decoded) -> Batch:
        """The processes that exist, and the events since the trace began, with what they need to be known ahead. early:
        what the trace has reported before. Raises NstraceError for a container that cannot be distinguished."""
        snapshot = self._trace.snapshot()
        early = Decoded.concat([early, self._trace.drain()])
        self.removed = early.removed
        early = early._replace(batch=early.batch.select(early.batch.rows["ts_ns"] > self._trace.began_ns))
        hidden = find_unlisted(self._proc, snapshot.batch, early.batch, self._trace.began_ns)
        if hidden.unknown:
            pids = shown(list(map(str, hidden.unknown)))
            self._say(f"the kernel does not list these processes for eBPF, so they are not in the snapshot: {pids}")
        first = in_order(Batch.concat([snapshot.batch, hidden.batch]), early.batch, self._trace.began_ns)
        self._bind(snapshot.batch)
        for known in (snapshot.batch, early.batch):
            self._firsts.note(known)
        facts = self._cgroups.learn([*snapshot.cgroups, *early.cgroups])
        self._cgroups.first_of = lambda _id: None  # nothing waits for an engine from here on
        moved = self._moved(snapshot.batch, dict(facts))
        return Batch.concat([fact_rows(facts, self._trace.began_ns), moved, first])

    def _moved(self, snapshot: Batch, facts: Mapping[int, CgroupFact]) -> Batch:
        """PIDNS rows for containers whose processes were moved out of their cgroups. Raises NstraceError for one that a
        target means and that cannot be distinguished."""
        rows = snapshot.rows
        first = (rows["level"] > 0) & (rows["chain"]["nr"][:, 0] == 1)
        cgroups = set(rows["cgroup_id"][first].tolist())  # a process that came later says nothing of the first one
        ids = {fact.container.id for cgroup_id, fact in facts.items() if fact.container and cgroup_id in cgroups}
        moved = Claims(self._inits(ids), snapshot, facts, self._cgroups.moved)
        for container, tgid in moved.refuted:
            self._say(refuted(container.label, tgid))
        for container, tgid in moved.indistinct:
            meant = [target.kind for target in self._selection.targets if target.means((container,), ())]
            error = indistinct(container.label, tgid)
            if any(kind != TargetKind.ALL for kind in meant):
                raise error
            if meant:
                self._say(error.message)
        return moved.owners(self._trace.began_ns)

    def _bind(self, snapshot: Batch) -> None:
        """Bind a target pidns:INUM to the namespace that has this number now, not a later one."""
        self._selection.targets = tuple(
            bound(target, snapshot) if target.kind == TargetKind.PIDNS else target for target in self._selection.targets
        )
