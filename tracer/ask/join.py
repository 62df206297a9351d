"""A log that is a table, joined with the processes of its moments: DuckDB's as-of join, by the rules of
`tracer.past.log_lines`.

Each line means a window of time (of each run that recorded then, and of each meaning of its time). Who had the number
last in the window is found by the join; whether others had it in the window as well, or events are missing that could
tell of others, is said instead of an answer. The log is read in pieces, so that memory grows with processes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.ask.database import errors_of
from tracer.ask.lives import RunOf
from tracer.ask.log_numbers import numbers_in
from tracer.ask.log_times import Moments, moments_in
from tracer.errors import NstraceError
from tracer.past.gaps import NEVER_NS
from tracer.past.log_lines import Unanswered, why_not
from tracer.past.places import Place
from tracer.recording.columns import values_of
from tracer.typed.processes import Proc, parse_space

if TYPE_CHECKING:
    import duckdb

PREFIX = "process_"
_DETAILS = (
    *("container", "container_id", "incarnation", "ppid", "parent_id", "uid"),
    *("began", "began_sure", "ended", "ended_sure", "exit_code", "signal"),
)
"""Of the table `processes`, what a joined line has of its process beside its numbers, name and command."""
NEEDED = ("proc_id", *_DETAILS)
"""The columns of the table `processes` that a join needs."""
_HOST, _UNKNOWN, _MAX_GROUPS = 0, -2, 1 << 16
_UNANSWERED = list(Unanswered)
_WHY = [why.value for why in _UNANSWERED]
_CODES = {why: code for code, why in enumerate(Unanswered)}
_ANSWERED = -1
_NAMES = ("line", "meaning", "run", "grp", "nr", "begin_ns", "end_ns", "lost_ns", "run_ns", "spaces")
_WINDOWS = pa.schema([(name, pa.int64()) for name in _NAMES])
"""meaning: one number for each meaning of a line's time; lost_ns: of all losses that were not repaired by then the
latest; run_ns: when the run began to record; spaces: how many PID namespaces the number may be one of, at the most
2."""
_PROCESSES = """
create temp table detail as
select life.tgid || '-' || life.start as process_id, life.tgid as process_pid, life.pids[-1] as process_ns_pid,
       life.pids as process_pids, {columns}
from life left join processes on processes.proc_id = life.tgid || '-' || life.start order by life.proc
"""
_HELD = """
insert into held
select grp, run, nr, start, seen, end_ns, proc, max(end_ns) over before as others_end_ns, lag(seen) over held_by
from (select grp, run, nr, greatest(start, since_ns) as start, least(seen, until_ns) as seen,
             least(end_ns, until_ns) as end_ns, proc
      from number join new_places using (run, inum, gen) where start < until_ns and end_ns > since_ns)
window held_by as (partition by grp, run, nr order by start),
       before as (partition by grp, run, nr order by start rows between unbounded preceding and 1 preceding)
"""
# who had the number last in the window, and whether others had it in it, too
_LAST = """
select windows.*, held.proc, held.start, held.seen, held.seen_before,
       coalesce(held.end_ns > begin_ns, false) as meets, coalesce(others_end_ns > begin_ns, false) as others
from windows asof left join held
     on windows.grp = held.grp and windows.run = held.run and windows.nr = held.nr and windows.end_ns >= held.start
"""


@dataclass(frozen=True)
class On:
    """Which columns of the log say who and when. container: "": the numbers are of `where`, a container or PID
    namespace, or of the host where that is "" as well. lag_ns: how long after it was written a line gets its time, at
    the most."""

    number: str
    time: str
    container: str
    where: str
    lag_ns: int


class _Found(NamedTuple):
    """For each line: the process, -1: none; why there is none; as of when it is described (boottime); shape (n,)."""

    proc: NDArray[np.int64]
    why: NDArray[np.int64]
    moment_ns: NDArray[np.int64]


class _Meant(NamedTuple):
    """The windows of one line: the clock and the meaning of its time; what is answered, as codes, process and moment;
    shape (m,)."""

    asked: list[tuple[str, int]]
    code: NDArray[np.int64]
    proc: NDArray[np.int64]
    moment_ns: NDArray[np.int64]


class Join:
    """The tables of `tracer.ask.lives` and a view `processes` are in the database. years: that come into question for
    times without one. counts: how many lines have an answer (""), and how many not, by why."""

    def __init__(self, database: duckdb.DuckDBPyConnection, runs: Sequence[RunOf], on: On, years: range) -> None:
        self._database, self._runs, self._on, self._years = database, runs, on, years
        self._groups: dict[str, int] = {}  # of texts that name containers
        self._unsure: list[list[int]] = [[_UNKNOWN] for _run in runs]  # groups of which a run does not know where
        self._in_several: list[list[int]] = [[] for _run in runs]  # groups of several PID namespaces
        self.counts: dict[str, int] = {}
        wanted = ", ".join(f"processes.{name} as {PREFIX}{name}" for name in _DETAILS)
        self._run(_PROCESSES.format(columns=wanted))
        self._run(
            "create temp table held (grp bigint, run bigint, nr bigint, start bigint, seen bigint, end_ns bigint,"
            " proc bigint, others_end_ns bigint, seen_before bigint)"
        )
        self._details = self._fetched("from detail")
        if not on.container:
            self._check(on.where)
            self._add_groups([on.where])

    def _check(self, where: str) -> None:
        """Raises NstraceError where no run knows the container."""
        if where and not any(self._places(run, where) for run in self._runs):
            proc = Proc(*parse_space(where), 1, where)
            for run in self._runs:
                run.facts.spaces(proc)

    def _run(self, statement: str) -> None:
        with errors_of(""):
            self._database.execute(statement).fetchall()

    def _fetched(self, query: str) -> pa.Table:
        with errors_of(""):
            return self._database.sql(query).to_arrow_table()

    def _add_groups(self, texts: Sequence[str]) -> None:
        """Learn who had the numbers of these containers."""
        found: list[tuple[int, int, int, int, int, int]] = []
        for text in texts:
            self._groups[text] = group = len(self._groups)
            for number, run in enumerate(self._runs):
                places = self._places(run, text)
                found += [(group, number, *place.pidns, place.since_ns, place.until_ns) for place in places]
                if len(places) > 1:
                    self._in_several[number].append(group)
                if not places and len(run.lost_since):  # what tells of the container may be among what was lost
                    self._unsure[number].append(group)
        names = ("grp", "run", "inum", "gen", "since_ns", "until_ns")
        columns = np.array(found, np.int64).reshape(-1, len(names)).T
        self._database.register("new_places", pa.table([pa.array(column) for column in columns], names))
        self._run(_HELD)
        self._database.unregister("new_places")

    def _places(self, run: RunOf, text: str) -> Sequence[Place]:
        """The PID namespaces that a text means in a run, and when; none where it has no such container."""
        try:
            return run.facts.places(Proc(*parse_space(text), 1, text))
        except NstraceError:
            return []

    def joined(self, piece: pa.Table) -> pa.Table:
        """The lines of the log, in their order, with the columns of their processes. Raises NstraceError."""
        piece = piece.combine_chunks()
        found = self._answers(piece)
        has = found.proc >= 0
        index = pa.array(np.where(has, found.proc, 0), mask=~has)
        details = self._details.take(index)
        comm, args = self._states(found)
        why = pa.array(_WHY).take(pa.array(np.where(has, 0, found.why), mask=has))
        for code, count in zip(*np.unique(np.where(has, _ANSWERED, found.why), return_counts=True), strict=True):
            name = "" if code == _ANSWERED else _WHY[code]
            self.counts[name] = self.counts.get(name, 0) + int(count)
        added = dict(zip(details.column_names, details.columns, strict=True))
        added |= {f"{PREFIX}comm": comm, f"{PREFIX}args": args, f"{PREFIX}unknown": why}
        for name, column in added.items():
            piece = piece.append_column(name, column)
        return piece

    def _answers(self, piece: pa.Table) -> _Found:
        count = len(piece)
        numbers = numbers_in(column_of(piece, self._on.number))
        groups = self._groups_of(piece)
        moments = moments_in(column_of(piece, self._on.time), self._years)
        why = np.full(count, _CODES[Unanswered.NOT_RECORDED])
        why[np.setdiff1d(np.arange(count), moments.line)] = _CODES[Unanswered.NO_TIME]
        why[groups < 0] = _CODES[Unanswered.NO_CONTAINER]
        why[numbers <= 0] = _CODES[Unanswered.NO_PID]
        found = _Found(np.full(count, -1), why, np.zeros(count, np.int64))
        windows = self._windows(moments, numbers, groups)
        if len(windows):
            self._decide(windows, found)
        return found

    def _groups_of(self, piece: pa.Table) -> NDArray[np.int64]:
        """The number of each line's container, -1: it names none."""
        if not self._on.container:
            return np.full(len(piece), _HOST)
        texts = pc.dictionary_encode(column_of(piece, self._on.container).cast(pa.string()))
        words = [None if word is None else word.strip().removeprefix("/") for word in texts.dictionary.to_pylist()]
        new = dict.fromkeys(word for word in words if word and word not in self._groups)
        self._add_groups(list(new)[: _MAX_GROUPS - len(self._groups)])
        groups = np.array([self._groups.get(word, _UNKNOWN) if word else -1 for word in words] + [-1], np.int64)
        of_line: NDArray[np.int64] = groups[values_of(texts.indices, len(words))]
        return of_line

    def _windows(self, moments: Moments, numbers: NDArray[np.int64], groups: NDArray[np.int64]) -> pa.Table:
        """The windows of the lines that may have an answer, of each run that recorded then."""
        parts = []
        is_asked = (numbers[moments.line] > 0) & (groups[moments.line] != -1)
        for number, run in enumerate(self._runs):
            begin_ns, end_ns = moments.begin_ns - run.offset_ns, moments.end_ns - run.offset_ns
            meets = np.flatnonzero(is_asked & (begin_ns <= run.end_ns) & (end_ns >= run.begin_ns))
            line = moments.line[meets]
            begin_ns = np.maximum(begin_ns[meets] - self._on.lag_ns, run.begin_ns)
            end_ns = np.minimum(end_ns[meets], run.end_ns)
            values = [line, meets, np.full(len(line), number), groups[line], numbers[line], begin_ns, end_ns]
            values += [self._lost(number, groups[line], begin_ns, end_ns), np.full(len(line), run.begin_ns)]
            values += [1 + np.isin(groups[line], self._in_several[number])]
            parts.append(pa.table([pa.array(value) for value in values], _WINDOWS))
        return pa.concat_tables(parts)

    def _lost(
        self, number: int, groups: NDArray[np.int64], begin_ns: NDArray[np.int64], end_ns: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """When events were last lost that may mislead in each window; -1: none do."""
        run = self._runs[number]
        lost_ns = np.full(len(groups), -1)
        if len(run.lost_since):
            place = np.searchsorted(run.lost_since, end_ns, side="right") - 1
            misleads = (place >= 0) & (run.healed[place] > begin_ns)
            lost_ns[misleads] = run.lost_until[place[misleads]]
        lost_ns[np.isin(groups, self._unsure[number])] = NEVER_NS
        return lost_ns

    def _decide(self, windows: pa.Table, found: _Found) -> None:
        """Set what is found of the lines that have windows."""
        self._database.register("windows", windows.combine_chunks())
        rows = self._fetched(f"select * from ({_LAST}) order by line")
        line, meaning, run, begin_ns, end_ns, lost_ns, run_ns, spaces, proc, start, seen, before, meets, others = (
            _values(rows[name])
            for name in (*("line", "meaning", "run", "begin_ns", "end_ns", "lost_ns", "run_ns", "spaces"),
                         *("proc", "start", "seen", "seen_before", "meets", "others"))
        )  # fmt: skip
        known_ns = np.where((start <= begin_ns) & (proc >= 0), seen, before)
        known_ns = np.where((known_ns < 0) | (spaces > 1), run_ns, np.minimum(known_ns, begin_ns))
        is_lost = lost_ns >= known_ns
        several = meets & others
        proc, start, seen, several, meets = self._elsewhere(rows, ~meets & others, proc, start, seen, several, meets)
        covered = (start <= begin_ns) & (seen >= end_ns) & (spaces == 1)
        code = np.full(len(line), _ANSWERED)
        code[~meets] = np.where(is_lost, _CODES[Unanswered.LOST], _CODES[Unanswered.NOBODY])[~meets]
        code[meets & ~covered & is_lost] = _CODES[Unanswered.LOST]
        code[several] = _CODES[Unanswered.AMBIGUOUS]
        moment_ns = np.minimum(seen, end_ns)
        self._database.unregister("windows")
        found.proc[line] = np.where(code == _ANSWERED, proc, -1)
        found.why[line], found.moment_ns[line] = code, moment_ns
        starts = np.flatnonzero(np.diff(line, prepend=-1))
        for first, last in _several(starts, len(line)):
            which = slice(first, last)
            asked = [(self._runs[of].clock, nth) for of, nth in zip(run[which], meaning[which], strict=True)]
            _combine(found, int(line[first]), _Meant(asked, code[which], proc[which], moment_ns[which]), self._names)

    def _elsewhere(self, rows: pa.Table, odd: NDArray[np.bool_], *state: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Where the last one had ended before the window and an earlier one, of another namespace, had not."""
        if not odd.any():
            return state
        chosen = rows.filter(pa.array(odd)).append_column("place", pa.array(np.flatnonzero(odd)))
        self._database.register("odd", chosen)
        found = self._fetched(
            "select place, count(*) as count, any_value(held.proc) as proc, any_value(held.start) as start,"
            " any_value(held.seen) as seen from odd join held using (grp, run, nr)"
            " where held.start <= odd.end_ns and held.end_ns > odd.begin_ns group by place"
        )
        self._database.unregister("odd")
        at = _values(found["place"])
        for column, name in zip(state[:3], ("proc", "start", "seen"), strict=True):
            column[at] = _values(found[name])
        state[3][at], state[4][at] = _values(found["count"]) > 1, True
        return state

    def _names(self, procs: NDArray[np.int64]) -> list[str]:
        """The identities of these processes."""
        names: list[str] = self._details[f"{PREFIX}id"].take(pa.array(procs)).to_pylist()
        return names

    def _states(self, found: _Found) -> tuple[pa.Array, pa.Array]:
        """Name and arguments of each line's process, as of its moment."""
        lines = np.flatnonzero(found.proc >= 0)
        values = (lines, found.proc[lines], found.moment_ns[lines])
        names = ("line", "proc", "moment_ns")
        self._database.register("lines", pa.table([pa.array(value) for value in values], names))
        rows = self._fetched(
            "select line, comm, args from lines asof left join state"
            " on lines.proc = state.proc and lines.moment_ns >= state.since order by line"
        ).combine_chunks()
        self._database.unregister("lines")
        place = np.full(len(found.proc), -1)
        place[lines] = np.arange(len(lines))
        index = pa.array(np.maximum(place, 0), mask=place < 0)
        return rows["comm"].take(index), rows["args"].take(index)


def _several(starts: NDArray[np.int64], count: int) -> Iterator[tuple[int, int]]:
    """From where to where the windows of a line are, of lines that have more than one."""
    ends = np.append(starts[1:], count)
    for at in np.flatnonzero(ends - starts > 1).tolist():
        yield int(starts[at]), int(ends[at])


def _combine(found: _Found, line: int, meant: _Meant, names: Callable[[NDArray[np.int64]], list[str]]) -> None:
    """Set what is found of a line that has several windows."""
    answered = np.flatnonzero(meant.code == _ANSWERED)
    clocks = [meant.asked[at][0] for at in answered.tolist()]
    processes = set(zip(clocks, names(meant.proc[answered]), strict=True)) if len(answered) else set()
    whys = [None if code == _ANSWERED else _UNANSWERED[code] for code in meant.code.tolist()]
    why = why_not(len(processes), zip(meant.asked, whys, strict=True))
    found.proc[line] = -1 if why else meant.proc[answered[0]]
    found.why[line] = _CODES[why] if why else _ANSWERED
    if not why:
        found.moment_ns[line] = meant.moment_ns[answered[0]]


def column_of(piece: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    column = piece[name].combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    array = column_of(pa.table([column], ["x"]), "x")
    if pa.types.is_boolean(array.type):
        return np.asarray(values_of(array.cast(pa.int8())) != 0)
    return values_of(array.cast(pa.int64()), -1).copy()
