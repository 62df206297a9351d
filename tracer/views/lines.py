"""Text columns: one line an event."""

from __future__ import annotations

import time

import numpy as np

from tracer.attribution import Attribution
from tracer.events import Batch, Flag, Kind, split_args
from tracer.initial import INITIAL_PIDNS_INUM
from tracer.pidns import chain_of
from tracer.views.escape import command_line, safe, safe_text
from tracer.views.status import ending
from tracer.views.width import pad

_SECOND_NS = 1_000_000_000
_WORDS = {kind: kind.name.lower() for kind in Kind}
_COLORS = {
    Kind.FORK: "\x1b[32m",
    Kind.THREAD_FORK: "\x1b[32m",
    Kind.EXEC: "\x1b[36m",
    Kind.EXIT: "\x1b[2m",
    Kind.THREAD_EXIT: "\x1b[2m",
    Kind.GAP: "\x1b[1;33m",
}
_FAILED, _RESET = "\x1b[31m", "\x1b[0m"
_CONTAINER, _COMM = 12, 15


class Lines:
    """TIME EVENT CONTAINER PID NSPID PPID NSPPID [TID NSTID] COMM INFO.

    wall_offset_ns: wall clock minus boottime when the trace began. Times are local.
    """

    def __init__(self, kinds: frozenset[Kind], color: bool, threads: bool, wall_offset_ns: int) -> None:
        self._kinds = np.array(sorted(kinds | {Kind.GAP}))
        self._color, self._threads, self._offset = color, threads, wall_offset_ns
        self._clock: tuple[int, str] = (-1, "")
        width = max(len(_WORDS[kind]) for kind in kinds) if kinds else 4
        self._words = {kind: word.ljust(width) for kind, word in _WORDS.items()}
        if color:
            self._words |= {kind: f"{code}{self._words[kind]}{_RESET}" for kind, code in _COLORS.items()}
        threads_header = f" {'TID':>7} {'NSTID':>6}" if threads else ""
        self.header = (
            f"{'TIME':<12} {'EVENT':<{width}} {'CONTAINER':<{_CONTAINER}} {'PID':>7} {'NSPID':>6} "
            f"{'PPID':>7} {'NSPPID':>6}{threads_header} {'COMM':<{_COMM}} INFO"
        )

    def render(self, batch: Batch, containers: Attribution) -> str:
        """One line for each row of a kind to show; gaps always."""
        batch = batch.select(np.isin(batch.rows["kind"], self._kinds))
        rows = batch.rows
        names = ("kind", "ts_ns", "tgid", "level", "flags", "parent_tgid", "parent_vtgid", "tid", "vtid", "comm")
        innermost = rows["chain"][:, 0]
        columns = [rows[name].tolist() for name in names]
        keys = zip(innermost["inum"].tolist(), innermost["gen"].tolist(), rows["cgroup_id"].tolist(), strict=True)
        labels: dict[tuple[int, int, int], str] = {}
        lines = []
        for index, (key, nr, values) in enumerate(
            zip(keys, innermost["nr"].tolist(), zip(*columns, strict=True), strict=True)
        ):
            kind, ts_ns, tgid, level, flags, ptgid, pvtgid, tid, vtid, comm = values
            if kind == Kind.GAP:
                lines.append(self._gap(batch, index))
                continue
            label = labels.get(key)
            if label is None:
                label = labels[key] = pad(_label(batch, index, containers), _CONTAINER)
            threads = f" {tid:>7} {vtid:>6}" if self._threads else ""
            info = self._info(batch, index, kind) if kind not in (Kind.FORK, Kind.THREAD_FORK) else ""
            if level >= 2:
                info = f"{info} {_numbers(batch, index)}".lstrip()
            if flags & Flag.INFERRED:
                info = f"{info} (inferred)".lstrip()
            line = (
                f"{self._time(ts_ns)} {self._words[kind]} {label} {tgid:>7} {nr:>6} {ptgid:>7} {pvtgid:>6}"
                f"{threads} {pad(safe(comm), _COMM)} {info}"
            )
            lines.append(line.rstrip() + "\n")
        return "".join(lines)

    def _time(self, ts_ns: int) -> str:
        second, rest = divmod(ts_ns + self._offset, _SECOND_NS)
        if second != self._clock[0]:
            self._clock = (second, time.strftime("%H:%M:%S", time.localtime(second)))
        return f"{self._clock[1]}.{rest // 1_000_000:03}"

    def _info(self, batch: Batch, index: int, kind: int) -> str:
        if kind in (Kind.EXIT, Kind.THREAD_EXIT):
            return self._exit(batch, index) if kind == Kind.EXIT else ""
        payload = batch.payload(index)
        line = command_line(split_args(payload.args)) or safe(payload.exe)
        return f"{line} …" if batch.rows["flags"][index] & Flag.ARGS_TRUNCATED else line

    def _exit(self, batch: Batch, index: int) -> str:
        row = batch.rows[index]
        end = ending(int(row["status"]))
        words = end.signal or f"exit {end.exit_code}"
        if end.core_dumped:
            words += " (core dumped)"
        if self._color and end.exit_code != 0:
            words = f"{_FAILED}{words}{_RESET}"
        return f"{words} after {_duration(int(row['ts_ns']) - int(row['start_ns']))}"

    def _gap(self, batch: Batch, index: int) -> str:
        row = batch.rows[index]
        since = self._time(int(row["start_ns"])) if row["start_ns"] else "the start"
        until = self._time(int(row["ts_ns"]))
        lost = int(row["seq"])
        dashes = f"{pad('-', _CONTAINER)} {'-':>7} {'-':>6} {'-':>7} {'-':>6}"
        dashes += f" {'-':>7} {'-':>6}" if self._threads else ""
        return (
            f"{until} {self._words[Kind.GAP]} {dashes} {'-':<{_COMM}} "
            f"lost {lost} event{'s' if lost != 1 else ''} on CPU {row['cpu']} between {since} and {until}\n"
        )


def _label(batch: Batch, index: int, containers: Attribution) -> str:
    container = containers.of_row(batch, index)
    if container:
        return safe_text(container.label)
    inum = int(batch.rows["chain"]["inum"][index, 0])
    return "-" if inum == INITIAL_PIDNS_INUM else f"pidns:{inum}"


def _numbers(batch: Batch, index: int) -> str:
    """All numbers of the process, host first."""
    chain = (int(batch.rows["tgid"][index]), *(number.nr for number in chain_of(batch, index)))
    return f"pids {'>'.join(map(str, chain))}"


def _duration(ns: int) -> str:
    for limit, unit_ns, unit in ((10**6, 10**3, "us"), (10**9, 10**6, "ms"), (60 * 10**9, 10**9, "s")):
        if ns < limit:
            return f"{ns / unit_ns:.1f} {unit}" if unit == "s" else f"{ns // unit_ns} {unit}"
    minutes = ns // (60 * _SECOND_NS)
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h"
