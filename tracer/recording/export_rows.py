"""Batch -> one flat table with everything in it, containers too, under the names of the JSON: what is exported.

Text is valid UTF-8 here: other bytes become \\xNN, as in the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.columns import offsets_of, to_arrow
from tracer.recording.schema import FLAT
from tracer.stream.attribution import Attribution, fact_of
from tracer.stream.batch import Batch, of_kind
from tracer.stream.killers import is_oom, killer_in, killer_object
from tracer.stream.known import Known
from tracer.stream.metadata import Container
from tracer.stream.schema import CONTAINER_KINDS, METADATA_KINDS, Kind, Output, columns_in
from tracer.text.escape import decode
from tracer.text.exec_errors import error_name
from tracer.text.wait_status import ending
from tracer.views.facts import members

_SAID = tuple(
    column.name
    for column in columns_in(Output.EXPORT)
    if column.rule
    and column.rule.reported & set(CONTAINER_KINDS)
    and not (column.field or Kind.GAP in column.rule.reported)
)
"""The columns that the fact of a row about a container fills."""

ENDING = ("error", "exit_code", "signal", "core_dumped")
"""The columns that a status stands for."""


def flat(batch: Batch, containers: Attribution, wall_offset_ns: int, host: str) -> pa.RecordBatch:
    """The rows of a part (`Attribution.split_and_learn`) but for metadata, as columns of FLAT. Null: unknown."""
    batch = batch.select(~of_kind(batch.rows, *METADATA_KINDS))
    rows, known = batch.rows, Known(batch.rows)
    plain = to_arrow(batch, wall_offset_ns)
    columns = {name: plain[name] for name in plain.schema.names if name in FLAT.names}
    columns |= _containers(batch, containers, known) | _killers(batch, known)
    endings = _Endings(rows, known)
    columns |= {name: endings.column(name) for name in ENDING}
    since_ns = rows["start_ns"].view(np.int64) + wall_offset_ns
    columns |= {
        "host": pa.array([host]).take(pa.array(np.zeros(len(batch), np.int8))),
        "ts_ns": pa.array(rows["ts_ns"].view(np.int64)),
        "proc_id": _identity(plain["pid"], plain["start_ns"]),
        "parent_id": _where(known("parent_id"), _identity(plain["ppid"], plain["parent_start_ns"])),
        "comm": text(plain["comm"]),
        "exe": text(plain["exe"]),
        "args": split(plain["args"]),
        "duration_ns": _where(known("status"), pa.array((rows["ts_ns"] - rows["start_ns"]).view(np.int64))),
        "since": _where(known("since"), pa.array(since_ns).cast(FLAT.field("since").type)),
    }
    is_about = pa.array(of_kind(rows, *CONTAINER_KINDS))
    for name, said in _facts(batch).items():
        columns[name] = pc.if_else(is_about, said, columns[name]) if name in columns else said
    columns |= {
        name: _where(known(name), columns[name]) for name in ("pids", "pidns_chain", "args_truncated", "throttled")
    }
    return pa.RecordBatch.from_arrays([columns[name].cast(FLAT.field(name).type) for name in FLAT.names], schema=FLAT)


def _where(mask: NDArray[np.bool_], array: pa.Array) -> pa.Array:
    """The array's values where mask is true, else null."""
    return array if mask.all() else pc.if_else(pa.array(mask), array, pa.scalar(None, array.type))


def _identity(pid: pa.Array, start_ns: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pid.cast(pa.string()), start_ns.cast(pa.string()), "-")


def _containers(batch: Batch, attribution: Attribution, known: Known) -> dict[str, pa.Array]:
    found, of_row = _containers_of_rows(batch, attribution)
    parts: dict[str, Callable[[Any], Any]] = {
        "container": lambda container: container.name or container.short_id,
        "container_id": lambda container: container.id,
        "image": lambda container: container.image,
        "runtime": lambda container: container.runtime,
        "pod_uid": lambda container: container.pod and container.pod.uid,
        "pod": lambda container: container.pod and container.pod.name,
        "pod_namespace": lambda container: container.pod and container.pod.namespace,
        "task": lambda container: container.task,
        "incarnation": lambda container: container.incarnation or None,
    }
    return {
        name: _where(known(name), pa.array([part(c) if c else None for c in found], FLAT.field(name).type).take(of_row))
        for name, part in parts.items()
    }


def _containers_of_rows(batch: Batch, attribution: Attribution) -> tuple[list[Container | None], pa.Array]:
    """The containers, and the index of each row's."""
    about, of_row = of_kind(batch.rows, *CONTAINER_KINDS), batch.pairs.of_row.copy()
    of_row[about] = len(batch.pairs.keys) + np.arange(about.sum())  # each says itself
    first, of_row = np.unique(of_row, return_index=True)[1], np.unique(of_row, return_inverse=True)[1]
    return [attribution.of_row(batch, at) for at in first.tolist()], pa.array(of_row)


def _facts(batch: Batch) -> dict[str, pa.Array]:
    """What rows about containers say, null in all others."""
    about = np.flatnonzero(of_kind(batch.rows, *CONTAINER_KINDS))
    said = [members(fact_of(batch, at)) for at in about.tolist()]
    place, is_other = np.zeros(len(batch), np.int32), np.ones(len(batch), bool)
    place[about], is_other[about] = np.arange(len(about)), False
    index = pa.array(place, mask=is_other)
    cells = {name: [_cell(one.get(name)) for one in said] for name in _SAID}
    return {name: pa.array(values, FLAT.field(name).type).take(index) for name, values in cells.items()}


def _cell(value: Any) -> Any:
    """As a table has it: an object as its JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value


def _killers(batch: Batch, known: Known) -> dict[str, pa.Array]:
    """Who ended the processes, as JSON, and whether memory had run out."""
    at = np.flatnonzero(known("killed_by"))
    killers = [killer_in(batch.payload(index).killer) for index in at.tolist()]
    number, oom = np.zeros((2, len(batch)), np.int32)
    number[at], oom[at] = np.arange(len(at)), list(map(is_oom, killers))
    texts = pa.array([msgspec.json.encode(killer_object(killer)).decode() for killer in killers], pa.string())
    return {
        "killed_by": texts.take(pa.array(number, mask=~known("killed_by"))),
        "oom": pa.array(oom.astype(bool), mask=~known("oom")),
    }


class _Endings:
    """The columns about how a process ended, or an exec failed, each made when it is asked for."""

    def __init__(self, rows: NDArray[np.void], known: Known) -> None:
        statuses, self._of_row = np.unique(rows["status"], return_inverse=True)
        self._statuses, self._known = tuple(statuses.tolist()), known

    def column(self, name: str) -> pa.Array:
        """One of ENDING."""
        is_known = self._known("errno" if name == "error" else "status")
        return _of_statuses(name, self._statuses).take(pa.array(self._of_row, mask=~is_known))


@lru_cache(1024)  # mostly the same few
def _of_statuses(name: str, statuses: tuple[int, ...]) -> pa.Array:
    if name == "error":
        return pa.array(list(map(error_name, statuses)), pa.string())
    return pa.array([getattr(ending(status), name) for status in statuses], FLAT.field(name).type)


def text(array: pa.Array) -> pa.Array:
    """Bytes as text."""
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if raw is None else decode(raw) for raw in array.to_pylist()], pa.string())


def split(array: pa.Array) -> pa.ListArray:
    """Bytes with NUL-ended parts as lists of text; a last part that is not ended counts."""
    is_null, array = array.is_null(), array.fill_null(b"")
    offsets = offsets_of(array).astype(np.int64)
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    offsets -= offsets[0]
    ends = data == 0
    not_empty = np.diff(offsets) > 0
    lasts = offsets[1:][not_empty] - 1
    is_nul = ends.copy()
    ends[lasts] = True
    kept = np.cumsum(~is_nul)
    bounds = np.concatenate([[0], kept[ends]]).astype(np.int32)
    counts = np.concatenate([[0], np.cumsum(ends)])[offsets].astype(np.int32)
    values = pa.Array.from_buffers(
        pa.binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data[~is_nul].tobytes())]
    )
    return pa.ListArray.from_arrays(pa.array(counts), text(values), mask=is_null)


def rows_as_text(batch: pa.RecordBatch, line: Callable[[Sequence[str]], str]) -> pa.RecordBatch:
    """The batch without lists, for formats that have none: numbers as 4711>15, arguments as `line` writes them."""
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_list(field.type):
            join = line if field.name == "args" else lambda numbers: ">".join(map(str, numbers))
            values = column.to_pylist()
            column = pa.array([None if value is None else join(value) for value in values], pa.string())
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
