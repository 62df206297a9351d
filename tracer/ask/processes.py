"""The table `processes`, made a part at a time: of a part all rows of its processes are there, and are forgotten then.

So memory grows with the processes that live at the same time, not with the recording. Which row is the last one of its
process is found by a reading of its own, ahead of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.ask.database import connect
from tracer.ask.relations import ORDER, START, Relation
from tracer.ask.rows import TIME, Rows, Sources
from tracer.recording.columns import values_of
from tracer.stream.batch import Batch
from tracer.stream.distinct import distinct
from tracer.stream.schema import Kind

if TYPE_CHECKING:
    import duckdb

_PART_ROWS = 1 << 16
_NEVER_NS = -(1 << 63)


class Processes:
    """The processes of recordings, with these columns."""

    def __init__(self, sources: Sources, relation: Relation, columns: Collection[str]) -> None:
        self._sources, self._kinds = sources, relation.kinds
        self._query = relation.query(columns)
        self._needs = relation.needs(columns) | {ORDER}

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        return connect()

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, with their types."""
        return self._made(Rows(self._sources, self._kinds, self._needs).schema.empty_table(), _Losses()).schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        losses, reading = _Losses(), Rows(self._sources, self._kinds, self._needs)
        reading.on_batch = losses.note
        held: list[pa.RecordBatch] = []
        count, most = 0, _PART_ROWS
        ends: _Ends | None = None
        for batch in reading:
            held.append(batch)
            count += len(batch)
            if count < most or reading.is_stream:  # which has no other reading
                continue
            ends = ends or _Ends(Rows(self._sources, self._kinds, {"pid", START, ORDER}))
            rows = ends.known(pa.Table.from_batches(held))
            has_ended = ends.have_ended(rows)
            yield from self._made(rows.filter(pa.array(has_ended)), ends.losses).to_batches()
            held = rows.filter(pa.array(~has_ended)).to_batches()
            count = sum(map(len, held))
            most = max(_PART_ROWS, 2 * count)
        if held:
            rows = pa.Table.from_batches(held)
            yield from self._made(ends.known(rows) if ends else rows, ends.losses if ends else losses).to_batches()

    def _made(self, rows: pa.Table, losses: _Losses) -> pa.Table:
        """The processes that these rows are about."""
        self._database.register("rows", rows)
        self._database.register("loss", pa.table({"until": pa.array([losses.until_ns], TIME)}))
        return self._database.sql(self._query).to_arrow_table()


class _Losses:
    """What was lost, and not looked for since."""

    def __init__(self) -> None:
        self._of_run: dict[int, tuple[int, int]] = {}

    def note(self, batch: Batch, run: int, offset_ns: int) -> None:
        """The next batch of a run. offset_ns: wall clock minus boottime."""
        if batch.has(Kind.GAP, Kind.REPAIR):
            lost_ns, looked_ns = self._of_run.get(run, (_NEVER_NS, _NEVER_NS))
            gaps, repairs = (batch.rows[batch.rows["kind"] == kind] for kind in (Kind.GAP, Kind.REPAIR))
            lost_ns = max([lost_ns, *(gaps["ts_ns"].astype(np.int64) + offset_ns).tolist()])
            looked_ns = max([looked_ns, *(repairs["start_ns"].astype(np.int64) + offset_ns).tolist()])
            self._of_run[run] = lost_ns, looked_ns

    @property
    def until_ns(self) -> int | None:
        """Until when events were lost of which no repair has looked for, by the wall clock; None: there are none."""
        return max((lost_ns for lost_ns, looked_ns in self._of_run.values() if lost_ns > looked_ns), default=None)


class _Ends:
    """Which rows are the last ones of their processes, found by a reading of `rows`: their processes and places."""

    def __init__(self, rows: Rows) -> None:
        self.losses = _Losses()
        rows.on_batch = self.losses.note
        parts = [_lasts(*_columns(batch)) for batch in rows]
        pid, start, place = (np.concatenate(column) for column in zip(*parts, strict=True))
        parts.clear()
        self._is_last = np.zeros(place.max() + 1, bool)
        self._is_last[_lasts(pid, start, place)[2]] = True

    def known(self, rows: pa.Table) -> pa.Table:
        """The rows that there were when that was found: a recording may be growing."""
        return rows.filter(pa.array(_columns(rows)[2] < len(self._is_last)))

    def have_ended(self, rows: pa.Table) -> NDArray[np.bool_]:
        """For each row whether the last one of its process is among them, shape (n,)."""
        pid, start, place = _columns(rows)
        of_row = distinct(pid, start).of_row
        has_ended = np.zeros(len(rows), bool)
        has_ended[of_row[self._is_last[place]]] = True
        found: NDArray[np.bool_] = has_ended[of_row]
        return found


_Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def _columns(rows: pa.Table | pa.RecordBatch) -> _Columns:
    """Host PIDs, beginnings and places."""
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    pid, start, place = (np.concatenate([*map(values_of, table[name].chunks)]) for name in ("pid", START, ORDER))
    return pid, start, place


def _lasts(pid: NDArray[Any], start: NDArray[Any], place: NDArray[Any]) -> _Columns:
    """Of the rows of each process the last one. place: rises, of each process."""
    order = np.lexsort((start, pid))
    pid, start = pid[order], start[order]
    is_last = np.append((pid[1:] != pid[:-1]) | (start[1:] != start[:-1]), True)
    return pid[is_last], start[is_last], place[order[is_last]]
