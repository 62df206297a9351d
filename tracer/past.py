"""A recording asked for processes at a moment: the history of numbers, with containers and what else was told. Pure.

All times are boottime, in ns, but for those of an Entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.attribution import Attribution, teaches
from tracer.census import NOBODY, Entry
from tracer.events import Batch, Flag, Kind
from tracer.facts import Container
from tracer.history import History, Lifetime
from tracer.moments import Span
from tracer.pidns import INITIAL_PIDNS, Chain, Number, PidnsId, ProcId, chain_of

_COMMANDS = (Kind.EXEC, Kind.SNAPSHOT)


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
        commands = rows[np.isin(batch.rows["kind"][rows], _COMMANDS)]
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
    exits = rows[(rows["kind"] == Kind.EXIT) & (rows["flags"] & Flag.INFERRED == 0)]
    return int(exits["status"][0]) if len(exits) else None


def _homes(batch: Batch, attribution: Attribution) -> Iterator[tuple[PidnsId, Container]]:
    """The PID namespaces that containers began, but for those that were begun inside of them; and of a container that
    began none the one that its command was started in."""
    with_home = set()
    for index in np.flatnonzero(teaches(batch) & (batch.rows["kind"] != Kind.CGROUP)).tolist():
        chain = chain_of(batch, index)
        owner = attribution.owner(chain[-1].pidns)
        around = attribution.owner(chain[-2].pidns) if len(chain) > 1 else None
        if owner and (around is None or around.id != owner.id):
            with_home.add((owner.id, owner.incarnation))
            yield chain[-1].pidns, owner
    commands = np.flatnonzero(np.isin(batch.rows["kind"], _COMMANDS))
    commands = commands[np.argsort(batch.rows["start_ns"][commands], kind="stable")]  # helpers of the engine come later
    cgroups, first = np.unique(batch.rows["cgroup_id"][commands], return_index=True)
    for cgroup_id, index in zip(cgroups.tolist(), commands[first].tolist(), strict=True):
        fact = attribution.cgroups.get(cgroup_id)
        if fact and fact.container and (fact.container.id, fact.container.incarnation) not in with_home:
            innermost = chain_of(batch, index)[-1].pidns
            yield INITIAL_PIDNS if innermost.inum == INITIAL_PIDNS.inum else innermost, fact.container
