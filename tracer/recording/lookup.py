"""Which batches of a recording tell of some numbers as of some time: found from that time on, backwards and forwards.

Each number is a key (`tracer.recording.keys`) with a time of its own, from `begins` to `ends`. Backwards until who had
the number then is found, and to where that process began; forwards to where it ended. Batches that cannot have the key,
by their metadata, are not read, and of others the columns that name processes alone. What this rests on: a number is
given to another process only after the one that had it has ended, and no row of a process is older than its start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.columns import values_of
from tracer.recording.index import Index
from tracer.recording.keys import KeyArray, host_keys, keys_in
from tracer.recording.reader import Recording
from tracer.recording.schema import SCHEMA

NEVER_NS = (1 << 63) - 1
_NOBODY = -1
_NEEDS = pa.schema([SCHEMA.field(name) for name in (
    "event", "time", "start_ns", "ppid", "parent_start_ns", "pids", "pidns_chain"
)])  # fmt: skip
_Times = NDArray[np.int64]


class Batches:
    """Batches of some recordings, by their number: what `RecordedSource.choice` reads."""

    def __init__(self) -> None:
        self._of: defaultdict[str, set[int]] = defaultdict(set)

    def add(self, recording: Recording, index: Index) -> None:
        """Add one."""
        self._of[recording.name].add(index.first_row)

    def has_any(self, recording: Recording) -> bool:
        """As `Choice.has_any`."""
        return recording.name in self._of

    def has(self, recording: Recording, index: Index) -> bool:
        """As `Choice.has`."""
        return index.first_row in self._of.get(recording.name, ())


class Asked(NamedTuple):
    """Numbers and their times, boottime, all of shape (n,): keys, sorted and distinct; from when to when."""

    keys: KeyArray
    begins: _Times
    ends: _Times


def asked_in(keys: KeyArray, begin_ns: int, end_ns: int) -> Asked:
    """Numbers of which all are asked about the same time."""
    keys = np.unique(keys)
    return Asked(keys, np.full(len(keys), begin_ns), np.full(len(keys), end_ns))


def batches_about(recordings: Sequence[Recording], asked: Asked, names_next: bool) -> Batches:
    """The batches that tell of these numbers then, and of the parents of the processes that had them. names_next: where
    nobody had one at its end, also who had it next. recordings: the files of one run, no streams."""
    found = Batches()
    search = _Search(recordings, asked, names_next, found)
    search.run()
    is_lossy = any(recording.whole is None or recording.whole.lost for recording in recordings)
    until_ns = NEVER_NS if is_lossy else int(asked.ends.max())  # who is seen later has lived at a loss before that
    search.of_parents(until_ns).run()
    return found


class _Hits(NamedTuple):
    """Rows about the numbers that are asked, each of shape (m,): which key, whose process, when, whether it ended, and
    its parent."""

    key: NDArray[np.intp]
    start: _Times
    ts: _Times
    is_exit: NDArray[np.bool_]
    ppid: _Times
    parent_start: _Times


class _Search:
    """State by key: who had the number at its beginning (the latest start until then), who at its end and when that
    process ended, and who came next. is_several: which are of several processes that are all asked about."""

    def __init__(
        self, recordings: Sequence[Recording], asked: Asked, names_next: bool, found: Batches, until_ns: int = NEVER_NS
    ) -> None:
        self._recordings, self._asked, self._names_next, self._found = recordings, asked, names_next, found
        self._until_ns = until_ns
        count = len(asked.keys)
        self._holder, self._last, self._exit_of = np.full((3, count), _NOBODY, np.int64)
        self._exit_ns, self._next_exit_of, self._next_exit_ns, self._latest = np.full((4, count), _NOBODY, np.int64)
        self._next, self._is_several = np.full(count, NEVER_NS), np.zeros(count, bool)
        self._read: set[tuple[str, int]] = set()
        self._named: list[NDArray[np.int64]] = []  # parents: PID, start, when they were named; each of shape (3, n)

    def run(self) -> None:
        """Find the batches."""
        ranges = [recording.range_ns() for recording in self._recordings]
        files = [(first, last, at) for at, (first, last) in enumerate(ranges) if first is not None]
        for first_ns, last_ns, at in sorted(files, key=lambda file: -file[1]):
            if self._backwards(first_ns, last_ns).any():
                for index in sorted(self._indices(at), key=lambda index: -index.last_ns):
                    self._look(at, index, self._backwards(index.first_ns, index.last_ns))
        for first_ns, last_ns, at in sorted(files):
            if self._forwards(first_ns, last_ns).any():
                for index in sorted(self._indices(at), key=lambda index: index.first_ns):
                    self._look(at, index, self._forwards(index.first_ns, index.last_ns))

    def _indices(self, at: int) -> list[Index]:
        return self._recordings[at].indices()

    def _backwards(self, first_ns: int, last_ns: int) -> NDArray[np.bool_]:
        """For which keys something in this range may tell who had it at its beginning, or what that process did till
        then."""
        return (self._asked.begins >= first_ns) & (self._holder <= last_ns)

    def _forwards(self, first_ns: int, last_ns: int) -> NDArray[np.bool_]:
        """For which keys something in this range may tell what happened from its beginning on."""
        return (self._asked.begins <= last_ns) & (self._limits() >= first_ns)

    def _limits(self) -> _Times:
        """By key, until when rows are needed."""
        ended = (self._exit_of == self._last) & (self._last != _NOBODY)
        next_known = np.where(self._next_exit_of == self._next, self._next_exit_ns, NEVER_NS)
        next_known = np.where(self._latest > self._next, np.minimum(next_known, self._latest), next_known)
        nobody = next_known if self._names_next else self._asked.ends
        limits = np.where(ended, np.where(self._exit_ns > self._asked.ends, self._exit_ns, nobody), self._next)
        limits = np.where(self._last == _NOBODY, nobody, limits)
        limits = np.where(self._is_several, NEVER_NS, limits)
        return np.minimum(np.maximum(limits, self._asked.ends), self._until_ns)

    def _look(self, at: int, index: Index, which: NDArray[np.bool_]) -> None:
        """Read a batch, if it may be about these keys."""
        recording = self._recordings[at]
        if not which.any() or (recording.name, index.first_row) in self._read:
            return
        keys = index.keys()
        if keys is not None and not keys.may_have(self._asked.keys[which]).any():
            return
        self._read.add((recording.name, index.first_row))
        columns = recording.columns_of(index, _NEEDS)
        if columns is None:  # whoever reads it says what is wrong with it
            self._found.add(recording, index)
            return
        hits = self._hits(columns, recording.facts.wall_offset_ns)
        if len(hits.key):
            self._found.add(recording, index)
            self._named.append(_distinct(np.stack([hits.ppid, hits.parent_start, hits.ts])))
            self._note(hits)

    def _hits(self, columns: pa.RecordBatch, wall_offset_ns: int) -> _Hits:
        event, time, start, ppid, parent_start, pids, spaces = (columns.column(name) for name in _NEEDS.names)
        inums, numbers = values_of(spaces.flatten()), values_of(pids.flatten())
        keys = keys_in(inums.astype(np.uint64), numbers.astype(np.uint32))
        place = np.minimum(np.searchsorted(self._asked.keys, keys), len(self._asked.keys) - 1)
        is_hit = self._asked.keys[place] == keys
        rows = values_of(pc.list_parent_indices(pids))[is_hit]
        is_exit = values_of(pc.equal(event, "exit").cast(pa.int8()))[rows] != 0
        ts = values_of(time)[rows] - wall_offset_ns
        start_ns, parent = values_of(start)[rows], (values_of(ppid)[rows], values_of(parent_start)[rows])
        return _Hits(place[is_hit], start_ns, ts, is_exit, *parent)

    def _note(self, hits: _Hits) -> None:
        """Update the state."""
        key, start = hits.key, hits.start
        is_before, is_until = start <= self._asked.begins[key], start <= self._asked.ends[key]
        np.maximum.at(self._holder, key[is_before], start[is_before])
        np.maximum.at(self._last, key[is_until], start[is_until])
        np.minimum.at(self._next, key[~is_until], start[~is_until])
        np.maximum.at(self._latest, key, start)
        for which, exit_of, exit_ns, of in (
            (is_until, self._exit_of, self._exit_ns, self._last),
            (~is_until, self._next_exit_of, self._next_exit_ns, self._next),
        ):
            ended = which & hits.is_exit & (start == of[key])
            is_new = exit_of[key[ended]] != start[ended]
            exit_ns[key[ended][is_new]], exit_of[key[ended]] = NEVER_NS, start[ended]
            np.minimum.at(exit_ns, key[ended], hits.ts[ended])  # after a loss an end may be told again

    def of_parents(self, until_ns: int) -> _Search:
        """The search for what became of the parents of all processes that were found: from when each is named, until it
        ended, or until_ns."""
        ppid, start, ts = _distinct(np.concatenate([np.empty((3, 0), np.int64), *self._named], axis=1))
        keys = host_keys(ppid.tolist())
        order = np.lexsort((ts, keys))
        order = order[ppid[order] > 0]
        keys, first, of_row = np.unique(keys[order], return_index=True, return_inverse=True)
        times, starts = ts[order][first], start[order][first]
        search = _Search(self._recordings, Asked(keys, times, times), False, self._found, until_ns)
        search._last, search._holder = starts.copy(), np.full(len(keys), NEVER_NS)  # nothing is looked for backwards
        search._is_several[of_row[start[order] != starts[of_row]]] = True
        return search


def _distinct(named: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each parent once, as of the first time that it is named: columns of PID, start and time."""
    named = named[:, np.lexsort(named[::-1])]
    is_first = np.ones(named.shape[1], bool)
    is_first[1:] = (named[:2, 1:] != named[:2, :-1]).any(axis=0)
    return named[:, is_first]
