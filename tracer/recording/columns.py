"""Batch -> Arrow columns -> Batch, column by column. Nothing that a view shows is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.limits import MAX_CHAIN, MAX_HEAP_BYTES, MAX_ROW_BYTES
from tracer.recording.schema import FLAGS, NUMBERS, SCHEMA
from tracer.stream.batch import EVENT, NUMBER, Batch
from tracer.stream.distinct import distinct
from tracer.stream.known import Known
from tracer.stream.schema import INLINE_LEVELS, Column, Kind
from tracer.system.host_pidns import INITIAL_PIDNS_INUM

_NAMES = pa.array([Kind(kind).name.lower() if kind in list(Kind) else None for kind in range(max(Kind) + 1)])
_LETTERS = pa.array([None, *map(chr, range(1, 128))])
_LISTS = ("pids", "pidns_chain", "pidns_gens")
_SCALARS = ("ns_pid", "pidns", "pidns_gen")


class InvalidColumns(Exception):
    """A batch of a recording that holds what no version of nstrace writes."""


def to_arrow(batch: Batch, wall_offset_ns: int) -> pa.RecordBatch:
    """The batch as a record batch of SCHEMA. wall_offset_ns: wall clock minus boottime."""
    rows, known = batch.rows, Known(batch.rows)
    deep, killer, exe, args = _parts(batch)
    columns: dict[str, pa.Array] = {
        "time": _numbers(rows["ts_ns"].view(np.int64) + wall_offset_ns, SCHEMA.field("time").type),
        "event": _NAMES.take(pa.array(rows["kind"])),
        "comm": _null_unless(known("comm"), _comm(rows)),
        "exe": _null_unless(known("exe"), exe),
        "args": _null_unless(known("args"), _taken(~known("fact"), args)),
        "fact": _taken(known("fact"), args),
        "killed_by": _null_unless(known("killed_by"), killer),
        "state": _state(rows, known("state")),
    }
    for column in NUMBERS:
        columns[column.name] = _column(rows, column, known(column.name))
    for flag in FLAGS:
        is_set = rows["flags"] & flag.flag != 0 if batch.may_have(flag.flag) else np.zeros(len(batch), bool)
        columns[flag.name] = pa.Array.from_buffers(pa.bool_(), len(batch), [None, _bits(is_set)])
    columns |= _chains(rows, deep, known)
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _column(rows: NDArray[np.void], column: Column, valid: NDArray[np.bool_]) -> pa.Array:
    type_ = SCHEMA.field(column.name).type
    if not valid.any():
        return pa.nulls(len(rows), type_)
    values = rows[column.field]
    values = np.where(valid, values, 0) if column.field == "seq" else values
    return _numbers(_signed(values, type_), type_, valid)


def _state(rows: NDArray[np.void], valid: NDArray[np.bool_]) -> pa.Array:
    if not valid.any():
        return pa.nulls(len(rows), pa.string())
    return _LETTERS.take(pa.array(np.where(valid, rows["state"] & 0x7F, 0)))


def _signed(values: NDArray[Any], type_: pa.DataType) -> NDArray[Any]:
    """The same bits where the width is the same, the same number where it grows."""
    return values.astype(f"u{type_.bit_width // 8}").view(f"i{type_.bit_width // 8}")


def _numbers(values: NDArray[Any], type_: pa.DataType, valid: NDArray[np.bool_] | None = None) -> pa.Array:
    bitmap = None if valid is None else _bitmap(valid)
    return pa.Array.from_buffers(type_, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def _binary(lengths: NDArray[Any], data: Any) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _parts(batch: Batch) -> tuple[NDArray[np.void], pa.Array, pa.Array, pa.Array]:
    """The parts of the heap: numbers of deep chains, in one array; killers; file names; arguments."""
    rows = batch.rows
    lengths = [rows["deep_len"] - rows["killer_len"], rows["killer_len"], rows["exe_len"], rows["args_len"]]
    parts = [_binary(np.zeros(len(batch), np.int32), b"")] * len(lengths)
    there = [part for part, each in enumerate(lengths) if each.any()]  # mostly neither deep chains nor killers
    if there:
        cells = _binary(np.stack([lengths[part] for part in there], axis=1).reshape(-1), batch.heap)
        for at, part in enumerate(there):
            parts[part] = cells.take(pa.array(np.arange(at, len(cells), len(there))))
    deep, *texts = parts
    return np.frombuffer(_data(deep), NUMBER), *texts


def _null_unless(valid: NDArray[np.bool_], array: pa.Array) -> pa.Array:
    """The bytes where they are valid, else null."""
    _, offsets, data = array.buffers()
    return pa.Array.from_buffers(array.type, len(array), [_bitmap(valid), offsets, data])


def _taken(mask: NDArray[np.bool_], array: pa.Array) -> pa.Array:
    """The values where the mask is true, without the bytes of the others."""
    if mask.all():
        return array
    if not mask.any():
        return pa.nulls(len(array), array.type)
    return pc.if_else(pa.array(mask), array, pa.scalar(None, array.type))


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _bitmap(valid: NDArray[np.bool_]) -> pa.Buffer | None:
    return None if valid.all() else _bits(valid)


def _comm(rows: NDArray[np.void]) -> pa.Array:
    comm = np.ascontiguousarray(rows["comm"])
    halves = comm.view(np.uint64).reshape(-1, 2)
    first, of_row = distinct(halves[:, 0], halves[:, 1])
    return pa.array(comm[first].tolist(), pa.binary()).take(pa.array(of_row))


class _Places:
    """Where the numbers of all rows are in one list, host first. counts: how many each row has, shape (n,).

    offsets: where each row's begin, and where the last ends. hosts: rows whose first number is the host's, which no
    event has among the others. inline: for each of the innermost levels the rows that have such a number, and where.
    deep: where the others are, rows in order, from the inside out; deep_counts: how many each row has.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.offsets = np.zeros(len(counts) + 1, np.int32)
        np.cumsum(counts, out=self.offsets[1:])
        self.hosts = np.flatnonzero(counts > 1)
        own, innermost = np.minimum(counts, np.maximum(counts - 1, 1)), self.offsets[1:] - 1
        levels = min(INLINE_LEVELS, int(own.max(initial=0)))
        rows_of_level = (np.flatnonzero(own > level) for level in range(levels))
        self.inline = [(rows, innermost[rows] - level) for level, rows in enumerate(rows_of_level)]
        self.deep_counts = np.maximum(own - INLINE_LEVELS, 0)
        self.deep = np.empty(0, np.intp)
        if levels < INLINE_LEVELS:
            return
        begins = np.cumsum(self.deep_counts) - self.deep_counts
        nth = np.arange(self.deep_counts.sum()) - np.repeat(begins, self.deep_counts)
        self.deep = np.repeat(innermost, self.deep_counts) - INLINE_LEVELS - nth


def _chains(rows: NDArray[np.void], deep: NDArray[np.void], known: Known) -> dict[str, pa.Array]:
    """The columns of all numbers, host first, and of the innermost number."""
    places = _Places(np.where(known("pids"), rows["level"] + np.int64(1), 0))
    offsets = pa.array(places.offsets)
    host = {"nr": rows["tgid"][places.hosts], "inum": INITIAL_PIDNS_INUM, "gen": 0}
    result = {}
    for name, scalar, field in zip(_LISTS, _SCALARS, ("nr", "inum", "gen"), strict=True):
        numbers = rows["chain"][field]
        values = np.empty(places.offsets[-1], numbers.dtype)
        for level, (at, where) in enumerate(places.inline):
            values[where] = numbers[:, level] if len(at) == len(rows) else numbers[at, level]
        values[places.deep] = deep[field]
        values[places.offsets[places.hosts]] = host[field]
        type_ = SCHEMA.field(name).type
        of_all = _numbers(_signed(values, type_.value_type), type_.value_type)
        result[name] = pa.ListArray.from_arrays(offsets, of_all, type=type_)
        result[scalar] = _numbers(_signed(numbers[:, 0], type_.value_type), type_.value_type, known(scalar))
    return result


def from_arrow(columns: pa.RecordBatch, wall_offset_ns: int) -> Batch:
    """The batch that `to_arrow` received, as far as views show it. Missing columns count as null.

    columns must be valid Arrow (RecordBatch.validate(full=True)). Raises InvalidColumns.
    """
    present = {name: columns.column(name) for name in SCHEMA.names if name in columns.schema.names}
    for name in SCHEMA.names:
        if name not in present:
            present[name] = pa.nulls(len(columns), SCHEMA.field(name).type)
        if present[name].type != SCHEMA.field(name).type:
            raise InvalidColumns(f"column {name} is {present[name].type}, not {SCHEMA.field(name).type}")
    if not len(columns):  # Arrow does not validate offsets of an empty array, yet aborts where they are wrong
        return Batch.concat([])
    rows = np.zeros(len(columns), EVENT)
    rows["ts_ns"] = (values_of(present["time"]) - wall_offset_ns).view(np.uint64)
    rows["kind"] = values_of(pc.index_in(present["event"], value_set=_NAMES, skip_nulls=True))
    rows["state"] = values_of(pc.index_in(present["state"], value_set=_LETTERS, skip_nulls=True))
    for column in NUMBERS:
        values = _unsigned(present[column.name], EVENT[column.field], column.absent)
        rows[column.field] |= values  # seq belongs to several columns, for different kinds
    for flag in FLAGS:
        is_set = values_of(present[flag.name].cast(pa.int8())) != 0
        rows["flags"] |= np.where(is_set, np.uint8(flag.flag), np.uint8(0))
    rows["comm"] = _fixed(present["comm"], EVENT["comm"].itemsize)
    for name, field in (("pidns", "inum"), ("pidns_gen", "gen")):  # a gap has no more of a chain
        rows["chain"][field][:, 0] = _unsigned(present[name], NUMBER[field])
    deep = _fill_chains(rows, [present[name] for name in _LISTS])
    args = pc.coalesce(present["args"], present["fact"])
    batch = _with_heap(rows, deep, present["killed_by"], present["exe"], args)
    known = batch.rows["kind"] != 0
    return batch if known.all() else batch.select(known)


def values_of(array: pa.Array, unknown: int = 0) -> NDArray[Any]:
    """A column of integers or times. unknown: for null. (to_numpy() would import pandas where it is installed.)"""
    if array.null_count:
        array = pc.fill_null(array, pa.scalar(unknown, array.type))
    width = array.type.bit_width // 8
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), f"i{width}")
    return np.frombuffer(data, f"i{width}", len(array), array.offset * width)


def _unsigned(array: pa.Array, dtype: np.dtype[Any], unknown: int = 0) -> NDArray[Any]:
    values = values_of(array, unknown)
    if (
        values.itemsize > dtype.itemsize
        and len(values)
        and (values.min() < 0 or values.max() >= 1 << dtype.itemsize * 8)
    ):
        raise InvalidColumns(f"a number that does not fit into {dtype.itemsize * 8} bits")
    return values.astype(dtype)


def offsets_of(array: pa.Array) -> NDArray[np.int32]:
    """The offsets at which the cells of a binary or list array begin and end, shape (n + 1,)."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)


def _data(array: pa.Array) -> memoryview:
    """The bytes of a binary array's cells, one after the other."""
    offsets = offsets_of(array)
    data = array.buffers()[2]
    return memoryview(data)[offsets[0] : offsets[-1]] if data is not None else memoryview(b"")


def _fixed(array: pa.Array, size: int) -> NDArray[np.bytes_]:
    array = array.fill_null(b"")
    lengths = np.diff(offsets_of(array))
    if len(lengths) and lengths.max() > size:
        raise InvalidColumns(f"a name of more than {size} bytes")
    cells = np.zeros((len(array), size), np.uint8)
    cells[np.arange(size) < lengths[:, None]] = np.frombuffer(_data(array), np.uint8)
    return cells.view(f"S{size}").reshape(-1)


def _fill_chains(rows: NDArray[np.void], lists: Iterable[pa.ListArray]) -> NDArray[np.void]:
    """Set level, chain and deep_len. Returns the numbers that come after the inline ones, rows in order."""
    pids, spaces, gens = (pc.fill_null(array, []) if array.null_count else array for array in lists)
    counts = np.diff(offsets_of(pids)).astype(np.int64)
    for other in (spaces, gens):
        if not np.array_equal(np.diff(offsets_of(other)), counts):
            raise InvalidColumns("lists of different lengths in one row")
    if len(counts) and counts.max() > MAX_CHAIN:
        raise InvalidColumns(f"a process with more than {MAX_CHAIN} PIDs")
    places = _Places(counts)
    deep = np.zeros(len(places.deep), NUMBER)
    for field, array in (("nr", pids), ("inum", spaces), ("gen", gens)):
        numbers = _unsigned(array.flatten(), NUMBER[field])
        for level, (at, where) in enumerate(places.inline):
            rows["chain"][field][at, level] = numbers[where]
        deep[field] = numbers[places.deep]
    rows["level"] = np.maximum(counts - 1, 0)
    rows["deep_len"] = places.deep_counts * NUMBER.itemsize
    return deep


def _with_heap(rows: NDArray[np.void], deep: NDArray[np.void], *texts: pa.Array) -> Batch:
    """texts: killers, file names and arguments; null: there is none."""
    count, texts = len(rows), tuple(text.fill_null(b"") for text in texts)
    if deep.nbytes + sum(len(_data(text)) for text in texts) > MAX_HEAP_BYTES + MAX_ROW_BYTES:
        raise InvalidColumns("more text than nstrace writes into a batch")
    cells = pa.concat_arrays([_binary(rows["deep_len"], deep), *texts])
    lengths = np.diff(offsets_of(cells)).reshape(4, count)
    rows["killer_len"], rows["exe_len"], rows["args_len"] = lengths[1:]
    rows["deep_len"] += rows["killer_len"]
    if not len(_data(cells)):
        return Batch(rows)
    order = np.arange(4 * count).reshape(4, count).T.reshape(-1)
    return Batch(rows, bytes(_data(cells.take(pa.array(order)))))
