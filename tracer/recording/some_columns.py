"""Some columns of the flat table (`export_rows`), each made by itself: what a question does not name costs nothing.

A number or flag of the record needs no code here. Where a column is asked for that is made in another way and is not in
_MAKERS, the whole table is made: a new column is right from its first day, and quick when it is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.recording import columns, export_rows
from tracer.recording.schema import FLAT
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.schema import COLUMNS, CONTAINER_KINDS, METADATA_KINDS, RULES, Kind, Output

_PLAIN = {
    column.name: column
    for column in COLUMNS
    if column.outputs & Output.EXPORT and column.outputs & Output.RECORDING and (column.field or column.flag)
}
_CONTAINER = ("container", "container_id", "image", "runtime", "incarnation")
_OF_FACTS = {
    column.name
    for column in COLUMNS
    if column.rule and Kind.CONTAINER in column.rule.reported and column.name not in _CONTAINER
}
_OF_FACTS_ALONE = {name for name in _OF_FACTS if RULES[name].reported <= set(CONTAINER_KINDS)}
_INNERMOST = {"ns_pid": "nr", "pidns": "inum", "pidns_gen": "gen"}


def some(
    batch: Batch, containers: Attribution, wall_offset_ns: int, host: str, names: Collection[str]
) -> pa.RecordBatch:
    """The columns of these names, in the order of FLAT, of the rows that `export_rows.flat` has; with their types."""
    schema = _schema(frozenset(names))
    batch = batch.select(~of_kind(batch.rows, *METADATA_KINDS))
    is_listed = all(name in _MAKERS or name in _PLAIN for name in schema.names)
    if not is_listed or _say_more(batch, names):
        return export_rows.flat(batch, containers, wall_offset_ns, host).select(schema.names)
    rows = _Rows(batch, containers, wall_offset_ns, host)
    return pa.RecordBatch.from_arrays([rows.column(field) for field in schema], schema=schema)


@lru_cache(64)
def _schema(names: frozenset[str]) -> pa.Schema:
    return pa.schema([field for field in FLAT if field.name in names])


def _say_more(batch: Batch, names: Collection[str]) -> bool:
    """Whether a row about a container, of which there are few, may say something in one of these columns."""
    return not _OF_FACTS.isdisjoint(names) and bool(of_kind(batch.rows, *CONTAINER_KINDS).any())


class _Rows:
    """The rows of a batch, column by column; what several columns need is made once."""

    def __init__(self, batch: Batch, containers: Attribution, wall_offset_ns: int, host: str) -> None:
        self.batch, self.rows, self.known = batch, batch.rows, Known(batch.rows)
        self.wall_offset_ns, self.host = wall_offset_ns, host
        self._containers = containers

    def column(self, field: pa.Field) -> pa.Array:
        """One column, of its type in FLAT."""
        array = _MAKERS[field.name](self) if field.name in _MAKERS else self._plain(field)
        return array if array.type == field.type else array.cast(field.type)

    def _plain(self, field: pa.Field) -> pa.Array:
        """A number of the record, or a bit of its flags."""
        column = _PLAIN[field.name]
        if column.flag:
            return self.where(field.name, pa.array((self.rows["flags"] & column.flag) != 0))
        return self.number(field.name, self.rows[column.field])

    def number(self, name: str, values: NDArray[Any]) -> pa.Array:
        """These numbers where the column has a value."""
        type_ = FLAT.field(name).type
        known = self.known(name) if name in RULES else None
        return columns._numbers(columns._signed(values, type_), type_, known)

    def where(self, name: str, array: pa.Array) -> pa.Array:
        """These values where the column has one."""
        return export_rows._where(self.known(name), array) if name in RULES else array

    def time(self, ns: NDArray[Any]) -> pa.Array:
        """Times of CLOCK_BOOTTIME by the wall clock."""
        return columns._numbers(ns.view(np.int64) + self.wall_offset_ns, FLAT.field("time").type)

    def identity(self, tgid: str, start_ns: str) -> pa.Array:
        """Identities of processes, from these members."""
        rows = self.rows
        return export_rows._identity(pa.array(rows[tgid].view(np.int32)), pa.array(rows[start_ns].view(np.int64)))

    def cells(self, name: str) -> pa.Array:
        """The file names or arguments of the heap, where the column has a value."""
        *_others, exe, args = self._heap
        if name == "args":  # what they are of a row about a container is no arguments
            args = columns._taken(~self.known("fact"), args)
        return columns._null_unless(self.known(name), exe if name == "exe" else args)

    def of_container(self, name: str) -> pa.Array:
        """One of the columns about the container."""
        return self._of_containers[name]

    def of_end(self, name: str) -> pa.Array:
        """One of the columns about how it ended."""
        return self._endings.column(name)

    def chain(self, name: str) -> pa.Array:
        """One of the lists of numbers."""
        return self.where(name, self._chains[name])

    @cached_property
    def _heap(self) -> tuple[Any, ...]:
        return columns._parts(self.batch)

    @cached_property
    def _of_containers(self) -> dict[str, pa.Array]:
        return export_rows._containers(self.batch, self._containers, self.known)

    @cached_property
    def _endings(self) -> export_rows._Endings:
        return export_rows._Endings(self.rows, self.known)

    @cached_property
    def _chains(self) -> dict[str, pa.Array]:
        return columns._chains(self.rows, self._heap[0], self.known)


def _lived_ns(rows: _Rows) -> pa.Array:
    lived = (rows.rows["ts_ns"] - rows.rows["start_ns"]).view(np.int64)
    return rows.where("duration_ns", pa.array(lived))


def _innermost(name: str, field: str) -> Callable[[_Rows], pa.Array]:
    return lambda rows: rows.number(name, rows.rows["chain"][field][:, 0])


def _of_container(name: str) -> Callable[[_Rows], pa.Array]:
    return lambda rows: rows.of_container(name)


def _of_end(name: str) -> Callable[[_Rows], pa.Array]:
    return lambda rows: rows.of_end(name)


def _of_killer(name: str) -> Callable[[_Rows], pa.Array]:
    return lambda rows: export_rows._killers(rows.batch, rows.known)[name]


def _nothing(name: str) -> Callable[[_Rows], pa.Array]:
    return lambda rows: pa.nulls(len(rows.rows), FLAT.field(name).type)


_MAKERS: dict[str, Callable[[_Rows], pa.Array]] = {
    "time": lambda rows: rows.time(rows.rows["ts_ns"]),
    "since": lambda rows: rows.where("since", rows.time(rows.rows["start_ns"])),
    "event": lambda rows: columns._NAMES.take(pa.array(rows.rows["kind"])),
    "host": lambda rows: pa.array([rows.host]).take(pa.array(np.zeros(len(rows.rows), np.int8))),
    "comm": lambda rows: export_rows.text(columns._null_unless(rows.known("comm"), columns._comm(rows.rows))),
    "exe": lambda rows: export_rows.text(rows.cells("exe")),
    "args": lambda rows: export_rows.split(rows.cells("args")),
    "proc_id": lambda rows: rows.where("proc_id", rows.identity("tgid", "start_ns")),
    "parent_id": lambda rows: rows.where("parent_id", rows.identity("parent_tgid", "parent_start_ns")),
    "duration_ns": _lived_ns,
    "pids": lambda rows: rows.chain("pids"),
    "pidns_chain": lambda rows: rows.chain("pidns_chain"),
    **{name: _innermost(name, field) for name, field in _INNERMOST.items()},
    **{name: _nothing(name) for name in _OF_FACTS_ALONE},
    **{name: _of_killer(name) for name in ("killed_by", "oom")},
    **{name: _of_container(name) for name in _CONTAINER},
    **{name: _of_end(name) for name in export_rows.ENDING},
}
