"""Which PID namespaces are over. With the first process of one all others end, and it never comes again:
zap_pid_ns_processes(), kernel/pid_namespace.c. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from tracer.stream.batch import Batch
from tracer.stream.pidns import PidnsId
from tracer.stream.schema import Kind

LATER_NS = 2_000_000_000
"""So long after its end something may be said of a namespace yet."""


class EndedSpace(NamedTuple):
    """A namespace that is over. cgroup_id: that of its first process when it ended; ended_ns: when (boottime)."""

    pidns: PidnsId
    cgroup_id: int
    ended_ns: int


class EndedSpaces:
    """Receives every batch of a stream. keep: so many are never due, the last."""

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self._ended: dict[PidnsId, EndedSpace] = {}

    def take(self, batch: Batch) -> None:
        """Note whose first process has ended."""
        if not batch.has(Kind.EXIT) or not len(batch.firsts):
            return
        firsts = batch.rows[batch.firsts]
        ends = firsts[firsts["kind"] == Kind.EXIT]
        own = ends["chain"][:, 0]
        columns = own["inum"], own["gen"], ends["cgroup_id"], ends["ts_ns"]
        for inum, gen, cgroup_id, ts_ns in zip(*(column.tolist() for column in columns), strict=True):
            self._ended[PidnsId(inum, gen)] = EndedSpace(PidnsId(inum, gen), cgroup_id, ts_ns)

    def due(self, until_ns: int, is_alive: Callable[[PidnsId], bool] = lambda _pidns: False) -> list[EndedSpace]:
        """Those of which nothing more is said, each once. until_ns: everything was said until then (boottime);
        is_alive: whether a process is known yet that lives in one: then it waits."""
        ended_by_ns = until_ns - LATER_NS
        oldest = itertools.islice(self._ended.values(), max(0, len(self._ended) - self._keep))
        due = [one for one in oldest if one.ended_ns <= ended_by_ns and not is_alive(one.pidns)]
        for one in due:
            del self._ended[one.pidns]
        return due
