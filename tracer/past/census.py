"""The census of a moment of a recording: the table, replayed up to then, with what each process ran. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tracer.answers.census import Census, Entry
from tracer.past.reports import UNKNOWN_COMMAND, Command, Described, Fate, Report, command_in, reporting, reports_of
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, pick
from tracer.stream.known import Known
from tracer.stream.pidns import INITIAL_PIDNS, ProcId
from tracer.stream.repair import identities
from tracer.stream.schema import Kind
from tracer.stream.table import Process, Table


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
    boottime, in ns."""

    def __init__(self, attribution: Attribution, wall_offset_ns: int) -> None:
        self._attribution, self._offset = attribution, wall_offset_ns
        self._table = Table()
        self._reported: dict[int, _Reported] = {}  # by identity
        self._later: dict[int, Report] = {}  # by identity
        self._gaps: list[tuple[int, int, int]] = []

    def take(self, batches: Iterable[Batch]) -> None:
        """Receive the next batches."""
        for batch in batches:
            self._table.apply(batch)
            self._learn(batch)
            self._note_gaps(batch)

    def _learn(self, batch: Batch) -> None:
        """Note what is reported of each process, except those that have ended within the batch."""
        rows = batch.rows
        ids, known = identities(rows), Known(rows)
        has_command, has_args = known("args_truncated"), known("args")
        ended = ids[rows["kind"] == Kind.EXIT]
        for one in ended[np.isin(ended, np.fromiter(self._reported, np.uint64, len(self._reported)))].tolist():
            del self._reported[one]
        selected = np.flatnonzero(reporting(rows) & ~np.isin(ids, ended))
        for at, report in zip(selected.tolist(), reports_of(pick(rows, selected)), strict=True):
            before = self._reported.get(one := int(ids[at]))
            command = before.command if before else UNKNOWN_COMMAND
            if has_command[at]:
                command = command_in(batch, at) if has_args[at] else UNKNOWN_COMMAND
            self._reported[one] = _Reported(report, command)

    def living(self) -> set[int]:
        """The host PIDs of the processes that live at the moment."""
        return {process.tgid for process in self._table.living()}

    def look_ahead(self, batches: Iterable[Batch]) -> None:
        """Read batches after the moment, for what had changed by the next event of each process; rows about others may
        be missing. Ends as soon as all have had one."""
        waiting = {_identity(process.proc_id) for process in self._table.living()}
        for batch in batches:
            of_living = np.isin(identities(batch.rows), np.fromiter(waiting, np.uint64, len(waiting)))
            rows = batch.rows[reporting(batch.rows) & of_living]
            for one, report in zip(identities(rows).tolist(), reports_of(rows), strict=True):
                self._later.setdefault(one, report)
            waiting -= self._later.keys()
            if not waiting:
                return

    def _note_gaps(self, batch: Batch) -> None:
        rows = batch.rows
        for row in rows[rows["kind"] == Kind.GAP]:
            self._gaps.append((int(row["seq"]), int(row["start_ns"]), int(row["ts_ns"])))
        if not self._table.unsure:
            self._gaps.clear()

    def losses(self) -> LossWindow | None:
        """The lost events that make the census unsure; None: there are none."""
        if not self._gaps:
            return None
        lost, since, until = zip(*self._gaps, strict=True)
        return LossWindow(sum(lost), min(since) + self._offset, max(until) + self._offset)

    def census(self) -> Census:
        """The processes that live at the moment."""
        known = ((process, self._reported.get(_identity(process.proc_id))) for process in self._table.living())
        return Census(self._entry(process, last) for process, last in known if last)

    def _entry(self, process: Process, last: _Reported) -> Entry:
        described = Described(
            proc_id=process.proc_id,
            chain=process.chain,
            report=last.report,
            later=self._later.get(_identity(process.proc_id)),
            command=last.command,
            parent=self._fate(last.report.parent) if last.report.parent else Fate(lives=False),
        )
        return described.entry(self._attribution, self._offset)

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
