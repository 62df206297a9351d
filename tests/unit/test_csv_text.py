"""Results as CSV: the same as Python's own writer makes, a value at a time."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.ask.answer import write_csv
from tracer.text.cells import cell

TEXT = st.text(st.sampled_from("a=+-@ ,;\"'\\x41\n\r\té😀\x1b[]\u202e"), max_size=8)
COLUMNS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.list_(pa.int32()): st.lists(st.none() | st.integers(-5, 5), max_size=3),
    pa.list_(pa.string()): st.lists(st.none() | TEXT, max_size=3),
    pa.list_(pa.list_(pa.int32())): st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=2),
    pa.struct([("a", pa.string())]): st.fixed_dictionaries({"a": TEXT}),
}


def written(*batches: pa.RecordBatch) -> str:
    file = io.BytesIO()
    write_csv(batches[0].schema, batches, file)
    return file.getvalue().decode()


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def wanted(value: Any, type_: pa.DataType) -> str:
    if value is None:
        return ""
    if pa.types.is_string(type_):
        return cell(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return cell(text) if pa.types.is_nested(type_) else text


@settings(max_examples=60)
@given(st.data())
def test_every_type(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4))
    count = data.draw(st.integers(0, 5))
    columns = [data.draw(st.lists(st.none() | COLUMNS[one], min_size=count, max_size=count)) for one in types]
    arrays = [pa.array(column, one) for column, one in zip(columns, types, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, [f"c{nr}" for nr in range(len(types))])
    rows = [[wanted(value, one) for value, one in zip(row, types, strict=True)] for row in zip(*columns, strict=True)]
    assert [[str_or_json(value) for value in row] for row in read(written(batch))[1:]] == [
        [str_or_json(value) for value in row] for row in rows
    ]


def str_or_json(text: str) -> Any:
    """Numbers by their value: there are several ways to write one, and escapes in JSON too."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_are_rfc_3339(unit: str, zone: str | None) -> None:
    ticks = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    times = pa.array([1_700_000_000 * ticks, None, 0], pa.timestamp(unit, zone))
    lines = written(pa.RecordBatch.from_arrays([times, pa.array([1, 2, 3])], ["t", "n"])).splitlines()
    assert lines == ["t,n", "2023-11-14T22:13:20.000000000Z,1", ",2", "1970-01-01T00:00:00.000000000Z,3"]


def test_a_slice_and_names_that_need_quotes() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([[1], [2, 3], None]), pa.array(["a", 'b"', None])], ["x,y", "=1"])
    assert written(batch.slice(1)) == '"x,y",\\x3d1\n"[2,3]","b"""\n,\n'
    assert written(batch.slice(3)) == '"x,y",\\x3d1\n'


def test_an_empty_value_alone_is_a_line() -> None:
    assert written(pa.RecordBatch.from_arrays([pa.array(["", None, "x"])], ["a"])) == 'a\n""\n""\nx\n'
