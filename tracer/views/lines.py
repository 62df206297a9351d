"""Text columns: one line an event."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np

from tracer.attribution import Attribution
from tracer.events import NO_CPU, Batch, Flag, Kind, split_args
from tracer.initial import INITIAL_PIDNS_INUM
from tracer.pidns import chain_of
from tracer.views.clock import Clock
from tracer.views.escape import command_line, safe, safe_text
from tracer.views.moment import duration
from tracer.views.status import ending
from tracer.views.width import pad

_WORDS = {kind: kind.name.lower() for kind in Kind}
_COLORS = {
    Kind.FORK: "\x1b[32m",
    Kind.THREAD_FORK: "\x1b[32m",
    Kind.EXEC: "\x1b[36m",
    Kind.EXIT: "\x1b[2m",
    Kind.THREAD_EXIT: "\x1b[2m",
    Kind.GAP: "\x1b[1;33m",
    Kind.REPAIR: "\x1b[1;33m",
}
_FAILED, _RESET = "\x1b[31m", "\x1b[0m"
_CONTAINER, _COMM = 12, 15
_NOBODY = "-".ljust(_CONTAINER)
_SHORT_BYTES = 512


class Lines:
    """TIME EVENT CONTAINER PID NSPID PPID NSPPID [TID NSTID] COMM INFO.

    wall_offset_ns: wall clock minus boottime when the trace began. Times are local.
    """

    def __init__(self, kinds: frozenset[Kind], color: bool, threads: bool, wall_offset_ns: int) -> None:
        self._shows = np.isin(np.arange(256), list(kinds | {Kind.GAP, Kind.REPAIR}))
        self._color, self._threads = color, threads
        self._clock = Clock(wall_offset_ns, "%H:%M:%S", 3, time.localtime)
        width = max(len(_WORDS[kind]) for kind in kinds) if kinds else 4
        self._words = {kind: word.ljust(width) for kind, word in _WORDS.items()}
        if color:
            self._words |= {kind: f"{code}{self._words[kind]}{_RESET}" for kind, code in _COLORS.items()}
        self._format = f"%s.%03d %s %s %7d %6d %7d %6d{' %7d %6d' if threads else ''} %s %s"
        self._ended = lru_cache(1024)(self._ending)
        threads_header = f" {'TID':>7} {'NSTID':>6}" if threads else ""
        self.header = (
            f"{'TIME':<12} {'EVENT':<{width}} {'CONTAINER':<{_CONTAINER}} {'PID':>7} {'NSPID':>6} "
            f"{'PPID':>7} {'NSPPID':>6}{threads_header} {'COMM':<{_COMM}} INFO"
        )

    def render(self, batch: Batch, containers: Attribution) -> str:
        """One line for each row of a kind to show; gaps always."""
        batch = batch.select(self._shows[batch.rows["kind"]])
        if not len(batch):
            return ""
        rows, pairs = batch.rows, batch.pairs
        words, labels = self._words, [pad(_label(batch, at, containers), _CONTAINER) for at in pairs.first]
        numbers = [rows["tgid"], rows["chain"]["nr"][:, 0], rows["parent_tgid"], rows["parent_vtgid"]]
        if self._threads:
            numbers += [rows["tid"], rows["vtid"]]
        columns = zip(
            *self._clock.columns(rows["ts_ns"]),
            [words[kind] for kind in rows["kind"].tolist()],
            pairs.spread(labels),
            *(number.tolist() for number in numbers),
            map(_comm, rows["comm"].tolist()),
            self._infos(batch),
            strict=True,
        )
        pattern = self._format
        lines = [(pattern % values).rstrip() for values in columns]
        for at in np.flatnonzero(rows["kind"] == Kind.GAP).tolist():
            lines[at] = self._gap(rows[at], labels[pairs.of_row[at]])
        for at in np.flatnonzero(rows["kind"] == Kind.REPAIR).tolist():
            lines[at] = self._repair(rows[at])
        return "\n".join(lines) + "\n"

    def _infos(self, batch: Batch) -> list[str]:
        """The column INFO."""
        rows, infos = batch.rows, [""] * len(batch)
        kinds = rows["kind"]
        inferred = rows["flags"] & Flag.INFERRED != 0
        commands = np.flatnonzero((kinds == Kind.EXEC) | (kinds == Kind.SNAPSHOT) | (kinds == Kind.FORK) & inferred)
        truncated = (rows["flags"][commands] & Flag.ARGS_TRUNCATED).tolist()
        for at, (exe, args), cut in zip(commands.tolist(), batch.commands(commands), truncated, strict=True):
            line = _short_command(exe, args) if len(args) <= _SHORT_BYTES else _command(exe, args)
            infos[at] = f"{line} …" if cut else line
        for at in np.flatnonzero((kinds == Kind.EXIT) & inferred).tolist():
            infos[at] = "ended unseen"
        exits = np.flatnonzero((kinds == Kind.EXIT) & ~inferred)
        lived_ns = (rows["ts_ns"][exits].astype(np.int64) - rows["start_ns"][exits].astype(np.int64)).tolist()
        for at, status, ns in zip(exits.tolist(), rows["status"][exits].tolist(), lived_ns, strict=True):
            infos[at] = self._ended(status) + duration(ns)
        for at in np.flatnonzero((rows["level"] >= 2) | inferred).tolist():
            infos[at] = _with_more(infos[at], batch, at)
        return infos

    def _ending(self, status: int) -> str:
        end = ending(status)
        words = end.signal or f"exit {end.exit_code}"
        if end.core_dumped:
            words += " (core dumped)"
        if self._color and end.exit_code != 0:
            words = f"{_FAILED}{words}{_RESET}"
        return f"{words} after "

    def _gap(self, row: np.void, label: str) -> str:
        since = self._clock.text(int(row["start_ns"])) if row["start_ns"] else "the start"
        until = self._clock.text(int(row["ts_ns"]))
        lost = int(row["seq"])
        where = f" on CPU {row['cpu']}" if row["cpu"] != NO_CPU else ""
        why = " (throttled)" if row["flags"] & Flag.THROTTLED else ""
        info = f"lost {lost} event{'s' if lost != 1 else ''}{where} between {since} and {until}{why}"
        return f"{until} {self._words[Kind.GAP]} {label} {self._dashes()} {info}"

    def _repair(self, row: np.void) -> str:
        info = f"processes are as in the kernel's list of {self._clock.text(int(row['start_ns']))}"
        return f"{self._clock.text(int(row['ts_ns']))} {self._words[Kind.REPAIR]} {_NOBODY} {self._dashes()} {info}"

    def _dashes(self) -> str:
        threads = f" {'-':>7} {'-':>6}" if self._threads else ""
        return f"{'-':>7} {'-':>6} {'-':>7} {'-':>6}{threads} {'-':<{_COMM}}"


def _label(batch: Batch, index: int, containers: Attribution) -> str:
    container = containers.of_row(batch, index)
    if container:
        return safe_text(container.label)
    inum = int(batch.rows["chain"]["inum"][index, 0])
    return "-" if inum in (INITIAL_PIDNS_INUM, 0) else f"pidns:{inum}"  # 0: a row of the stream itself


@lru_cache(4096)
def _comm(raw: bytes) -> str:
    return pad(safe(raw), _COMM)


def _command(exe: bytes, args: bytes) -> str:
    return command_line(split_args(args)) or safe(exe)


_short_command = lru_cache(4096)(_command)  # the same few again and again, mostly


def _with_more(info: str, batch: Batch, index: int) -> str:
    row = batch.rows[index]
    if row["level"] >= 2:
        info = f"{info} {_numbers(batch, index)}".lstrip()
    return f"{info} (inferred)".lstrip() if row["flags"] & Flag.INFERRED else info


def _numbers(batch: Batch, index: int) -> str:
    """All numbers of the process, host first."""
    chain = (int(batch.rows["tgid"][index]), *(number.nr for number in chain_of(batch, index)))
    return f"pids {'>'.join(map(str, chain))}"
