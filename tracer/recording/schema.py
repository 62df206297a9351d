"""A recording's columns, as Arrow has them: those of `tracer.stream.schema`.

`columns` moves values both ways. A recording is an Arrow IPC stream of batches with this schema.
"""

from __future__ import annotations

import pyarrow as pa

from tracer.stream.schema import Output, columns_in

VERSION = 1
"""Raised when a reader of the version before would misread a file. New columns and kinds of event do not raise it."""

_TYPES = {
    "time": pa.timestamp("ns", "UTC"),
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "list<int32>": pa.list_(pa.int32()),
    "list<int64>": pa.list_(pa.int64()),
    "list<string>": pa.list_(pa.string()),
}

RECORDED = columns_in(Output.RECORDING)
NUMBERS = tuple(column for column in RECORDED if column.field)
"""Columns that are numbers of EVENT."""
FLAGS = tuple(column for column in RECORDED if column.flag)
"""Columns that are bits of its flags: plain, in every row."""
SCHEMA = pa.schema([(column.name, _TYPES[column.stored or column.type]) for column in RECORDED])
"""The stored columns: bytes as they came; arguments each ended by a NUL, of a cgroup row the JSON of a CgroupFact."""
FLAT = pa.schema([(column.name, _TYPES[column.type]) for column in columns_in(Output.EXPORT)])
"""The exported columns, for readers that know nothing of nstrace."""
