"""The first processes of nested PID namespaces, and the cgroups that they are in: what was read, in its order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tracer.stream.attribution import MAX_FACTS, births_in
from tracer.stream.batch import Batch
from tracer.stream.lru import Lru
from tracer.stream.schema import Kind


class FirstProcesses:
    """Receives what the kernel reports ahead of all that is worked out from it. is_alive: PID on the host -> whether
    there is such a process now."""

    def __init__(self, is_alive: Callable[[int], bool]) -> None:
        self._is_alive = is_alive
        self._cgroups: Lru[tuple[int, int], int] = Lru(MAX_FACTS)  # by PID and start

    def note(self, batch: Batch) -> None:
        """Receive the next batch: a process that moves is where it began, unless its runtime moves it on."""
        if not len(batch.firsts):
            return
        for at in np.flatnonzero(births_in(batch)).tolist():
            row = batch.rows[at]
            self._cgroups.put((int(row["tgid"]), int(row["start_ns"])), int(row["cgroup_id"]))
        for at in batch.firsts[batch.rows["kind"][batch.firsts] == Kind.EXIT].tolist():
            self._cgroups.pop((int(batch.rows["tgid"][at]), int(batch.rows["start_ns"][at])))

    def living(self) -> Iterator[tuple[int, int, int]]:
        """Of each that is alive: the cgroup (its id), the start (boottime, ns), and the PID on the host."""
        for tgid, start_ns in list(self._cgroups):
            if not self._is_alive(tgid):
                self._cgroups.pop((tgid, start_ns))  # ended where no event is delivered
            elif (cgroup_id := self._cgroups.get((tgid, start_ns))) is not None:
                yield cgroup_id, start_ns, tgid
