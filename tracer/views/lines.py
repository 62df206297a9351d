"""Text columns: one line an event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracer.stream.ancestry import Ancestry
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind, split_args
from tracer.stream.distinct import distinct
from tracer.stream.killers import killer_in
from tracer.stream.known import Known
from tracer.stream.metadata import SessionFact
from tracer.stream.pidns import chain_of
from tracer.stream.schema import ASIDE_KINDS, CONTAINER_KINDS, NOTE_KINDS, Flag, Kind
from tracer.system.host_pidns import INITIAL_PIDNS_INUM
from tracer.text.escape import command_line, safe, safe_text
from tracer.text.exec_errors import error_words
from tracer.text.row_times import Values, row_times
from tracer.text.times import duration
from tracer.text.wait_status import ending
from tracer.text.width import cut, cut_line, cut_middle, pad, width
from tracer.views.colors import FAILED, OF_KIND, ContainerColors, painted
from tracer.views.facts import words
from tracer.views.gaps import Burst, Gaps
from tracer.views.indent import STEP, indent
from tracer.views.killed import killed_by
from tracer.views.layout import CONTAINER, LEAST_COMM, NUMBER, UNCUT_CONTAINER, Layout, grown, layout, most_container
from tracer.views.sessions import is_told_by_others, marked
from tracer.views.sheet import Sheet, sheet_of, with_lines

_WORDS = {kind: kind.name.lower() for kind in Kind} | {Kind.EXEC_FAILED: "failed", Kind.CONTAINER: "life"}
_NUMBERS: dict[str, Callable[[NDArray[np.void]], NDArray[np.unsignedinteger]]] = {
    "PID": lambda rows: rows["tgid"],
    "NSPID": lambda rows: rows["chain"]["nr"][:, 0],
    "PPID": lambda rows: rows["parent_tgid"],
    "NSPPID": lambda rows: rows["parent_vtgid"],
    "TID": lambda rows: rows["tid"],
    "NSTID": lambda rows: rows["vtid"],
}
_PARENTS = ("PPID", "NSPPID")
_MARKS = {Flag.INFERRED: "inferred", Flag.CARRIED: "carried"}
_MARKED = np.uint8(sum(_MARKS))
_NOBODY = "-"
_ALL_KINDS = max(Kind) + 1
_SHORT_BYTES = 512
_LEAST_COMMAND = 16  # cells that the indentation leaves to name and INFO
_NO_TIMES = np.empty(0, np.uint64)
_Note = tuple[int, str]  # when, as boottime in ns, and the line without its time
_NO_WIDTH: Callable[[], int | None] = lambda: None  # noqa: E731 - a default


class Lines:
    """TIME EVENT CONTAINER PID NSPID PPID NSPPID [TID NSTID] COMM INFO, as far as there is room.

    wall_offset_ns: wall clock minus boottime when the trace began. TIME is as --time says. line_width: asked ahead
    of every batch, how wide lines may be, in cells; None: nothing is cut. container_width: how wide the column
    CONTAINER may become; 0: as there is room. titles: with a header, again where the columns on a terminal have
    changed. expected: how wide the names of containers will be, as far as that is known ahead. tree: COMM is
    indented by ancestry.
    """

    def __init__(
        self,
        kinds: frozenset[Kind],
        color: bool,
        threads: bool,
        wall_offset_ns: int,
        line_width: Callable[[], int | None] = _NO_WIDTH,
        container_width: int = 0,
        titles: bool = True,
        expected: int = 0,
        tree: bool = False,
    ) -> None:
        self._tree = Ancestry() if tree else None
        self._kinds = tuple(kinds)
        self._threads, self._titles = threads, titles
        self._line_width, self._container_width = line_width, container_width
        self._times = row_times(wall_offset_ns)
        self._colors = ContainerColors() if color else None
        self._event_width = max(len(_WORDS[kind]) for kind in kinds | NOTE_KINDS)
        self._event_texts = self._event_column(failed=False) + self._event_column(failed=True)
        self._ended = lru_cache(1024)(self._ending)
        self._burst = Burst()
        self._container = CONTAINER if line_width() else UNCUT_CONTAINER
        self._layout = self._titled = self._fitting(line_width(), expected)
        self.header = self._titled.header if titles else ""

    def _event_column(self, failed: bool) -> list[bytes]:
        """The column EVENT for each kind, by its number. failed: for rows of failures."""
        return [self._event(Kind(kind), failed).encode() if kind else b"  " for kind in range(_ALL_KINDS)]

    def _event(self, kind: Kind, failed: bool = False) -> str:
        word = _WORDS[kind].ljust(self._event_width)
        code = FAILED if failed else OF_KIND.get(kind)
        return f" {painted(word, code) if self._colors and code else word} "

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """One line for each row of a kind to show; gaps always, those of a burst as one when it is over."""
        shown = batch.only(*self._kinds, *NOTE_KINDS)
        depths = self._depths(batch, self._tree) if self._tree else np.zeros(len(shown), np.int64)
        if not len(shown):
            return b""
        parts = self._parts(shown, containers, self._line_width())
        texts = [self._part(shown.part(*part), containers, depths[slice(*part)]) for part in parts]
        return texts[0] if len(texts) == 1 else b"".join(texts)

    def _depths(self, batch: Batch, tree: Ancestry) -> NDArray[np.int64]:
        """How far each row that is shown is indented, in levels."""
        is_shown = of_kind(batch.rows, *self._kinds, *NOTE_KINDS)
        return tree.depths(batch, is_shown)[is_shown]

    def rest(self) -> bytes:
        """The lines of a burst of gaps that is taken to be over."""
        lines = list(enumerate(self._gap_lines()))
        return self._cut_whole(b"".join(f"{line}\n".encode() for _place, line in self._timed(lines, _NO_TIMES)[1]))

    def _parts(self, shown: Batch, containers: Attribution, line_width: int | None) -> Iterator[tuple[int, int]]:
        """Parts of the batch, from a row up to but without another, cut where a name needs a wider column CONTAINER;
        each is yielded when the columns fit it."""
        begin, most = 0, most_container(self._container_width, line_width)
        self._layout = self._fitting(line_width, 0)
        for at in _places(shown)[0] if self._layout.container < most else ():
            needed = width(_marked_label(shown, at, containers))
            if needed > self._layout.container:
                if at > begin:
                    yield begin, at
                    begin = at
                self._layout = self._fitting(line_width, needed)
        yield begin, len(shown)

    def _fitting(self, line_width: int | None, needed: int) -> Layout:
        """The columns for lines of this width, and for a container's name of so many cells."""
        most = most_container(self._container_width, line_width)
        self._container = grown(self._container, needed, max(self._container, most))
        return layout(
            line_width,
            self._event_width,
            min(self._container, most),
            self._threads,
            self._times.title,
            self._tree is not None,
        )

    def _part(self, part: Batch, containers: Attribution, depths: NDArray[np.int64]) -> bytes:
        notes = self._notes(part, containers) if self._burst or part.has(*ASIDE_KINDS) else []
        events = part.without(*ASIDE_KINDS)
        if events is not part:
            depths = depths[~of_kind(part.rows, *ASIDE_KINDS)]
        times, lines = self._timed(notes, events.rows["ts_ns"])
        text = self._events(events, containers, times, depths).render() if len(events) else b""
        text = self._cut_whole(with_lines(text, lines))
        return self._new_titles() + text

    def _timed(
        self, notes: Sequence[tuple[int, _Note]], ts_ns: NDArray[np.uint64]
    ) -> tuple[Values, list[tuple[int, str]]]:
        """What TIME shows of events, and the lines beside them, with it. notes: with their line numbers among all.
        ts_ns: of the events."""
        if not notes:
            return self._times.values(ts_ns), []
        is_note = np.zeros(len(notes) + len(ts_ns), bool)
        is_note[[place for place, _note in notes]] = True
        times = np.empty(len(is_note), np.uint64)
        times[~is_note], times[is_note] = ts_ns, [when for _place, (when, _text) in notes]
        values = self._times.values(times)
        stamps = map(self._times.text, values[is_note].tolist())
        lines = [(place, stamp + text) for (place, (_when, text)), stamp in zip(notes, stamps, strict=True)]
        return values[~is_note], lines

    def _new_titles(self) -> bytes:
        """The header, where the columns on a terminal are not those of the last one; else nothing."""
        before, self._titled = self._titled, self._layout
        if before == self._layout or not (self._titles and self._layout.is_cut):
            return b""
        header = self._layout.header
        return b"" if header == before.header else f"{header}\n".encode()

    def _cut_whole(self, text: bytes) -> bytes:
        """The lines, cut where there is not even room for what stands ahead of INFO."""
        columns = self._layout.line
        if columns is None:
            return text
        return "".join(f"{cut_line(line, columns)}\n" for line in text.decode().splitlines()).encode()

    def _events(self, batch: Batch, containers: Attribution, times: Values, depths: NDArray[np.int64]) -> Sheet:
        rows, known, sheet = batch.rows, Known(batch.rows), sheet_of(len(batch))
        self._times.put(sheet, times)
        failed = known("status") & (rows["status"] != 0) if self._colors else None
        sheet.choice(
            self._event_texts, rows["kind"] if failed is None else rows["kind"] + failed * np.uint8(_ALL_KINDS)
        )
        first, of_row = _places(batch)
        sheet.choice([self._place(_marked_label(batch, at, containers)).encode() for at in first], of_row)
        for title in self._layout.numbers:
            sheet.text(b" ")
            sheet.number(_NUMBERS[title](rows), NUMBER, known("ppid") if title in _PARENTS else None, b"-")
        own, infos = self._infos(batch, known, failed)
        has_info = np.zeros(len(batch), bool)
        has_info[own] = [bool(info) for info in infos]
        sheet.names(rows["comm"], has_info + 2 * depths, self._comm)
        sheet.own(own, infos)
        sheet.text(b"\n")
        return sheet

    def _place(self, label: str) -> str:
        """The column CONTAINER."""
        columns = self._layout.container
        shown = pad(cut_middle(label, columns) if self._layout.is_cut else label, columns)
        return painted(shown, self._colors.of(_container_in(label))) if self._colors and label != _NOBODY else shown

    def _comm(self, raw: bytes, form: int) -> str:
        """form: 2 for each level of indentation, 1 where INFO follows."""
        depth, has_info = divmod(form, 2)
        columns = self._layout
        room = columns.comm + (columns.info or 0) - _LEAST_COMMAND if columns.flows else columns.comm - LEAST_COMM
        name = indent(depth, max(0, room // STEP) if columns.is_cut else depth) + (safe(raw) or "-")
        if columns.is_cut and not columns.flows:
            name = cut(name, columns.comm)
        return f" {name if columns.flows else pad(name, columns.comm)} " if has_info else f" {name}".rstrip()

    def _infos(
        self, batch: Batch, known: Known, failed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.intp], list[bytes]]:
        """The column INFO: the rows that can have a text in it, and the texts. failed: whose texts are red; None: none
        is."""
        rows, infos = batch.rows, [b""] * len(batch)
        exits = known("status")
        commands = known("args") & (~exits | (rows["status"] != 0))  # of exits those that failed
        more = (rows["level"] >= 2) | (rows["flags"] & _MARKED != 0)
        at_rows = np.flatnonzero(commands)
        for at, (raw, exe_len) in zip(at_rows.tolist(), batch.commands(at_rows), strict=True):
            infos[at] = _short_command(raw, exe_len) if len(raw) <= _SHORT_BYTES else _command(raw, exe_len)
        for at in at_rows[rows["flags"][at_rows] & Flag.ARGS_TRUNCATED != 0].tolist():
            infos[at] += " …".encode()
        at_rows = np.flatnonzero(exits)
        for at, text in zip(at_rows.tolist(), self._endings(batch, at_rows, known), strict=True):
            infos[at] = text + b": " + infos[at] if infos[at] else text
        for at in np.flatnonzero((rows["kind"] == Kind.EXIT) & ~exits).tolist():
            infos[at] = b"ended unseen"
        misses = known("errno")
        for at in np.flatnonzero(misses).tolist():
            infos[at] = _miss(batch, at)
        for at in np.flatnonzero(more).tolist():
            infos[at] = _with_more(infos[at].decode(), batch, at).encode()
        own = np.flatnonzero(commands | exits | misses | more)
        texts = self._cut_infos([infos[at] for at in own.tolist()])
        if failed is not None:
            for at in np.flatnonzero(failed[own]).tolist():
                texts[at] = painted(texts[at].decode(), FAILED).encode()
        return own, texts

    def _cut_infos(self, infos: list[bytes]) -> list[bytes]:
        """The texts, cut to the column INFO; no text has fewer bytes than cells."""
        room = self._layout.info
        if room is None:
            return infos
        room += self._layout.comm if self._layout.flows else 0  # then whole lines are cut
        return [info if len(info) <= room else cut(info.decode(), room).encode() for info in infos]

    def _endings(self, batch: Batch, exits: NDArray[np.intp], known: Known) -> list[bytes]:
        """How the processes in these rows ended, by whom, and after which time: only few different texts, as shown."""
        rows = batch.rows
        lived_ns = rows["ts_ns"][exits].astype(np.int64) - rows["start_ns"][exits].astype(np.int64)
        lived_ns -= lived_ns % np.where(lived_ns < 10**6, 10**3, np.where(lived_ns < 10**9, 10**6, 1))
        first, of_row = distinct(rows["status"][exits], lived_ns)
        different = zip(rows["status"][exits[first]].tolist(), lived_ns[first].tolist(), strict=True)
        texts = [self._lived(status, ns).encode() for status, ns in different]
        endings = [texts[number] for number in of_row.tolist()]
        for place in np.flatnonzero(known("killed_by")[exits]).tolist() if len(batch.killed) else ():
            at = int(exits[place])
            by = killed_by(killer_in(batch.payload(at).killer), int(rows["tgid"][at]), self._layout.is_narrow)
            endings[place] = self._lived(int(rows["status"][at]), int(lived_ns[place]), by).encode()
        return endings

    def _lived(self, status: int, lived_ns: int, by: str = "") -> str:
        """How long goes without saying where there is room for one thing more: of a failure it is the command."""
        if not self._layout.is_narrow:
            return f"{self._ended(status)}{by} after {duration(lived_ns)}"
        return f"{self._ended(status)}{by}" if status else f"{self._ended(status)}, {duration(lived_ns)}"

    def _ending(self, status: int) -> str:
        end = ending(status)
        dumped = " (core dumped)" if end.core_dumped else ""
        return f"{end.signal or f'exit {end.exit_code}'}{dumped}"

    def _notes(self, part: Batch, containers: Attribution) -> list[tuple[int, _Note]]:
        """The lines of rows about no process, each with its line number among all lines of this part."""
        lines: list[tuple[int, _Note]] = []
        ts_ns, is_note = part.rows["ts_ns"], of_kind(part.rows, *ASIDE_KINDS)
        before: NDArray[np.intp] = np.cumsum(~is_note) - ~is_note
        if self._colors:
            for at in part.pairs.first:  # in the order of the rows, however they are cut into parts
                self._place(_label(part, at, containers))

        def add(at: int, notes: list[_Note]) -> None:
            for note in notes:
                lines.append((int(before[at]) + len(lines), note))

        checked = 0
        for at in [*np.flatnonzero(is_note).tolist(), len(part)]:
            if (over := self._burst.end_in(ts_ns[checked : at + 1])) is not None:
                add(checked + over, self._gap_lines())
            if at < len(part):
                add(at, self._note(part, at, containers))
            checked = at + 1
        return lines

    def _note(self, part: Batch, at: int, containers: Attribution) -> list[_Note]:
        """The lines that a row about no process has at once: a gap can be part of a burst."""
        row = part.rows[at]
        if row["kind"] in CONTAINER_KINDS:
            fact, kind = fact_of(part, at), Kind(int(row["kind"]))
            if isinstance(fact, SessionFact) and is_told_by_others(fact):
                return []
            info, label = _with_marks(safe_text(words(fact)), row), _marked_label(part, at, containers)
            return [*self._gap_lines(), self._note_line(kind, int(row["ts_ns"]), label, info)]
        if row["kind"] == Kind.REPAIR:
            info = f"process table corrected by the kernel's list of {self._times.moment(int(row['start_ns']))}"
            return [*self._gap_lines(), self._note_line(Kind.REPAIR, int(row["ts_ns"]), _NOBODY, info)]
        label, gaps = _label(part, at, containers), _gaps(part.rows[at : at + 1])
        if gaps.cpus:
            self._burst.add(label, gaps)
            return []
        return [*self._gap_lines(), self._gap_line(label, gaps)]

    def _gap_lines(self) -> list[_Note]:
        """The lines of the burst, which is over."""
        return [self._gap_line(label, gaps) for label, gaps in self._burst.take()]

    def _gap_line(self, label: str, gaps: Gaps) -> _Note:
        since = "the start" if gaps.since_ns is None else self._times.moment(gaps.since_ns)
        info = f"{gaps.what} between {since} and {self._times.moment(gaps.until_ns)}{gaps.why}"
        return self._note_line(Kind.GAP, gaps.until_ns, label, info)

    def _note_line(self, kind: Kind, ts_ns: int, label: str, info: str) -> _Note:
        """A line without a process: where INFO has too little room, its text begins in the columns of the process."""
        columns = self._layout
        no_process = "".join(f"{'-':>{NUMBER}} " for _title in columns.numbers) + f"{'-':<{columns.comm}} "
        if columns.info is not None and width(info) > columns.info:
            info, no_process = cut(info, len(no_process) + columns.info), ""
        return ts_ns, f"{self._event(kind)}{self._place(label)} {no_process}{info}"


def _gaps(rows: NDArray[np.void]) -> Gaps:
    """A gap, from its row alone: shape (1,)."""
    row, known, lost = rows[0], Known(rows), int(rows["seq"][0])
    throttled = bool(row["flags"] & Flag.THROTTLED)
    return Gaps(
        since_ns=int(row["start_ns"]) if known("since")[0] else None,
        until_ns=int(row["ts_ns"]),
        lost=lost,
        throttled=lost * throttled,
        only_throttled=throttled,
        cpus={int(row["cpu"])} if known("cpu")[0] else set(),
    )


def _label(batch: Batch, index: int, containers: Attribution) -> str:
    container = containers.of_row(batch, index)
    if container:
        return safe_text(container.label)
    inum = int(batch.rows["chain"]["inum"][index, 0])
    return "-" if inum in (INITIAL_PIDNS_INUM, 0) else f"pidns:{inum}"  # 0: a row of the stream itself


def _marked_label(batch: Batch, index: int, containers: Attribution) -> str:
    return marked(_label(batch, index, containers), int(batch.rows["session"][index]))


def _container_in(label: str) -> str:
    """The container's name in a label that may have the number of a life and of a session."""
    return label.partition("@")[0].partition("#")[0]


def _places(batch: Batch) -> tuple[list[int], NDArray[np.intp]]:
    """The first row of each different pair and session, and the index of each row's."""
    pairs, sessions = batch.pairs, batch.rows["session"]
    if not sessions.any():
        return pairs.first, pairs.of_row
    first, of_row = distinct(pairs.of_row, sessions)
    return first.tolist(), of_row


def _command(raw: bytes, exe_len: int) -> bytes:
    return (command_line(split_args(raw[exe_len:])) or safe(raw[:exe_len])).encode()


_short_command = lru_cache(4096)(_command)  # mostly the same few


def _miss(batch: Batch, index: int) -> bytes:
    """What could not be run, and why."""
    exe = batch.payload(index).exe
    name = f"{safe(exe)}: " if exe else ""
    return f"{name}{error_words(int(batch.rows['status'][index]))}".encode()


def _with_more(info: str, batch: Batch, index: int) -> str:
    row = batch.rows[index]
    if row["level"] >= 2:
        info = f"{info} {_numbers(batch, index)}".lstrip()
    return _with_marks(info, row)


def _with_marks(info: str, row: np.void) -> str:
    marks = [f"({word})" for flag, word in _MARKS.items() if row["flags"] & flag]
    return " ".join(filter(None, [info, *marks]))


def _numbers(batch: Batch, index: int) -> str:
    """All numbers of the process, host first."""
    chain = (int(batch.rows["tgid"][index]), *(number.nr for number in chain_of(batch, index)))
    return f"pids {'>'.join(map(str, chain))}"
