"""A recording asked for processes at a moment: numbers, containers and all else that was reported. Pure.

All times are boottime, in ns, except those of an Entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.answers.census import Entry
from tracer.past.history import History, Lifetime
from tracer.past.places import Place, named_places
from tracer.past.reports import (
    UNKNOWN_COMMAND,
    Command,
    Described,
    Fate,
    Report,
    command_in,
    reporting,
    reports_of,
    unreported,
)
from tracer.stream.attribution import Attribution, teaches
from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.metadata import RUNTIME_COMM, RUNTIME_EXE, Container
from tracer.stream.pidns import INITIAL_PIDNS, Number, PidnsId, chain_of
from tracer.stream.schema import COMMAND_KINDS, LIFE_KINDS, Flag, Kind
from tracer.typed.moments import Span

_DESCRIBING = tuple(set(COMMAND_KINDS) & set(LIFE_KINDS))


class Reported(NamedTuple):
    """A process as it was reported at a moment. status: how it ended, as wait(2) reports it; None: not reported."""

    entry: Entry
    owners: tuple[Container | None, ...]
    lifetime: Lifetime
    status: int | None


class Past:
    """history: of the recording's rows, or those about the numbers that are looked up. attribution: has received all of
    them. wall_offset_ns: wall clock minus boottime, in ns."""

    def __init__(self, history: History, attribution: Attribution, wall_offset_ns: int) -> None:
        self.history, self.wall_offset_ns = history, wall_offset_ns
        self._attribution = attribution
        self.homes = list(_homes(history.batch, attribution))

    @property
    def span(self) -> Span:
        """From when to when all processes were reported, by the wall clock."""
        return Span(self.history.begins_ns + self.wall_offset_ns, self.history.ends_ns + self.wall_offset_ns)

    def places_called(self, name: str, life: int | None) -> list[Place]:
        """Where containers of this name are, and when. life: of all that had the name only this one; None: all."""
        homes = [home for home in self.homes if life in (None, home[1].incarnation)]
        return named_places(name, homes, self._attribution)

    def spaces_of(self, inum: int) -> list[PidnsId]:
        """The PID namespaces that had this inode number, one after the other."""
        if inum == INITIAL_PIDNS.inum:
            return [INITIAL_PIDNS]
        return [pidns for pidns in self.history.spaces if pidns.inum == inum]

    def reported(self, lifetime: Lifetime, moment_ns: int) -> Reported:
        """A process as it was at a moment, by what was reported until then. The list at the beginning counts as of the
        beginning. Of a process that was reported only later (its fork was lost, or it moved in) nothing is known yet
        but its numbers; what the first report says is a change by then."""
        batch, rows = self.history.batch, self.history.rows_of(lifetime.process)
        times = batch.rows["ts_ns"][rows].astype(np.int64)
        was_listed = _is_listed(batch.rows[rows[0]])
        is_past = times <= (max(moment_ns, int(times[0])) if was_listed else moment_ns)
        is_report = reporting(batch.rows[rows])
        past, later = rows[is_past & is_report], rows[~is_past & is_report]
        report = self._report(past[-1]) if len(past) else unreported(self._report(rows[0]), lifetime.proc_id.start_ns)
        inner = chain_of(batch, int(rows[0]))
        chain = inner if batch.rows["level"][rows[0]] else ()
        described = Described(
            proc_id=lifetime.proc_id,
            chain=(Number(INITIAL_PIDNS, lifetime.proc_id.tgid), *chain),
            report=report,
            later=self._report(later[0]) if len(later) else None,
            command=self._command(rows[is_past]),
            parent=self.history.fate(report.parent, moment_ns) if report.parent else Fate(lives=False),
        )
        return Reported(
            described.entry(self._attribution, self.wall_offset_ns),
            (None, *(self._attribution.owner(pidns) for pidns, _nr in chain)),
            lifetime,
            _status(batch.rows[rows]),
        )

    def _report(self, at: int) -> Report:
        return reports_of(self.history.batch.rows[at : at + 1])[0]

    def _command(self, rows: NDArray[np.int64]) -> Command:
        """The command in the last of these rows that has one."""
        batch = self.history.batch
        known = Known(batch.rows[rows])
        having = np.flatnonzero(known("args_truncated"))
        if not len(having) or not known("args")[having[-1]]:
            return UNKNOWN_COMMAND
        return command_in(batch, int(rows[having[-1]]))


def _is_listed(row: np.void) -> bool:
    """Whether a process's first row says that it existed when the recording began."""
    return bool(row["kind"] == Kind.SNAPSHOT and not row["flags"] & Flag.MOVED)


def _status(rows: NDArray[np.void]) -> int | None:
    exits = rows[Known(rows)("status")]
    return int(exits["status"][0]) if len(exits) else None


def _homes(batch: Batch, attribution: Attribution) -> Iterator[tuple[PidnsId, Container]]:
    """For each life of a container the PID namespace that its numbers count in: that of its oldest process, which may
    be its own, the host's or another container's. A namespace that it has begun beside that one (it was started again
    in the same cgroup) counts as well, one that it has begun inside of it does not. Where its processes are in no
    cgroup of its own, an engine has reported which namespace is its."""
    begun_inside = batch.rows["flags"] & Flag.MOVED == 0  # without the runtime's helpers, which enter its cgroup
    commands = np.flatnonzero(of_kind(batch.rows, *_DESCRIBING) & begun_inside)
    commands = commands[np.argsort(batch.rows["start_ns"][commands], kind="stable")]
    around: dict[str, PidnsId | None] = {}  # by the label, which no other life has
    for index in commands.tolist():
        container = attribution.of_cgroup(chain_of(batch, index), int(batch.rows["cgroup_id"][index]))
        if container is None or container.label in around or _is_helper(batch, index):
            continue
        home, around[container.label] = _innermost(batch, index)
        yield home, container
    for index in np.flatnonzero(teaches(batch) & (batch.rows["kind"] != Kind.CGROUP)).tolist():
        pidns, outer = _innermost(batch, index)
        owner, by_engine = attribution.owner(pidns), attribution.by_engine(pidns)
        if by_engine:
            around.setdefault(by_engine.label, outer)
        if owner and outer is not None and around.get(owner.label) == outer:
            yield pidns, owner


def _innermost(batch: Batch, index: int) -> tuple[PidnsId, PidnsId | None]:
    """The innermost PID namespace of a row's process, and the one around it; None: that is the host's."""
    spaces = [number.pidns for number in chain_of(batch, index)]
    if batch.rows["level"][index] == 0:
        return INITIAL_PIDNS, None
    return spaces[-1], spaces[-2] if len(spaces) > 1 else INITIAL_PIDNS


def _is_helper(batch: Batch, index: int) -> bool:
    """Whether this is runc before it enters the container: it may be in its cgroup before it is in its namespace."""
    return bytes(batch.rows["comm"][index]).startswith(RUNTIME_COMM) or batch.payload(index).exe.startswith(RUNTIME_EXE)
