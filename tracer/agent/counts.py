"""What the recorder counts for metrics: by batch, never by event. Pure.

Of containers the busiest have counts of their own, the rest has them together: one that becomes busy gets the place of
one that is less so, whose counts go to the rest. So there are never more than so many, and the rest never falls.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.failures import is_failure
from tracer.stream.killers import is_oom, killer_in
from tracer.stream.pidns import chain_of
from tracer.stream.schema import SUMMARY_KINDS, Flag, Kind

HOST, REST = "-", "rest"
_CANDIDATES = 1024  # containers without a place whose events are remembered


@dataclass
class OfContainer:
    """Processes of a container, or of several: begun, failed (a signal, or a code that is not 0), ended for lack of
    memory."""

    begun: int = 0
    failed: int = 0
    out_of_memory: int = 0

    def add(self, other: OfContainer) -> None:
        """Count those of another one as well."""
        self.begun, self.failed = self.begun + other.begun, self.failed + other.failed
        self.out_of_memory += other.out_of_memory


@dataclass
class Counts:
    """Receives every batch. most: how many containers are counted by name."""

    most: int
    kinds: Counter[str] = field(default_factory=Counter)
    containers: dict[str, OfContainer] = field(default_factory=dict)
    rest: OfContainer = field(default_factory=OfContainer)
    _candidates: Counter[str] = field(default_factory=Counter)

    def take(self, batch: Batch, containers: Attribution) -> None:
        """The next batch."""
        rows = batch.rows
        kinds = np.bincount(rows["kind"][rows["flags"] & Flag.INFERRED == 0])
        for kind in SUMMARY_KINDS:
            if kind < len(kinds) and kinds[kind]:
                self.kinds[kind.name.lower()] += int(kinds[kind])
        counted = of_kind(rows, Kind.FORK, Kind.EXIT)
        self._count(batch.select(counted), containers)

    def _count(self, batch: Batch, containers: Attribution) -> None:
        rows = batch.rows
        if not len(rows):
            return
        is_exit = rows["kind"] == Kind.EXIT
        begun, failed = ~is_exit, is_exit & is_failure(rows)
        killed = np.zeros(len(rows), bool)
        killed[[at for at in batch.killed.tolist() if is_oom(killer_in(batch.payload(at).killer))]] = True
        pairs = np.empty(len(rows), [("inum", "<u8"), ("gen", "<u8"), ("cgroup", "<u8")])
        innermost = np.maximum(rows["level"].astype(np.intp), 1) - 1
        inner = rows["chain"][np.arange(len(rows)), np.minimum(innermost, rows["chain"].shape[1] - 1)]
        pairs["inum"], pairs["gen"], pairs["cgroup"] = inner["inum"], inner["gen"], rows["cgroup_id"]
        _found, first, which = np.unique(pairs, return_index=True, return_inverse=True)
        sums = [np.bincount(which[mask], minlength=len(first)).tolist() for mask in (begun, failed, killed)]
        for at, *numbers in zip(first.tolist(), *sums, strict=True):
            container = containers.container(chain_of(batch, at), int(rows["cgroup_id"][at]))
            name = (container.name or container.short_id) if container else HOST
            self._place(name).add(OfContainer(*numbers))

    def _place(self, name: str) -> OfContainer:
        """Where to count a container."""
        if name == REST:  # a container may be called so
            return self.rest
        found = self.containers.get(name)
        if found is not None:
            return found
        if len(self.containers) < self.most:
            return self.containers.setdefault(name, OfContainer())
        self._candidates[name] += 1
        least = min(self.containers, key=lambda one: self.containers[one].begun, default=None)
        if least is not None and self._candidates[name] > max(1, self.containers[least].begun):
            del self._candidates[name]
            self.rest.add(self.containers.pop(least))
            return self.containers.setdefault(name, OfContainer())
        if len(self._candidates) > _CANDIDATES:
            self._candidates = Counter(dict(self._candidates.most_common(_CANDIDATES // 2)))
        return self.rest
