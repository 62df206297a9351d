"""A recording's columns: one for each field of EVENT, signed and under the names of the JSON, and what Arrow adds.

Written once here; `columns` moves values both ways. A recording is an Arrow IPC stream of batches with this schema.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from tracer.events import INTERNAL_FLAGS, NO_CPU, Flag, Kind

VERSION = 1
"""Raised when a reader of the version before would misread. New columns and kinds of event do not raise it."""


class Column(NamedTuple):
    """A number of EVENT as a column; null where `tracer.known` does not know it. unknown: what EVENT then holds."""

    name: str
    field: str
    type: pa.DataType
    unknown: int = 0


NUMBERS = (
    Column("pid", "tgid", pa.int32()),
    Column("ppid", "parent_tgid", pa.int32()),
    Column("ns_ppid", "parent_vtgid", pa.int32()),
    Column("tid", "tid", pa.int32()),
    Column("ns_tid", "vtid", pa.int32()),
    Column("level", "level", pa.int32()),
    Column("start_ns", "start_ns", pa.int64()),
    Column("parent_start_ns", "parent_start_ns", pa.int64()),
    Column("uid", "uid", pa.int64()),
    Column("cgroup_id", "cgroup_id", pa.int64()),
    Column("cpu", "cpu", pa.int32(), NO_CPU),
    Column("args_bytes", "args_total", pa.int64()),
    Column("old_tid", "old_tid", pa.int32()),
    Column("status", "status", pa.int32()),
    Column("lost", "seq", pa.int64()),
    Column("old_cgroup_id", "seq", pa.int64()),
)
FLAGS = tuple((flag, str(flag.name).lower()) for flag in Flag if not flag & INTERNAL_FLAGS)
EVENT_NAMES = {kind: kind.name.lower() for kind in Kind}

# Fields of EVENT that are in no column of their own, and where they are.
ELSEWHERE = {
    "ts_ns": "time",  # minus the wall_offset_ns of the stream's metadata
    "kind": "event",
    "flags": "args_truncated, inferred",
    "chain": "pids, pidns_chain, pidns_gens",  # host first
    "deep_len": "pids",
    "exe_len": "exe",
    "args_len": "args",
    "comm": "comm",
    "state": "state",
    "exec_id": "",  # for a comparison with the living alone
}

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", "UTC")),
        ("event", pa.string()),
        *((column.name, column.type) for column in NUMBERS),
        ("ns_pid", pa.int32()),  # the innermost of the three lists below
        ("pidns", pa.int64()),
        ("pidns_gen", pa.int64()),
        ("pids", pa.list_(pa.int32())),
        ("pidns_chain", pa.list_(pa.int64())),
        ("pidns_gens", pa.list_(pa.int64())),
        ("comm", pa.binary()),
        ("exe", pa.binary()),
        ("args", pa.binary()),  # ended by NULs; cgroup: the JSON of a CgroupFact
        ("state", pa.string()),
        *((name, pa.bool_()) for _flag, name in FLAGS),
    ]
)
