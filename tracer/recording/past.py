"""A recording -> what it can answer: its history, and from when to when it has all processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tracer.errors import NstraceError
from tracer.past.archive import Past
from tracer.past.history import History
from tracer.recording.filtered import check_complete
from tracer.recording.index import Index
from tracer.recording.keys import host_keys
from tracer.recording.reader import Recording
from tracer.recording.row_filter import RowFilter, RowsOf
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch, of_kind, without_args
from tracer.stream.repair import identities, identity
from tracer.stream.schema import CONTAINER_KINDS, Kind
from tracer.stream.table import ECHO_NS

MAX_BYTES = 1 << 25
"""Of rows about the numbers that are asked for, and of those that say whose they are."""


class TooMuch(NstraceError):
    """More rows are about the numbers that are asked for than are kept at once."""


def read_past(source: RecordedSource, about: RowFilter | None = None, max_bytes: int | None = None) -> Past:
    """Everything that the source holds. about: leaves out rows that are not needed, before they are decoded. Raises
    TooMuch where more than max_bytes (MAX_BYTES) are needed then."""
    check_complete([source])
    for recording in source.recordings:
        recording.sieve = about
    kept = Kept(source.name, about, MAX_BYTES if max_bytes is None else max_bytes)
    for part in source.batches(lambda: 0.0):
        kept.add(part)
    if about and not source.is_stream:
        for part in _births(source, _unborn(Batch.concat(kept.parts).rows, about.parents)):
            kept.add(part)
    batch = Batch.concat(kept.parts)
    first, last = source.recordings[0], source.recordings[-1]
    history = History(batch, _begin_ns(first, batch), last.last_ns)
    return Past(history, source.attribution, source.wall_offset_ns)


class Kept:
    """The rows that are needed for a history, bounded where it is about some numbers. name: of the recording."""

    def __init__(self, name: str, about: RowFilter | None, max_bytes: int) -> None:
        self.parts: list[Batch] = []
        self._name, self._about, self._bytes, self._max_bytes = name, about, 0, max_bytes

    def add(self, part: Batch) -> None:
        """Keep what is needed of the next rows. Raises TooMuch."""
        if self._about:
            part = _lean(part, self._about)
        self.parts.append(part)
        self._bytes += part.rows.nbytes + len(part.heap)
        if self._about and self._bytes > self._max_bytes:
            raise TooMuch(
                f"{self._name} has more than {self._max_bytes >> 20} MB about these numbers",
                "ask for fewer at once, or a part of a rotated recording; nstrace export --to parquet has all",
            )


def _lean(part: Batch, about: RowFilter) -> Batch:
    """Without what no answer needs: the arguments of processes that nobody asks for, and all but the first and the last
    of a process's threads, which show how long it lived at the least."""
    rows = part.rows
    asked = about.has_number(rows)
    is_thread = of_kind(rows, Kind.THREAD_FORK, Kind.THREAD_EXIT)
    if is_thread.any():
        keep = ~is_thread
        threads = np.flatnonzero(is_thread)
        ids = identities(rows[threads])
        for order in (slice(None), slice(None, None, -1)):
            keep[threads[order][np.unique(ids[order], return_index=True)[1]]] = True
        part, asked = part.select(keep), asked[keep]
    return without_args(part, ~asked & ~of_kind(part.rows, *CONTAINER_KINDS))


def _begin_ns(first: Recording, batch: Batch) -> int:
    """The time from which all processes were reported. Probes are attached before a recording begins, and the snapshot
    is read later: a process in between is in it, or has an exit event. A later part begins with a snapshot."""
    began_ns = first.facts.began_ns - first.facts.wall_offset_ns
    if first.facts.part == 1 and began_ns <= first.last_ns:
        return began_ns
    return int(batch.rows["ts_ns"].min()) if len(batch) else first.last_ns


def _unborn(rows: NDArray[np.void], parents: NDArray[np.int64]) -> NDArray[np.void]:
    """Of these host PIDs the parents in the rows about which there is no row, as (tgid, start_ns)."""
    named = rows[["parent_tgid", "parent_start_ns"]][np.isin(rows["parent_tgid"], parents)]
    named = np.unique(named.astype([("tgid", "<u4"), ("start_ns", "<u8")]))
    return named[~np.isin(identity(named["tgid"], named["start_ns"]), identities(rows))]


def _births(source: RecordedSource, unborn: NDArray[np.void]) -> Iterator[Batch]:
    """The rows that report how these processes began, from the batches of that time."""
    starts, ids = unborn["start_ns"].astype(np.int64), identity(unborn["tgid"], unborn["start_ns"])

    def is_wanted(index: Index) -> bool:
        meets = (starts <= index.last_ns) & (starts + ECHO_NS >= index.first_ns)
        keys = index.keys() if meets.any() else None
        return bool(meets.any()) if keys is None else bool(keys.may_have(host_keys(unborn["tgid"][meets])).any())

    for recording in source.recordings if len(unborn) else ():
        first_ns, last_ns = recording.range_ns()
        if first_ns is None or not ((starts <= last_ns) & (starts + ECHO_NS >= first_ns)).any():
            continue
        again = recording.again()
        again.sieve = RowsOf(unborn["tgid"].tolist(), "fork")
        for part in again.parts(is_wanted):
            if part.batch is not None:
                yield part.batch.select(np.isin(identities(part.batch.rows), ids))
