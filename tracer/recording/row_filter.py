"""Of a recording's columns only the rows that are about some numbers: other rows are not even decoded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.columns import values_of
from tracer.recording.schema import SCHEMA
from tracer.stream.metadata import RUNTIME_EXE
from tracer.stream.schema import COUNTED_KINDS

_PROCESS_EVENTS = pa.array([kind.name.lower() for kind in COUNTED_KINDS])
_Numbers = NDArray[np.int64]


class RowFilter:
    """Keeps the rows of processes that have one of these numbers, on the host or inside; all rows about the stream
    itself; the snapshot; and what identifies containers' namespaces: first processes, and the first exec in a cgroup
    that is not the runtime's own.

    parents: host PIDs of the parents of processes with such numbers. Rows about a parent after it is named as one are
    kept as well; how it began may lie before that.
    """

    needs = pa.schema([SCHEMA.field(name) for name in ("event", "pids", "ns_pid", "cgroup_id", "exe", "pid", "ppid")])

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = np.array(sorted(numbers), np.int64)
        self._cgroups = np.empty(0, np.int64)
        self.parents = np.empty(0, np.int64)

    def keeps(self, columns: pa.RecordBatch) -> NDArray[np.bool_]:
        """As `Sieve.keeps`."""
        event, pids, ns_pid, cgroup_id, exe, pid, ppid = (columns.column(name) for name in self.needs.names)
        asked = np.zeros(len(columns), bool)
        asked[values_of(pc.list_parent_indices(pids))[np.isin(values_of(pids.flatten()), self._numbers)]] = True
        if asked.any():
            self.parents = np.union1d(self.parents, values_of(ppid)[asked])
        keep: NDArray[np.bool_] = asked | _mask(pc.invert(pc.is_in(event, value_set=_PROCESS_EVENTS)))
        keep |= (values_of(ns_pid) == 1) | np.isin(values_of(pid), self.parents)
        commands = _mask(pc.equal(event, "exec")) & ~_mask(pc.starts_with(exe, RUNTIME_EXE))
        self._keep_first(keep, np.flatnonzero(commands), values_of(cgroup_id))
        return keep

    def has_number(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Which rows (array of EVENT) are of processes that have, or may have, one of the numbers, shape (n,)."""
        found: NDArray[np.bool_] = np.isin(rows["tgid"], self._numbers) | (rows["deep_len"] > rows["killer_len"])
        return found | np.isin(rows["chain"]["nr"], self._numbers).any(axis=1)

    def _keep_first(self, keep: NDArray[np.bool_], commands: _Numbers, cgroup_id: _Numbers) -> None:
        cgroups, first = np.unique(cgroup_id[commands], return_index=True)
        new = ~np.isin(cgroups, self._cgroups)
        keep[commands[first[new]]] = True
        self._cgroups = np.union1d(self._cgroups, cgroups)


class RowsOf:
    """Keeps the rows of processes that have one of these PIDs on the host, and those of losses. event: keep only rows
    of this kind."""

    needs = pa.schema([SCHEMA.field(name) for name in ("event", "pid")])

    def __init__(self, pids: Iterable[int], event: str | None = None) -> None:
        self._pids, self._event = np.array(sorted(pids), np.int64), event

    def keeps(self, columns: pa.RecordBatch) -> NDArray[np.bool_]:
        """As `Sieve.keeps`."""
        event, pid = (columns.column(name) for name in self.needs.names)
        keep: NDArray[np.bool_] = np.isin(values_of(pid), self._pids)
        if self._event is None:
            return keep | _mask(pc.equal(event, "gap"))
        return keep & _mask(pc.equal(event, self._event))


def _mask(array: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = values_of(array.cast(pa.int8())) != 0
    return mask
