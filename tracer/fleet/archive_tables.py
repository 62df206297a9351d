"""Messages -> the rows of an archive: events as exports have them, processes, and the messages themselves."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tracer.fleet.envelope import Opened, Origin
from tracer.recording.export_rows import flat
from tracer.recording.schema import FLAT
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.schema import KINDS, METADATA_KINDS, PROCESS_KINDS, Kind, Subject

_TIME = pa.timestamp("ns", "UTC")
_DAY_NS = 86_400_000_000_000
_ORIGIN = [
    pa.field("cluster", pa.string()),
    pa.field("boot", pa.string()),
    pa.field("run", pa.string()),
    pa.field("message", pa.int64()),
]
EVENTS = pa.schema([*FLAT, *_ORIGIN, pa.field("part", pa.int32()), pa.field("row", pa.int64())])
"""Events: the columns of exports; which message of which run of which boot a row was in; and its place in the
recording, which no other row has: run, part, row."""

FIRST, LAST, LEAST, MOST, ANY = "first", "last", "least", "most", "any"
_FATES = {
    **dict.fromkeys(("host", "cluster", "boot", "pid", "ppid", "ns_ppid", "parent_id"), FIRST),
    **dict.fromkeys(("pids", "pidns_chain", "ns_pid", "pidns", "pidns_gen", "level"), LAST),
    **dict.fromkeys(("container", "container_id", "image", "runtime", "pod", "pod_namespace", "incarnation"), LAST),
    **dict.fromkeys(("uid", "comm", "exe", "args", "cgroup_id", "session"), LAST),
    **dict.fromkeys(("exit_code", "signal", "core_dumped", "oom", "killed_by", "duration_ns"), LAST),
}
_TIMES = {"began": LEAST, "ended": MOST, "first_seen": LEAST, "last_seen": MOST}
_SURE = {"began_sure": ANY, "ended_sure": ANY}
PROCESS_RULES = _FATES | _TIMES | _SURE | {"proc_id": FIRST, "run": LAST}
"""How the rows that files have of one process become one, column by column: the first value that there is, the last,
the least, the most; or whether any is true."""
PROCESSES = pa.schema(
    [
        pa.field("proc_id", pa.string()),
        *(field for field in EVENTS if field.name in _FATES),
        *(pa.field(name, _TIME) for name in _TIMES),
        *(pa.field(name, pa.bool_()) for name in _SURE),
        pa.field("run", pa.string()),
    ]
)
"""Processes, those of threads left out: what the events of a file say of each, one row each. Of one process several
files may have rows: `combined` makes them one."""

BATCHES = pa.schema(
    [
        pa.field("host", pa.string()),
        *_ORIGIN,
        *(pa.field(name, pa.int64()) for name in ("part", "first_row", "end_row", "rows", "gaps", "lost")),
        pa.field("first_time", _TIME),
        pa.field("last_time", _TIME),
        pa.field("wall_offset_ns", pa.int64()),
        *(pa.field(name, pa.string()) for name in ("kernel", "machine", "version")),
        pa.field("payload", pa.binary()),
    ]
)
"""The messages that are archived, one row each: what of the recording each had, and the message itself: what the other
tables leave out is in it, so whatever a recording answers can be asked of an archive."""

_OF_THREADS = [kind for kind in Kind if KINDS[kind].subject is Subject.THREAD]
LIVES = tuple(kind for kind in PROCESS_KINDS if kind not in _OF_THREADS and kind not in METADATA_KINDS)
"""Kinds of events that tell of a process."""


class Tables:
    """The rows of some messages of one host and run, in order."""

    def __init__(self) -> None:
        self._events: list[pa.RecordBatch] = []
        self._processes: list[pa.Table] = []
        self._batches: list[dict[str, Any]] = []

    def add(self, payload: bytes, opened: Opened, facts: Sequence[Batch], rows: Sequence[Batch]) -> None:
        """The next message, and its `tracer.fleet.envelope.content`."""
        attribution = Attribution()
        for batch in facts:
            for _part in attribution.split_and_learn(batch):
                pass
        origin, at = opened.origin, opened.origin.first_row
        offset_ns = opened.recording.facts.wall_offset_ns
        events = []
        for batch in rows:
            for part in attribution.split_and_learn(batch):
                shown = ~of_kind(part.rows, *METADATA_KINDS)
                numbers = np.flatnonzero(shown) + at
                at += len(part)
                events.append(_with_origin(flat(part, attribution, offset_ns, origin.host), origin, numbers))
                self._add_lives(part.select(shown), events[-1], offset_ns)
        self._events += events
        self._batches.append(_batch(opened, events) | {"payload": payload})

    def _add_lives(self, rows: Batch, events: pa.RecordBatch, offset_ns: int) -> None:
        """What these events say of processes."""
        where = np.flatnonzero(of_kind(rows.rows, *LIVES))
        if len(where):
            self._processes.append(_lives(rows.rows[where], events.take(pa.array(where)), offset_ns))

    def events(self) -> pa.Table:
        """The events, in order of time, those of one time as they came."""
        table = pa.Table.from_batches(self._events, EVENTS)
        return in_order(table)

    def processes(self) -> pa.Table:
        """The processes, in order of their beginning."""
        return combined(pa.concat_tables(self._processes) if self._processes else PROCESSES.empty_table())

    def batches(self) -> pa.Table:
        """The messages."""
        return pa.Table.from_pylist(self._batches, BATCHES)


def in_order(events: pa.Table) -> pa.Table:
    """Events in order of time, and of their places in the recording."""
    return events.take(pc.sort_indices(events, [(name, "ascending") for name in ("time", "message", "row")]))


def _with_origin(events: pa.RecordBatch, origin: Origin, numbers: NDArray[np.int64]) -> pa.RecordBatch:
    count = len(events)
    words = {"cluster": origin.cluster, "boot": origin.boot, "run": origin.run}
    arrays = [pa.repeat(pa.scalar(text, pa.string()), count) for text in words.values()]
    arrays += [pa.array(np.full(count, origin.sequence)), pa.array(np.full(count, origin.part, np.int32))]
    return pa.RecordBatch.from_arrays([*events.columns, *arrays, pa.array(numbers)], schema=EVENTS)


def _batch(opened: Opened, events: Sequence[pa.RecordBatch]) -> dict[str, Any]:
    origin, said = opened.origin, opened.recording.metadata
    times = [events_of["time"] for events_of in events if len(events_of)]
    lost = [sum(part["lost"].drop_null().to_pylist()) for part in events]
    gaps = [len(part["lost"]) - part["lost"].null_count for part in events]
    return {
        **{"host": origin.host, "cluster": origin.cluster, "boot": origin.boot, "run": origin.run},
        **{"message": origin.sequence, "part": origin.part, "first_row": origin.first_row, "end_row": origin.end_row},
        **{"rows": sum(map(len, events)), "gaps": sum(gaps), "lost": sum(lost)},
        "first_time": min((pc.min(part) for part in times), key=lambda value: value.value, default=None),
        "last_time": max((pc.max(part) for part in times), key=lambda value: value.value, default=None),
        "wall_offset_ns": opened.recording.facts.wall_offset_ns,
        **{name: said.get(name, "") for name in ("kernel", "machine")},
        "version": said.get("nstrace_version", ""),
    }


def _lives(rows: NDArray[np.void], events: pa.RecordBatch, offset_ns: int) -> pa.Table:
    """For each event a row of PROCESSES about its process."""
    kinds, inferred = rows["kind"], events["inferred"].to_numpy(zero_copy_only=False)
    is_exit = kinds == Kind.EXIT
    began = pa.array(rows["start_ns"].view(np.int64) + offset_ns).cast(_TIME)
    ran = ~of_kind(rows, Kind.EXEC_FAILED)
    made: dict[str, pa.Array] = {
        "proc_id": events["proc_id"],
        "began": began,
        "ended": pc.if_else(pa.array(is_exit), events["time"], pa.scalar(None, _TIME)),
        "first_seen": events["time"],
        "last_seen": events["time"],
        "began_sure": pa.array((kinds == Kind.FORK) & ~inferred),
        "ended_sure": pa.array(is_exit & ~inferred),
        "run": events["run"],
    }
    for name in _FATES:
        column = events[name]
        made[name] = column if name not in ("exe", "args") else column.take(pa.array(np.arange(len(rows)), mask=~ran))
    return pa.Table.from_arrays([made[name] for name in PROCESSES.names], schema=PROCESSES)


def combined(parts: pa.Table) -> pa.Table:
    """Rows of PROCESSES that tell of one process made one: of a boot, for its identity is the kernel's. In order of
    their beginning. parts: rows that tell of one process are in order."""
    if not len(parts):
        return parts
    parts = parts.combine_chunks()
    keys = pc.binary_join_element_wise(parts["host"], parts["boot"], parts["proc_id"], "\n")
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
    count = int(codes.max()) + 1
    columns = {name: _MAKERS[PROCESS_RULES[name]](parts[name], codes, count) for name in PROCESSES.names}
    table = pa.table([columns[name] for name in PROCESSES.names], schema=PROCESSES)
    return table.take(pc.sort_indices(table, [("began", "ascending"), ("proc_id", "ascending")]))


def _last(column: pa.ChunkedArray, codes: NDArray[Any], count: int) -> pa.Array:
    """For each process the last value that there is."""
    at = np.flatnonzero(column.is_valid().to_numpy())
    place = np.full(count, -1)
    place[codes[at]] = at
    return column.take(pa.array(place, mask=place < 0)).combine_chunks()


def _first(column: pa.ChunkedArray, codes: NDArray[Any], count: int) -> pa.Array:
    at = np.flatnonzero(column.is_valid().to_numpy())[::-1]
    place = np.full(count, -1)
    place[codes[at]] = at
    return column.take(pa.array(place, mask=place < 0)).combine_chunks()


def _extreme(column: pa.ChunkedArray, codes: NDArray[Any], count: int, is_most: bool) -> pa.Array:
    at = np.flatnonzero(column.is_valid().to_numpy())
    values = column.cast(pa.int64()).fill_null(0).to_numpy()
    at = at[np.argsort(values[at] if is_most else -values[at], kind="stable")]
    place = np.full(count, -1)
    place[codes[at]] = at
    return column.take(pa.array(place, mask=place < 0)).combine_chunks()


def _any(column: pa.ChunkedArray, codes: NDArray[Any], count: int) -> pa.Array:
    found = np.zeros(count, bool)
    found[codes[column.fill_null(False).to_numpy()]] = True
    return pa.array(found)


_MAKERS: dict[str, Callable[[pa.ChunkedArray, NDArray[Any], int], pa.Array]] = {
    FIRST: _first,
    LAST: _last,
    LEAST: lambda column, codes, count: _extreme(column, codes, count, False),
    MOST: lambda column, codes, count: _extreme(column, codes, count, True),
    ANY: _any,
}


def by_day(table: pa.Table, column: str) -> dict[str, pa.Table]:
    """The rows of each day (UTC) by the time in this column, in their order."""
    if not len(table):
        return {}
    days = table[column].cast(pa.int64()).to_numpy() // _DAY_NS
    order = np.argsort(days, kind="stable")
    cuts = [0, *(np.flatnonzero(np.diff(days[order])) + 1).tolist(), len(days)]
    table = table.take(pa.array(order)) if len(cuts) > 2 else table
    return {
        str(np.datetime64(int(days[order[begin]]), "D")): table.slice(begin, end - begin)
        for begin, end in itertools.pairwise(cuts)
    }


_GROUP_ROWS = 1 << 17
_GROUP_PAYLOADS = 64  # who asks for one message reads those beside it


class ParquetFile:
    """A Parquet file in the making: integers delta-packed, words by dictionary, zstd."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        words = [field.name for field in schema if pa.types.is_string(field.type) and not field.name.endswith("_id")]
        numbers = [field.name for field in schema if _is_number(field.type)]
        self._group_rows = _GROUP_PAYLOADS if "payload" in schema.names else _GROUP_ROWS
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=words,
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
            store_schema=False,
        )

    def write(self, table: pa.Table) -> None:
        """The next rows."""
        self._writer.write_table(table, row_group_size=self._group_rows)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_timestamp(type_))


def parquet(table: pa.Table) -> bytes:
    """The rows as a Parquet file."""
    data = io.BytesIO()
    file = ParquetFile(data, table.schema)
    file.write(table)
    file.close()
    return data.getvalue()
