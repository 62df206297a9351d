"""The census of a moment of a recording: the table, replayed up to then, with what each process ran. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.answers.census import Census, Entry
from tracer.past.places import as_called
from tracer.past.reports import UNKNOWN_COMMAND, Command, Described, Fate, Report, command_in, reporting, reports_of
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, pick
from tracer.stream.known import Known
from tracer.stream.pidns import INITIAL_PIDNS, ProcId
from tracer.stream.repair import identities
from tracer.stream.schema import Kind
from tracer.stream.table import Process, Table

MAX_PROCESSES = 131_072
MAX_COMMAND_BYTES = 1 << 24
_MOST_ARGS, _LEAST_ARGS = 1 << 14, 1 << 6
_NO_LIMIT = (1 << 63) - 1


class LossWindow(NamedTuple):
    """Events that were lost without a repair: which processes began or ended then is not known. Wall clock, ns."""

    lost: int
    since_ns: int
    until_ns: int


class _Reported(NamedTuple):
    """The last report of a process, and what it runs."""

    report: Report
    command: Command


class Recall:
    """Receives all batches up to the moment; then, if needed, those after it. wall_offset_ns: wall clock minus
    boottime, in ns.

    Bounded: of more than MAX_PROCESSES processes those that ended first, or appeared first, are forgotten; of commands
    that are longer than MAX_COMMAND_BYTES altogether only the beginnings are kept. shortened: how many had to be cut.
    """

    def __init__(self, attribution: Attribution, wall_offset_ns: int) -> None:
        self.shortened = 0
        self._attribution, self._offset = attribution, wall_offset_ns
        self._table = Table(MAX_PROCESSES)
        self._reported: dict[int, _Reported] = {}  # by identity
        self._later: dict[int, Report] = {}  # by identity
        self._losses: LossWindow | None = None  # boottime
        self._command_bytes, self._most_args = 0, _NO_LIMIT

    @property
    def forgotten(self) -> int:
        """How many processes were forgotten while they lived."""
        return self._table.evicted_living

    def take(self, batches: Iterable[Batch]) -> None:
        """Receive the next batches."""
        for batch in batches:
            self._table.apply(batch)
            self._learn(batch)
            self._note_gaps(batch)
            self._make_room()

    def _learn(self, batch: Batch) -> None:
        """Note what is reported of each process, except those that have ended within the batch."""
        rows = batch.rows
        ids, known = identities(rows), Known(rows)
        has_command, has_args = known("args_truncated"), known("args")
        ended = ids[rows["kind"] == Kind.EXIT]
        was_reported = np.isin(ended, np.fromiter(self._reported, np.uint64, len(self._reported)))
        for one in np.unique(ended[was_reported]).tolist():  # one that a list misses may be told of twice
            self._command_bytes -= _size(self._reported.pop(one).command)
        selected = np.flatnonzero(reporting(rows) & ~np.isin(ids, ended))
        for at, report in zip(selected.tolist(), reports_of(pick(rows, selected)), strict=True):
            before = self._reported.get(one := int(ids[at]))
            command = before.command if before else UNKNOWN_COMMAND
            if has_command[at]:
                self._command_bytes -= _size(command)
                command = self._cut(command_in(batch, at)) if has_args[at] else UNKNOWN_COMMAND
                self._command_bytes += _size(command)
            self._reported[one] = _Reported(report, command)

    def _make_room(self) -> None:
        if len(self._reported) > MAX_PROCESSES + MAX_PROCESSES // 4:  # of some no event has reported the end
            known = {_identity(process.proc_id) for process in self._table.living()}
            self._reported = {one: last for one, last in self._reported.items() if one in known}
            self._command_bytes = sum(_size(last.command) for last in self._reported.values())
        while self._command_bytes > MAX_COMMAND_BYTES and self._most_args > _LEAST_ARGS:
            self._most_args = min(self._most_args, _MOST_ARGS) // 4
            self._reported = {
                one: last._replace(command=self._cut(last.command)) for one, last in self._reported.items()
            }
            self._command_bytes = sum(_size(last.command) for last in self._reported.values())

    def _cut(self, command: Command) -> Command:
        """The command, with no more of its file name and arguments than there is room for."""
        if _size(command) <= self._most_args:
            return command
        self.shortened += not command.is_shortened
        exe = command.exe[: self._most_args // 2]
        args = None if command.args is None else command.args[: self._most_args // 2]
        return Command(exe, args, args_truncated=True, is_shortened=True)

    def living(self) -> set[int]:
        """The host PIDs of the processes that live at the moment."""
        return {process.tgid for process in self._table.living()}

    def look_ahead(self, batches: Iterable[Batch], moment_ns: int) -> None:
        """Read batches after the moment (boottime), for what had changed by the next event of each process, and for
        losses that had begun by then; rows about others may be missing. Ends as soon as all have had one."""
        waiting = {_identity(process.proc_id) for process in self._table.living()}
        for batch in batches:
            gaps = batch.rows[batch.rows["kind"] == Kind.GAP]
            self._add_losses(gaps[gaps["start_ns"] <= moment_ns])
            of_living = np.isin(identities(batch.rows), np.fromiter(waiting, np.uint64, len(waiting)))
            rows = batch.rows[reporting(batch.rows) & of_living]
            for one, report in zip(identities(rows).tolist(), reports_of(rows), strict=True):
                self._later.setdefault(one, report)
            waiting -= self._later.keys()
            if not waiting:
                return

    def _note_gaps(self, batch: Batch) -> None:
        self._add_losses(batch.rows[batch.rows["kind"] == Kind.GAP])
        if not self._table.unsure:
            self._losses = None

    def _add_losses(self, gaps: NDArray[np.void]) -> None:
        if len(gaps):
            before = self._losses or LossWindow(0, _NO_LIMIT, 0)
            self._losses = LossWindow(
                before.lost + sum(gaps["seq"].tolist()),
                min(before.since_ns, int(gaps["start_ns"].min())),
                max(before.until_ns, int(gaps["ts_ns"].max())),
            )

    def losses(self) -> LossWindow | None:
        """The lost events that make the census unsure; None: there are none."""
        found = self._losses
        return found and LossWindow(found.lost, found.since_ns + self._offset, found.until_ns + self._offset)

    def census(self, moment_ns: int) -> Census:
        """The processes that live at the moment (boottime), in containers as they were called then."""
        known = ((process, self._reported.get(_identity(process.proc_id))) for process in self._table.living())
        return Census(self._entry(process, last, moment_ns) for process, last in known if last)

    def _entry(self, process: Process, last: _Reported, moment_ns: int) -> Entry:
        described = Described(
            proc_id=process.proc_id,
            chain=process.chain,
            report=last.report,
            later=self._later.get(_identity(process.proc_id)),
            command=last.command,
            parent=self._fate(last.report.parent) if last.report.parent else Fate(lives=False),
        )
        entry = described.entry(self._attribution, self._offset)
        containers = (one and as_called(one, moment_ns, self._attribution) for one in entry.containers)
        return replace(entry, containers=tuple(containers))

    def _fate(self, proc_id: ProcId) -> Fate:
        """What has become of a process by the moment."""
        process = self._table.find(INITIAL_PIDNS, proc_id.tgid)
        if process is None or process.start_ns < proc_id.start_ns:
            return Fate(lives=False)
        if process.proc_id != proc_id:  # its number was reused
            return Fate(lives=False, ended_ns=process.start_ns)
        return Fate(lives=process.exited_ns is None, ended_ns=process.exited_ns)


def _identity(proc_id: ProcId) -> int:
    return (proc_id.start_ns << 22 ^ proc_id.tgid) & (1 << 64) - 1  # as identity() counts


def _size(command: Command) -> int:
    return len(command.exe) + len(command.args or b"")
