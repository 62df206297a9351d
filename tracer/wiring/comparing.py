"""Events, and beside them what the kernel's list of processes shows that no event has: after a gap, after a rename."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from tracer.containers.cgroups import Cgroups
from tracer.kernel.trace import Trace, last_ns, now_ns
from tracer.stream.batch import EVENT, Batch
from tracer.stream.decoding import Decoded
from tracer.stream.first_processes import FirstProcesses
from tracer.stream.metadata import CgroupName
from tracer.stream.needed_facts import fact_rows
from tracer.stream.repair import Echoes, Schedule, born, changed, exit_rows, repair_row, vanished
from tracer.stream.schema import Flag, Kind
from tracer.stream.selection import Selection
from tracer.stream.table import Table
from tracer.system.pidfd import has_process
from tracer.wiring.choosing import Choosing

_OBSERVED = np.uint8(~Flag.INFERRED & 0xFF)


class Comparing:
    """Passes on what was read, with the facts that come with it; what a list has shown before is left out. table: it is
    compared with the list, which it need not be before the first batch."""

    def __init__(
        self,
        trace: Trace,
        table: Table,
        cgroups: Cgroups,
        firsts: FirstProcesses,
        selection: Selection,
        choosing: Choosing,
    ) -> None:
        self._trace, self._table, self._cgroups, self._firsts = trace, table, cgroups, firsts
        self._selection, self._choosing = selection, choosing
        self._repairs, self._echoes = Schedule(), Echoes()

    def first(self, batch: Batch) -> Iterator[Batch]:
        """The first batch, reduced to the targets."""
        listed = listed_rows(batch)
        self._echoes.expect(listed, now_ns())
        ending = listed["flags"] & (Flag.ENDING | Flag.ENDED) == Flag.ENDING
        if ending.any() or batch.has(Kind.GAP):  # its exit event may have been before the trace began
            self.want()
        return self._choosing.take(batch)

    def want(self) -> None:
        """Have a repair soon: something was lost."""
        self._repairs.want(time.monotonic())

    def due_in(self) -> float:
        """Seconds until a repair is due; infinite: nothing was lost."""
        return self._repairs.due_in(time.monotonic())

    def events_of_all(self, read: list[Decoded]) -> Iterator[Batch]:
        """As `events_of`."""
        for decoded in read:
            yield from self.events_of(decoded)

    def events_of(self, decoded: Decoded) -> Iterator[Batch]:
        """What was read, reduced to the targets, with new facts ahead of it; a gap schedules a repair."""
        if decoded.batch.has(Kind.GAP):
            self.want()
        self._firsts.note(decoded.batch)
        self._choosing.removed.note(decoded.removed, now_ns())
        batch = self._echoes.drop(decoded.batch, now_ns())
        facts_ns = int(batch.rows["ts_ns"][0]) if len(batch) else now_ns()
        return self._choosing.take(Batch.concat([self._facts(decoded.cgroups, facts_ns), batch]))

    def _facts(self, names: list[CgroupName], ts_ns: int) -> Batch:
        if not names:
            return Batch(np.empty(0, EVENT))
        return fact_rows(self._cgroups.learn(names), ts_ns)

    def repair(self) -> Iterator[Batch]:
        """Take the three steps of `tracer.stream.repair`, and yield what they have shown."""
        began_ns, began_s = now_ns(), time.monotonic()
        living = self._table.living()
        listed = self._trace.snapshot()
        self._repairs.done(began_s, time.monotonic())
        found_ns = now_ns()
        reported = self._trace.drain()
        found_ns = max(found_ns, last_ns(reported.batch))  # between what is drained and what comes next
        yield from self.events_of(reported._replace(cgroups=[*listed.cgroups, *reported.cgroups]))
        ended = vanished(living, listed.batch, self._table, has_process)
        found = Batch.concat([exit_rows(ended), *self._unseen(listed.batch, reported.batch)])
        found.rows["ts_ns"] = found_ns  # neither what happened is known, nor when
        self._echoes.expect(found.rows[found.rows["kind"] != Kind.EXIT], now_ns())
        yield from self._choosing.take(found)
        if self._table.unsure:
            yield repair_row(began_ns, found_ns)

    def _unseen(self, listed: Batch, reported: Batch) -> Iterator[Batch]:
        if self._table.lost_since_ns is not None:
            meant = listed.select(self._selection.may_mean(listed) & ~self._choosing.held.holds(listed))
            yield born(meant, self._table, reported, self._table.lost_since_ns)
        yield changed(listed, self._table)

    def newcomers(self, cgroup_ids: Collection[int]) -> Iterator[Batch]:
        """The processes in these cgroups that were not reported, since no target meant them before: as the kernel lists
        them now. Their events are delivered already."""
        listed = self._trace.snapshot()
        reported = self._trace.drain()
        found_ns = max(now_ns(), last_ns(reported.batch))
        yield from self.events_of(reported._replace(cgroups=[*listed.cgroups, *reported.cgroups]))
        there = listed.batch.select(np.isin(listed.batch.rows["cgroup_id"], list(cgroup_ids)))
        found = born(there, self._table, reported.batch, 0)
        found.rows["kind"], found.rows["flags"] = Kind.SNAPSHOT, found.rows["flags"] & _OBSERVED | np.uint8(Flag.MOVED)
        found.rows["ts_ns"] = found_ns
        self._echoes.expect(found.rows, now_ns())
        yield from self._choosing.take(found)


def listed_rows(first: Batch) -> NDArray[np.void]:
    """The rows of a trace's first batch that say who existed already."""
    rows: NDArray[np.void] = first.rows[first.rows["kind"] == Kind.SNAPSHOT]
    return rows
