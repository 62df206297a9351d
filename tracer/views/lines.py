"""Text columns: one line an event."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, split_args
from tracer.stream.distinct import distinct
from tracer.stream.known import Known
from tracer.stream.pidns import chain_of
from tracer.stream.schema import Flag, Kind
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.text.clock import Clock
from tracer.text.escape import command_line, safe, safe_text
from tracer.text.times import duration
from tracer.text.wait_status import ending
from tracer.text.width import pad
from tracer.views.sheet import Sheet, render, sheet_of

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
_PARENTS = (2, 3)  # columns with the parent's numbers
_MARKS = {Flag.INFERRED: "inferred", Flag.CARRIED: "carried"}
_MARKED = np.uint8(sum(_MARKS))
_NOBODY = "-".ljust(_CONTAINER)
_SHORT_BYTES = 512


class Lines:
    """TIME EVENT CONTAINER PID NSPID PPID NSPPID [TID NSTID] COMM INFO.

    wall_offset_ns: wall clock minus boottime when the trace began. Times are local.
    """

    def __init__(self, kinds: frozenset[Kind], color: bool, threads: bool, wall_offset_ns: int) -> None:
        self._kinds = kinds
        self._color, self._threads = color, threads
        self._clock = Clock(wall_offset_ns, "%H:%M:%S", 3, time.localtime)
        width = max(len(_WORDS[kind]) for kind in kinds) if kinds else 4
        self._words = {kind: word.ljust(width) for kind, word in _WORDS.items()}
        if color:
            self._words |= {kind: f"{code}{self._words[kind]}{_RESET}" for kind, code in _COLORS.items()}
        self._event_texts = [f" {self._words[Kind(kind)] if kind else ''} ".encode() for kind in range(max(Kind) + 1)]
        self._ended = lru_cache(1024)(self._ending)
        threads_header = f" {'TID':>7} {'NSTID':>6}" if threads else ""
        self.header = (
            f"{'TIME':<12} {'EVENT':<{width}} {'CONTAINER':<{_CONTAINER}} {'PID':>7} {'NSPID':>6} "
            f"{'PPID':>7} {'NSPPID':>6}{threads_header} {'COMM':<{_COMM}} INFO"
        )

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """One line for each row of a kind to show; gaps always."""
        return render(
            batch,
            self._kinds,
            lambda events: self._events(events, containers),
            lambda notes, at: self._aside(notes, at, containers),
        )

    def _events(self, batch: Batch, containers: Attribution) -> Sheet:
        rows, known, pairs, sheet = batch.rows, Known(batch.rows), batch.pairs, sheet_of(len(batch))
        self._clock.put(sheet, rows["ts_ns"])
        sheet.choice(self._event_texts, rows["kind"])
        sheet.choice([pad(_label(batch, at, containers), _CONTAINER).encode() for at in pairs.first], pairs.of_row)
        numbers = [rows["tgid"], rows["chain"]["nr"][:, 0], rows["parent_tgid"], rows["parent_vtgid"]]
        if self._threads:
            numbers += [rows["tid"], rows["vtid"]]
        for column, number in enumerate(numbers):
            where = known("ppid") if column in _PARENTS else None
            sheet.text(b" ")
            sheet.number(number, 6 if column % 2 else 7, where, b"-")
        own, infos = self._infos(batch, known)
        has_info = np.zeros(len(batch), bool)
        has_info[own] = [bool(info) for info in infos]
        sheet.names(rows["comm"], has_info, _comm)
        sheet.own(own, infos)
        sheet.text(b"\n")
        return sheet

    def _infos(self, batch: Batch, known: Known) -> tuple[NDArray[np.intp], list[bytes]]:
        """The column INFO: the rows that can have a text in it, and the texts."""
        rows, infos = batch.rows, [b""] * len(batch)
        commands, exits = known("args"), known("status")
        more = (rows["level"] >= 2) | (rows["flags"] & _MARKED != 0)
        at_rows = np.flatnonzero(commands)
        for at, (raw, exe_len) in zip(at_rows.tolist(), batch.commands(at_rows), strict=True):
            infos[at] = _short_command(raw, exe_len) if len(raw) <= _SHORT_BYTES else _command(raw, exe_len)
        for at in at_rows[rows["flags"][at_rows] & Flag.ARGS_TRUNCATED != 0].tolist():
            infos[at] += " …".encode()
        at_rows = np.flatnonzero(exits)
        for at, text in zip(at_rows.tolist(), self._endings(rows, at_rows), strict=True):
            infos[at] = text
        for at in np.flatnonzero((rows["kind"] == Kind.EXIT) & ~exits).tolist():
            infos[at] = b"ended unseen"
        for at in np.flatnonzero(more).tolist():
            infos[at] = _with_more(infos[at].decode(), batch, at).encode()
        own = np.flatnonzero(commands | exits | more)
        return own, [infos[at] for at in own.tolist()]

    def _endings(self, rows: NDArray[np.void], exits: NDArray[np.intp]) -> list[bytes]:
        """How the processes in these rows ended, and after which time: only few different texts, as shown."""
        lived_ns = rows["ts_ns"][exits].astype(np.int64) - rows["start_ns"][exits].astype(np.int64)
        lived_ns -= lived_ns % np.where(lived_ns < 10**6, 10**3, np.where(lived_ns < 10**9, 10**6, 1))
        first, of_row = distinct(rows["status"][exits], lived_ns)
        different = zip(rows["status"][exits[first]].tolist(), lived_ns[first].tolist(), strict=True)
        texts = [f"{self._ended(status)}{duration(ns)}".encode() for status, ns in different]
        return [texts[number] for number in of_row.tolist()]

    def _ending(self, status: int) -> str:
        end = ending(status)
        words = end.signal or f"exit {end.exit_code}"
        if end.core_dumped:
            words += " (core dumped)"
        if self._color and end.exit_code != 0:
            words = f"{_FAILED}{words}{_RESET}"
        return f"{words} after "

    def _aside(self, batch: Batch, index: int, containers: Attribution) -> str:
        row = batch.rows[index]
        if row["kind"] == Kind.REPAIR:
            return self._repair(row)
        return self._gap(batch.rows[index : index + 1], pad(_label(batch, index, containers), _CONTAINER))

    def _gap(self, rows: NDArray[np.void], label: str) -> str:
        """The line of a gap. rows: the row of the gap alone."""
        row, known = rows[0], Known(rows)
        since = self._clock.text(int(row["start_ns"])) if known("since")[0] else "the start"
        until = self._clock.text(int(row["ts_ns"]))
        lost = int(row["seq"])
        where = f" on CPU {row['cpu']}" if known("cpu")[0] else ""
        why = " (throttled)" if row["flags"] & Flag.THROTTLED else ""
        what = f"lost {lost} event{'s' if lost != 1 else ''}" if lost else "events are missing"
        info = f"{what}{where} between {since} and {until}{why}"
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


def _comm(raw: bytes, has_info: bool) -> str:
    name = safe(raw) or "-"
    return f" {pad(name, _COMM)} " if has_info else f" {name}".rstrip()


def _command(raw: bytes, exe_len: int) -> bytes:
    return (command_line(split_args(raw[exe_len:])) or safe(raw[:exe_len])).encode()


_short_command = lru_cache(4096)(_command)  # mostly the same few


def _with_more(info: str, batch: Batch, index: int) -> str:
    row = batch.rows[index]
    if row["level"] >= 2:
        info = f"{info} {_numbers(batch, index)}".lstrip()
    marks = [f"({word})" for flag, word in _MARKS.items() if row["flags"] & flag]
    return " ".join(filter(None, [info, *marks]))


def _numbers(batch: Batch, index: int) -> str:
    """All numbers of the process, host first."""
    chain = (int(batch.rows["tgid"][index]), *(number.nr for number in chain_of(batch, index)))
    return f"pids {'>'.join(map(str, chain))}"
