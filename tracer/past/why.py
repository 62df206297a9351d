"""How lives of containers ended, of recorded batches: the rows that tell lives, and the exits before them. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np

from tracer.answers.census import Entry
from tracer.answers.why import Ending, Exit, Step, foreboding_of
from tracer.past.history import History
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.metadata import Container, Killer, LifeFact, SignalSent
from tracer.stream.pidns import ProcId, chain_of
from tracer.stream.schema import SHOWN_KINDS, Kind

SHOWN_EXITS = 8
"""How many processes are kept that ended before the first one."""
_MAX_EXITS = 512
_MAX_STEPS = 64
_MAX_ENDS = 1 << 16
_MAX_PASSED = 1 << 12
_LATE_NS = 50_000_000  # an engine's clock is the wall's, ours was read when the trace began

Means = Callable[[Container], bool]
_Row = tuple[Batch, int]


class Ends:
    """Receives all parts (`Attribution.split_and_learn`) of recordings in order of time. means: which containers are
    asked about. whole: keeps what happened before each end; else the ends alone, of which there may be many.

    found: the ends, in order. seen: the containers that are asked about, whether they ended or not; others: the names
    of all others. tells: whether there was any row that tells a life: an earlier version has recorded none.
    """

    def __init__(self, means: Means, whole: bool) -> None:
        self.found: deque[Ending] = deque(maxlen=1 if whole else _MAX_ENDS)
        self.seen: dict[str, Container] = {}
        self.others: dict[str, None] = {}
        self._means, self._whole = means, whole
        self.tells = False
        self._exits: dict[str, deque[_Row]] = {}
        self._steps: dict[str, deque[Step]] = {}

    def take(self, part: Batch, attribution: Attribution, wall_offset_ns: int, until_ns: int) -> None:
        """Receive the next part. until_ns: of what happened later nothing is kept (wall clock)."""
        done, until = 0, until_ns - wall_offset_ns
        for at in np.flatnonzero(part.rows["kind"] == Kind.CONTAINER).tolist():
            if self._whole:
                self._note_exits(part.part(done, at), attribution, until)
            self.tells = True
            done, ts_ns, fact = at + 1, int(part.rows["ts_ns"][at]), fact_of(part, at)
            if isinstance(fact, LifeFact) and ts_ns <= until:
                step = Step(ts_ns + wall_offset_ns, fact)
                if self._is_meant(fact.container):
                    self._happened(step, part.rows[at], attribution, wall_offset_ns)
                else:
                    self._pass_by(step)
        if self._whole:
            self._note_exits(part.part(done, len(part)), attribution, until)

    def _pass_by(self, step: Step) -> None:
        """What happened to a container by a name that is not asked about: it may get the one that is."""
        if step.fact.action == "stopped":
            self._steps.pop(step.fact.container.id, None)
        elif len(self._steps) < _MAX_PASSED or step.fact.container.id in self._steps:
            self._steps.setdefault(step.fact.container.id, deque(maxlen=_MAX_STEPS)).append(step)

    def _is_meant(self, container: Container) -> bool:
        if self._means(container):
            self.seen[container.id] = container
            return True
        self.others[container.label] = None
        return False

    def _note_exits(self, part: Batch, attribution: Attribution, until_ns: int) -> None:
        """Keep copies of the last exits of each container that is asked about. until_ns: boottime."""
        rows, pairs = part.rows, part.pairs
        is_by_then = rows["ts_ns"] <= np.uint64(max(0, until_ns))
        is_exit = (rows["kind"] == Kind.EXIT) & is_by_then
        about = np.unique(pairs.of_row[of_kind(rows, *SHOWN_KINDS) & is_by_then]).tolist()
        for pair in about:
            container = attribution.of_row(part, pairs.first[pair])
            if container is None or not self._is_meant(container):
                continue
            last = part.take(np.flatnonzero(is_exit & (pairs.of_row == pair))[-_MAX_EXITS:])
            kept = self._exits.setdefault(container.id, deque(maxlen=_MAX_EXITS))
            kept.extend((last, at) for at in range(len(last)))

    def _happened(self, step: Step, row: np.void, attribution: Attribution, wall_offset_ns: int) -> None:
        container_id, fact = step.fact.container.id, step.fact
        if fact.action == "oom" and self._is_of_the_last(fact, step.at_ns):
            return
        if fact.action != "stopped":
            self._steps.setdefault(container_id, deque(maxlen=_MAX_STEPS)).append(step)
        elif fact.said_by != "kernel":
            self._doubt(fact)
        else:
            exits = sorted(self._exits.pop(container_id, ()), key=_moment)  # of several pairs
            self.found.append(self._ending(step, row, exits, attribution, wall_offset_ns))

    def _ending(
        self, step: Step, row: np.void, exits: list[_Row], attribution: Attribution, wall_offset_ns: int
    ) -> Ending:
        """The end that a row tells. exits: of the container, in order."""
        first = _first(exits, step.fact, int(row["ts_ns"]))
        before, after = exits[:first], exits[first + 1 :] if first is not None else []
        before = [one for one in before if not _is_runtime(*one)]
        told = [exit_in(*one, attribution, wall_offset_ns) for one in before]
        first_exit = exit_in(*exits[first], attribution, wall_offset_ns) if first is not None else None
        return Ending(
            at_ns=step.at_ns,
            stopped=step.fact,
            first=first_exit,
            before=tuple(told[-SHOWN_EXITS:]),
            died=dict(Counter(bytes(batch.rows["comm"][at]) for batch, at in after)),
            steps=tuple(self._steps.pop(step.fact.container.id, ())),
            signals=tuple(SignalSent(sent.signal, sent.time_ns + wall_offset_ns) for sent in step.fact.signals or ()),
            foreboding=foreboding_of(first_exit, told),
        )

    def _is_of_the_last(self, fact: LifeFact, at_ns: int) -> bool:
        """Whether an engine says of a life that has ended that memory had run out: late, as engines do."""
        mine = self._last_of(fact.container)
        if mine is None or fact.said_by != "engine" or at_ns > self.found[mine].at_ns + _LATE_NS:
            return False
        self.found[mine] = replace(
            self.found[mine], stopped=msgspec.structs.replace(self.found[mine].stopped, oom=True)
        )
        return True

    def _last_of(self, container: Container) -> int | None:
        """Which end is the last one of a container; None: there is none."""
        places = reversed(range(len(self.found)))
        return next((place for place in places if self.found[place].container.id == container.id), None)

    def _doubt(self, fact: LifeFact) -> None:
        """Note what an engine says of the last end."""
        mine = self._last_of(fact.container)
        if mine is not None and fact.doubt:
            how = f"exit code {fact.exit_code}" if fact.exit_code is not None else "it has stopped"
            self.found[mine] = replace(self.found[mine], doubts=(*self.found[mine].doubts, f"{how}: {fact.doubt}"))


def _moment(row: _Row) -> int:
    return int(row[0].rows["ts_ns"][row[1]])


def _is_runtime(batch: Batch, at: int) -> bool:
    """Whether it is a part of runc that prepares the container from outside."""
    return batch.rows["level"][at] == 0 and bytes(batch.rows["comm"][at]).startswith(b"runc")


def _first(exits: list[_Row], stopped: LifeFact, ended_ns: int) -> int | None:
    """Which of the exits is that of the container's first process: it began when the life did. None: none is."""
    if stopped.duration_ns is None:
        return None
    starts = [int(batch.rows["start_ns"][at]) for batch, at in exits]
    began_ns = ended_ns - stopped.duration_ns
    return starts.index(began_ns) if began_ns in starts else None


def exit_in(batch: Batch, index: int, attribution: Attribution, wall_offset_ns: int) -> Exit:
    """The end that an EXIT row reports."""
    row, payload, known = batch.rows[index], batch.payload(index), Known(batch.rows[index : index + 1])
    inside = [number.nr for number in chain_of(batch, index)] if row["level"] else []
    return Exit(
        at_ns=int(row["ts_ns"]) + wall_offset_ns,
        started_ns=int(row["start_ns"]) + wall_offset_ns,
        pids=(int(row["tgid"]), *inside),
        comm=bytes(row["comm"]),
        exe=payload.exe,
        args=payload.args if known("args")[0] else None,
        status=int(row["status"]) if known("status")[0] else None,
        killer=msgspec.json.decode(payload.killer, type=Killer) if payload.killer else None,
        container=attribution.of_row(batch, index),
        proc_id=ProcId(int(row["tgid"]), int(row["start_ns"])),
        parent=ProcId(int(row["parent_tgid"]), int(row["parent_start_ns"])),
    )


def end_of(history: History, entry: Entry, until_ns: int, attribution: Attribution, wall_offset_ns: int) -> Exit | None:
    """How a process of a history ended; None: by then (boottime) it had not. entry: as it was reported."""
    batch, life = history.batch, history.life_of(entry.proc_id)
    rows = history.rows_of(life.process) if life else np.empty(0, np.int64)
    ends = rows[(batch.rows["kind"][rows] == Kind.EXIT) & (batch.rows["ts_ns"][rows].astype(np.int64) <= until_ns)]
    if not len(ends):
        return None
    found = exit_in(batch, int(ends[0]), attribution, wall_offset_ns)
    return replace(found, args=entry.args) if found.args is None else found


def ended_with(found: Exit, batch: Batch, wall_offset_ns: int) -> LifeFact | None:
    """How the life of its container ended that a process ended with, as its first process or since that had ended;
    None: it ended otherwise, such as the number 1 of a namespace inside. batch: all rows that tell lives are in it."""
    was_swept = found.killer is not None and found.killer.reason == "pidns_ended"
    ender = found.killer.proc_id if found.killer and was_swept else str(found.proc_id)
    if found.container is None or ender is None:
        return None
    for at in np.flatnonzero(batch.rows["kind"] == Kind.CONTAINER).tolist():
        fact, ended_ns = fact_of(batch, at), int(batch.rows["ts_ns"][at])
        if not isinstance(fact, LifeFact) or fact.container.id != found.container.id or fact.action != "stopped":
            continue
        is_later = ended_ns + wall_offset_ns >= found.at_ns
        if is_later and fact.duration_ns is not None and ender.endswith(f"-{ended_ns - fact.duration_ns}"):
            return fact
    return None
