"""The result of a query, as text in columns, JSON lines, CSV or Parquet. It is written while it comes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.ask import csv_text
from tracer.errors import ExitCode, NstraceError
from tracer.text.counted import counted
from tracer.text.escape import decode, safe_json, safe_text
from tracer.text.times import rfc3339
from tracer.views.columns import TextColumn, columns

_WIDE_ROWS = 2000  # of these the widths of columns are taken
_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}


class Form(Protocol):
    """Writes batches, all of one schema, to a file."""

    def __call__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> int:
        """Write all rows. Gives how many there were."""


def write_json(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> int:
    """One object a line, as everywhere: times in RFC 3339, absent = null. Raises NstraceError (usage) where two columns
    have one title."""
    _check_titles(schema.names)
    count = 0
    for batch in batches:
        count += len(batch)
        objects = (dict(zip(schema.names, row, strict=True)) for row in _rows(batch))
        lines = (safe_json(msgspec.json.encode(item).decode()) for item in objects)
        file.write("".join(f"{line}\n" for line in lines).encode())
    return count


def write_csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> int:
    """A header, then a line a row, as `tracer.ask.csv_text.lines` makes them."""
    file.write(csv_text.header(schema.names))
    count = 0
    for batch in batches:
        count += len(batch)
        file.write(csv_text.lines(batch.columns, _values))
    return count


def write_parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> int:
    """Parquet, zstd; times are in UTC, and what it has no type for is text. Raises NstraceError (usage) where two
    columns have one title."""
    _check_titles(schema.names)
    target = pa.schema([field.with_type(_stored(field.type)) for field in schema])
    count = 0
    with pq.ParquetWriter(file, target, compression="zstd", store_schema=False) as writer:
        for batch in batches:
            pairs = zip(batch.columns, target, strict=True)
            arrays = [_as_stored(array, field.type) for array, field in pairs]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=target))
            count += len(batch)
    return count


def _check_titles(titles: Sequence[str]) -> None:
    twice = next((title for title in titles if titles.count(title) > 1), None)
    if twice is not None:
        message = f"two columns of the result are called {twice}"
        raise NstraceError(message, f"give one of them another name: SELECT {twice}, ... AS other", ExitCode.USAGE)


def text_writer(line_width: int | None, header: bool) -> Form:
    """Writes columns, as wide as their texts; lines are cut to line_width. Of a long result the first rows decide."""

    def write(schema: pa.Schema, batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> int:
        titles = [TextColumn(safe_text(field.name), right=_is_number(field.type)) for field in schema]
        rows = ([_text(value) for value in row] for batch in batches for row in _rows(batch))
        with_header, count = header, 0
        while (part := list(itertools.islice(rows, _WIDE_ROWS))) or with_header:
            table = columns(titles, part, line_width)
            file.write((f"{table.header}\n{table.text}" if with_header else table.text).encode())
            with_header = False
            count += len(part)
        return count

    return write


FORMS: dict[str, Form] = {"jsonl": write_json, "csv": write_csv, "parquet": write_parquet}


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """The rows, in values that JSON has."""
    return zip(*map(_values, batch.columns), strict=True)


def _values(array: pa.Array) -> list[Any]:
    countable, convert = _countable(array.type), _converter(array.type)
    values = (array if countable == array.type else array.cast(countable)).to_pylist()
    return values if convert is None else list(map(convert, values))


def _countable(type_: pa.DataType) -> pa.DataType:
    """The type with times as numbers: those of Python have no nanoseconds."""
    if pa.types.is_timestamp(type_):
        return pa.int64()
    if pa.types.is_list(type_):
        return pa.list_(_countable(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_countable(field.type)) for field in type_])
    return type_


def _converter(type_: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes a value that JSON has of one that Arrow gives to Python, None of None; None: it is one."""
    make = _maker(type_)
    return make and (lambda value: None if value is None else make(value))


def _maker(type_: pa.DataType) -> Callable[[Any], Any] | None:
    if pa.types.is_timestamp(type_):
        return lambda ticks: rfc3339(ticks * _NS[type_.unit])
    if pa.types.is_list(type_):
        inner = _converter(type_.value_type)
        return inner and (lambda values: list(map(inner, values)))
    if pa.types.is_struct(type_):
        fields = {field.name: _converter(field.type) or (lambda value: value) for field in type_}
        return lambda found: {name: fields[name](value) for name, value in found.items()}
    if pa.types.is_decimal(type_):
        return int if type_.scale == 0 else float
    if pa.types.is_interval(type_):
        return _interval
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return decode
    return None if any(check(type_) for check in _PLAIN) else str


def _interval(value: pa.MonthDayNano) -> str:
    """A period as DuckDB shows it: 1 month 2 days 03:04:05.000006."""
    seconds, ns = divmod(abs(value.nanoseconds), 1_000_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{ns:09}".rstrip("0") if ns else "")
    parts = [counted(value.months, "month") if value.months else "", counted(value.days, "day") if value.days else ""]
    return " ".join(filter(None, [*parts, "-" * (value.nanoseconds < 0) + clock]))


_PLAIN = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string),
    *(pa.types.is_null, pa.types.is_map),
)


def _text(value: Any) -> str:
    """A value for people: "-" where there is none."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return safe_text(value) or '""'
    return safe_json(msgspec.json.encode(value).decode())


def _stored(type_: pa.DataType) -> pa.DataType:
    """As what Parquet stores it."""
    if pa.types.is_timestamp(type_):
        return pa.timestamp(type_.unit, "UTC")
    is_odd = pa.types.is_interval(type_) or pa.types.is_null(type_)
    return pa.string() if is_odd else type_


def _as_stored(array: pa.Array, type_: pa.DataType) -> pa.Array:
    return pa.array(_values(array), type_) if pa.types.is_interval(array.type) else array.cast(type_)
