"""The live source: the kernel's events with their containers, reduced to the targets. Combines the edges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from tracer import procfs
from tracer.attribution import Attribution, reduce
from tracer.containers.cgroups import Cgroups
from tracer.errors import ExitCode, NstraceError
from tracer.events import EVENT, Batch, Kind
from tracer.facts import CgroupFact, CgroupName
from tracer.kernel.trace import Trace
from tracer.kernel.wire import Decoded
from tracer.pidns import PidnsId
from tracer.selection import Selection
from tracer.targets import Target, TargetKind


class LiveSource:
    """Batches of a running trace, until `stopped` says so. Snapshot rows come first."""

    def __init__(self, trace: Trace, targets: tuple[Target, ...], cgroups: Cgroups, early: Decoded) -> None:
        """early: what the trace has told before (the self-check's by-catch)."""
        self.trace = trace
        self._early = early
        self.attribution = Attribution()
        self.wall_offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._cgroups = cgroups
        self._selection = Selection(targets, self.attribution)
        self._max_args_bytes = trace.options.max_args_bytes

    @property
    def lost(self) -> int:
        """Events that the ring refused, as far as found."""
        return self.trace.lost

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """The events that the targets mean. timeout_s: how long the next wait may take, None: stop now. Yields an
        empty batch when a wait ends without an event."""
        yield from map(self._with_commands, self._choose(self._first()))
        while (wait := timeout_s()) is not None:
            yield from self._told(self.trace.poll(wait))
        yield from self._told(self.trace.finish())

    def _first(self) -> Batch:
        """The processes that are there. Probes were attached before the list was read, so a process may be in both:
        its fork tells more."""
        snapshot = self.trace.snapshot()
        late = self.trace.poll(0)
        early = Decoded(Batch.concat([self._early.batch, late.batch]), [*self._early.cgroups, *late.cgroups])
        born = _identities(early.batch.rows[early.batch.rows["kind"] == Kind.FORK])
        older = snapshot.batch.select(~np.isin(_identities(snapshot.batch.rows), born))
        self._bind(snapshot.batch)
        facts = self._facts([*snapshot.cgroups, *early.cgroups])
        return Batch.concat([facts, older, early.batch])

    def _bind(self, snapshot: Batch) -> None:
        """A target pidns:INUM means the namespace that has this number now, not a later one."""
        self._selection.targets = tuple(
            _bound(target, snapshot) if target.kind == TargetKind.PIDNS else target
            for target in self._selection.targets
        )

    def _told(self, decoded: Decoded) -> Iterator[Batch]:
        return self._choose(Batch.concat([self._facts(decoded.cgroups), decoded.batch]))

    def _choose(self, batch: Batch) -> Iterator[Batch]:
        """The rows that the targets mean, in parts as containers become known; one empty part where nothing came."""
        if not len(batch):
            yield batch
        for part in self.attribution.take(batch):
            mask = self._selection.mask(part)
            self.trace.maps.decide(self._selection.take_fresh())
            yield reduce(part, mask)

    def _facts(self, names: list[CgroupName]) -> Batch:
        if not names:
            return Batch(np.empty(0, EVENT))
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return _fact_rows(self._cgroups.learn(names), now_ns)

    def _with_commands(self, batch: Batch) -> Batch:
        """The snapshot rows with what each process runs, from /proc."""
        snapshot = np.flatnonzero(batch.rows["kind"] == Kind.SNAPSHOT).tolist()
        rows, heap, at = batch.rows.copy(), [], 0
        for index in snapshot:
            row, start = rows[index], int(batch.starts[index])
            exe, args = procfs.command(int(row["tgid"]), int(row["start_ns"]), self._max_args_bytes)
            row["exe_len"], row["args_len"], row["args_total"] = len(exe), len(args), len(args)
            deep_end = start + int(row["deep_len"])
            heap += [batch.heap[at:deep_end], exe, args]
            at = deep_end
        return Batch(rows, b"".join(heap) + batch.heap[at:])


def _identities(rows: np.ndarray) -> np.ndarray:
    """One number for each row's process: start times differ where the tgid is the same."""
    identity: np.ndarray = rows["start_ns"] * np.uint64(1 << 22) ^ rows["tgid"]  # a PID has 22 bits
    return identity


def _bound(target: Target, snapshot: Batch) -> Target:
    inum = int(target.value)
    chains = snapshot.rows["chain"].reshape(-1)
    found = chains[chains["inum"] == inum]
    if not len(found):
        raise NstraceError(
            f"no process is in a PID namespace {inum}", "lsns -t pid lists those that there are", ExitCode.NO_TARGET
        )
    pidns = PidnsId(inum, int(found["gen"][0]))
    return Target(target.kind, target.value, target.text, pidns.gen)


def _fact_rows(facts: list[tuple[int, CgroupFact]], now_ns: int) -> Batch:
    rows = np.zeros(len(facts), EVENT)
    payloads = [msgspec.json.encode(fact) for _cgroup_id, fact in facts]
    rows["kind"], rows["ts_ns"] = Kind.CGROUP, now_ns
    rows["cgroup_id"] = [cgroup_id for cgroup_id, _fact in facts]
    rows["args_len"] = rows["args_total"] = [len(payload) for payload in payloads]
    return Batch(rows, b"".join(payloads))
