"""A recording asked for processes at a moment: the history of numbers, with containers and what else was told. Pure.

All times are boottime, in ns, but for those of an Entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.answers.census import NOBODY, Entry
from tracer.attribution import Attribution, teaches
from tracer.events import Batch, Kind
from tracer.facts import RUNTIME_COMM, Container
from tracer.known import Known
from tracer.moments import Span
from tracer.past.history import History, Lifetime
from tracer.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId, chain_of

_COMMANDS = (Kind.EXEC, Kind.SNAPSHOT)
RUNTIME_EXE = b"/proc/"  # runc runs itself again by a path below it


class Told(NamedTuple):
    """A process as it was told to be at a moment. status: how it ended, as wait(2) gives it; None: not told."""

    entry: Entry
    owners: tuple[Container | None, ...]
    lifetime: Lifetime
    status: int | None


class Past:
    """history: of the recording's rows, or those about the numbers to be asked for. attribution: which has taken all of
    them. wall_offset_ns: wall clock minus boottime."""

    def __init__(self, history: History, attribution: Attribution, wall_offset_ns: int) -> None:
        self.history, self.wall_offset_ns = history, wall_offset_ns
        self._attribution = attribution
        self.homes = list(_homes(history.batch, attribution))

    @property
    def span(self) -> Span:
        """From when to when everybody was told of, by the wall clock."""
        return Span(self.history.begins_ns + self.wall_offset_ns, self.history.ends_ns + self.wall_offset_ns)

    def spaces_of(self, inum: int) -> list[PidnsId]:
        """The PID namespaces that had this inode number, one after the other."""
        if inum == INITIAL_PIDNS.inum:
            return [INITIAL_PIDNS]
        return [pidns for pidns in self.history.spaces if pidns.inum == inum]

    def told(self, lifetime: Lifetime, moment_ns: int) -> Told:
        """A process as it was at a moment, by what was told until then, or first."""
        batch, rows = self.history.batch, self.history.rows_of(lifetime.process)
        until = rows[batch.rows["ts_ns"][rows] <= max(moment_ns, batch.rows["ts_ns"][rows[0]])]
        row = batch.rows[until[-1]]
        inner = chain_of(batch, int(until[-1]))
        chain = inner if row["level"] else ()
        return Told(
            self._entry(lifetime, row, (Number(INITIAL_PIDNS, lifetime.proc_id.tgid), *chain), until),
            (None, *(self._attribution.owner(pidns) for pidns, _nr in chain)),
            lifetime,
            _status(batch.rows[rows]),
        )

    def _entry(self, lifetime: Lifetime, row: np.void, chain: Chain, rows: NDArray[np.int64]) -> Entry:
        batch = self.history.batch
        commands = rows[Known(batch.rows[rows])("args_truncated")]
        payload = batch.payload(int(commands[-1])) if len(commands) else None
        parent = ProcId(int(row["parent_tgid"]), int(row["parent_start_ns"]))
        return Entry(
            proc_id=lifetime.proc_id,
            parent=parent if parent.tgid else NOBODY,
            ns_ppid=int(row["parent_vtgid"]),
            numbers=tuple(nr for _pidns, nr in chain),
            chain=chain,
            containers=self._attribution.enclosing(chain[1:] or chain, int(row["cgroup_id"])),
            comm=bytes(row["comm"]),
            exe=payload.exe if payload else b"",
            args=payload.args if payload else b"",
            uid=int(row["uid"]),
            state="",
            started_ns=lifetime.proc_id.start_ns + self.wall_offset_ns,
        )


def _status(rows: NDArray[np.void]) -> int | None:
    exits = rows[Known(rows)("status")]
    return int(exits["status"][0]) if len(exits) else None


def _homes(batch: Batch, attribution: Attribution) -> Iterator[tuple[PidnsId, Container]]:
    """For each life of a container the PID namespace that its numbers count in: that of its oldest process, be it its
    own, the host's or another container's. What it has begun beside that one (it was started again in the same cgroup)
    counts as well, what it has begun inside of it does not."""
    commands = np.flatnonzero(np.isin(batch.rows["kind"], _COMMANDS))
    commands = commands[np.argsort(batch.rows["start_ns"][commands], kind="stable")]
    around: dict[tuple[str, int], PidnsId | None] = {}
    for index in commands.tolist():
        fact = attribution.cgroups.get(int(batch.rows["cgroup_id"][index]))
        container = fact.container if fact else None
        if container is None or (container.id, container.incarnation) in around or _is_helper(batch, index):
            continue
        home, around[container.id, container.incarnation] = _innermost(batch, index)
        yield home, container
    for index in np.flatnonzero(teaches(batch) & (batch.rows["kind"] != Kind.CGROUP)).tolist():
        pidns, outer = _innermost(batch, index)
        owner = attribution.owner(pidns)
        if owner and outer is not None and around.get((owner.id, owner.incarnation)) == outer:
            yield pidns, owner


def _innermost(batch: Batch, index: int) -> tuple[PidnsId, PidnsId | None]:
    """The innermost PID namespace of a row's process, and the one around it; None: it is the host's."""
    spaces = [number.pidns for number in chain_of(batch, index)]
    if batch.rows["level"][index] == 0:
        return INITIAL_PIDNS, None
    return spaces[-1], spaces[-2] if len(spaces) > 1 else INITIAL_PIDNS


def _is_helper(batch: Batch, index: int) -> bool:
    """Whether this is runc on its way into the container: it may be in its cgroup before it is in its namespace."""
    return bytes(batch.rows["comm"][index]).startswith(RUNTIME_COMM) or batch.payload(index).exe.startswith(RUNTIME_EXE)
