"""Several recordings of one host at one time: what is the same event is given once.

Each nstrace has programs of its own, which note the time one after the other. So an event is known by its process (PID
and start time, by the kernel's clock since boot) and by what happened: a process begins and ends once; it may run
several programs, which are the same where their times are.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.recording.source import RecordedSource
from tracer.stream.attribution import Attribution, fact_of, reduce
from tracer.stream.batch import Batch, of_kind
from tracer.stream.metadata import LifeFact, SessionFact
from tracer.stream.repair import identity
from tracer.stream.schema import CONTAINER_KINDS, PROCESS_KINDS, SHOWN_KINDS, Flag, Kind

_TICK_NS, _FACT_TICK_NS = 10_000_000, 1_000_000_000  # how far the times of two runs are apart, at the most
_BEGAN, _ENDED = 64, 65  # beside kinds: that a process was there, and that it is over, however that is known
_ONCE = (Kind.FORK, Kind.EXIT, Kind.SNAPSHOT, Kind.THREAD_FORK, Kind.THREAD_EXIT)
_OF_PROCESSES = tuple(PROCESS_KINDS & SHOWN_KINDS)
_Keys = NDArray[np.uint64]
_Passing = Callable[[Batch, Attribution], Batch]


def give_each_once(sources: Sequence[RecordedSource]) -> None:
    """Let sources that recorded one host at one time yield each event once: where the first of them has it. They are
    read in this order, each once."""
    of_clock: defaultdict[str, list[RecordedSource]] = defaultdict(list)
    for source in sources:
        of_clock[source.recordings[0].facts.clock].append(source)
    for group in of_clock.values():
        for together in _at_one_time(group) if len(group) > 1 else ():
            seen = _Seen()
            for source in together:
                source.passing = _new_alone(seen, source.passing)


def _at_one_time(sources: Sequence[RecordedSource]) -> list[list[RecordedSource]]:
    """Those that recorded at one time, together and in their order; without those that did so alone."""
    spans = [source.span() for source in sources]
    groups: list[list[int]] = []
    until_ns = -1
    for at in sorted(range(len(sources)), key=lambda at: spans[at].begin_ns):
        if not groups or spans[at].begin_ns > until_ns:
            groups.append([])
        groups[-1].append(at)
        until_ns = max(until_ns, spans[at].end_ns)
    return [[sources[at] for at in sorted(group)] for group in groups if len(group) > 1]


def _new_alone(seen: _Seen, then: _Passing) -> _Passing:
    number = seen.add_run()

    def passing(batch: Batch, containers: Attribution) -> Batch:
        seen.read(number)
        is_new = ~seen.has(batch)
        seen.note(batch.select(is_new))
        return then(batch if is_new.all() else reduce(batch, is_new), containers)

    return passing


class _Seen:
    """What the runs before had, as one number for each event."""

    def __init__(self) -> None:
        self._runs, self._now = 0, 0
        self._before, self._since = np.empty(0, np.uint64), [np.empty(0, np.uint64)]

    def add_run(self) -> int:
        """The number of a further run."""
        self._runs += 1
        return self._runs

    def read(self, run: int) -> None:
        """The rows that follow are of this run."""
        if run != self._now:
            self._now, self._before, self._since = run, np.unique(np.concatenate([self._before, *self._since])), []

    def has(self, batch: Batch) -> NDArray[np.bool_]:
        """Which rows a run before had, shape (n,)."""
        rows = batch.rows
        found = np.zeros(len(batch), bool)
        if not len(self._before):
            return found
        inferred = rows["flags"] & Flag.INFERRED != 0
        about = of_kind(rows, *_OF_PROCESSES)
        kind = rows["kind"].astype(np.uint64)
        kind[(rows["kind"] == Kind.SNAPSHOT) | (rows["kind"] == Kind.FORK) & inferred] = _BEGAN
        kind[(rows["kind"] == Kind.EXIT) & inferred] = _ENDED
        for tick in (0, -1, 1):
            found |= about & np.isin(_keys(rows, kind, tick), self._before)
        for at, fact in _facts(batch):
            ticks = int(rows["ts_ns"][at]) // _FACT_TICK_NS
            keys = np.array([_of_fact(fact, ticks + tick) for tick in (0, -1, 1)], np.uint64)
            found[at] = np.isin(keys, self._before).any()
        return found

    def note(self, batch: Batch) -> None:
        """The run that is read has these rows."""
        if self._now == self._runs:
            return
        rows = batch.rows[of_kind(batch.rows, *_OF_PROCESSES)]
        reported = rows[(rows["flags"] & Flag.INFERRED == 0) | ~of_kind(rows, *_ONCE)]
        self._since.append(_keys(reported, reported["kind"].astype(np.uint64), 0))
        for kinds, what in (((Kind.FORK, Kind.SNAPSHOT), _BEGAN), ((Kind.EXIT,), _ENDED)):
            chosen = rows[of_kind(rows, *kinds)]
            self._since.append(_keys(chosen, np.full(len(chosen), what, np.uint64), 0))
        facts = [_of_fact(fact, int(batch.rows["ts_ns"][at]) // _FACT_TICK_NS) for at, fact in _facts(batch)]
        self._since.append(np.array(facts, np.uint64))


def _keys(rows: NDArray[np.void], kind: NDArray[np.uint64], tick: int) -> _Keys:
    """One number for each event. tick: by how many ticks its time is another, where that counts."""
    ticks = rows["ts_ns"].astype(np.int64) // _TICK_NS + tick
    ticks[of_kind(rows, *_ONCE)] = 0
    keys = _mixed(identity(rows["tgid"], rows["start_ns"]))
    keys = _mixed(keys ^ (rows["tid"].astype(np.uint64) << np.uint64(8)) ^ kind)
    return _mixed(keys ^ ticks.astype(np.uint64))


def _mixed(keys: _Keys) -> _Keys:
    """Spread over all bits: the finalizer of splitmix64."""
    keys = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ keys >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return keys ^ keys >> np.uint64(31)


def _facts(batch: Batch) -> list[tuple[int, LifeFact | SessionFact]]:
    about = np.flatnonzero(of_kind(batch.rows, *CONTAINER_KINDS)).tolist()
    return [(at, fact_of(batch, at)) for at in about]


def _of_fact(fact: LifeFact | SessionFact, tick: int) -> int:
    """One number for what happened to a container, or in it. A session has a first process, which tells it."""
    container = fact.container.id if fact.container else ""
    when = str((fact.pids, fact.since_ns) if isinstance(fact, SessionFact) else tick)
    said = "\0".join((fact.action, container, when)).encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "little")
