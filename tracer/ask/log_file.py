"""A log that is a table, CSV or Parquet, read in order and in pieces; of CSV all columns are text, as they came."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tracer.errors import ExitCode, NstraceError
from tracer.text.escape import decode

_PIECE_ROWS = 1 << 18
_BATCH_ROWS, _MAX_CELL = 1 << 16, 1 << 24  # of CSV
_MAGIC = b"PAR1"


class LogTable(NamedTuple):
    """The columns, and the rows in tables of about a million."""

    schema: pa.Schema
    pieces: Iterator[pa.Table]


def open_log(name: str) -> int:
    """A descriptor of the log; "-" is stdin. Raises NstraceError."""
    try:
        return 0 if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NstraceError(f"{name} cannot be read: {error.strerror}", "LOG is a CSV or Parquet file") from error


def read_log(fd: int, name: str) -> LogTable:
    """The log behind a descriptor. Raises NstraceError, now and while it is read."""
    try:
        file = os.fdopen(fd, "rb", closefd=False)
        head = file.peek(len(_MAGIC))[: len(_MAGIC)]
        if head == _MAGIC:
            if not file.seekable():
                raise NstraceError("Parquet cannot be read from a pipe", "save it to a file first", ExitCode.USAGE)
            return _parquet(pq.ParquetFile(file, pre_buffer=False), name)
        return _csv(head, file, name)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(name, error) from error


def _parquet(file: pq.ParquetFile, name: str) -> LogTable:
    batches = file.iter_batches(1 << 16, use_threads=False)
    schema = file.schema_arrow.remove_metadata()
    return LogTable(schema, _pieces(batches, schema, name))


def _csv(head: bytes, file: io.BufferedReader, name: str) -> LogTable:
    first = file.readline(_MAX_CELL)
    if not first.strip():
        raise NstraceError(f"{name} is empty", "the first line of a CSV file has the names of its columns")
    if head[:1] == b"{":
        hint = f"nstrace translate --from DIR --pid-key KEY --time-key KEY - < {name}"
        raise NstraceError(f"{name} has lines of JSON, not of CSV", hint, ExitCode.USAGE)
    names = _names(first, name)
    schema = pa.schema([(column, pa.string()) for column in names])
    csv.field_size_limit(_MAX_CELL)
    lines = csv.reader(io.TextIOWrapper(file, "utf-8", "surrogateescape", newline=""), strict=True)
    return LogTable(schema, _pieces(_batches(lines, schema, name), schema, name))


def _names(line: bytes, name: str) -> list[str]:
    """The columns that a header has."""
    text = line.decode(errors="replace").removeprefix("\ufeff")
    try:
        names: list[str] = next(csv.reader(text.splitlines()[:1], strict=True), [])
    except csv.Error as error:
        raise _wrong_row(name, "the header", error) from error
    if twice := [one for one in names if names.count(one) > 1]:
        raise NstraceError(f"{name} has the column {twice[0]} twice", "rename one of them", ExitCode.USAGE)
    return names


def _batches(lines: Iterator[list[str]], schema: pa.Schema, name: str) -> Iterator[pa.RecordBatch]:
    count, not_empty = 0, filter(None, lines)
    while True:
        rows: list[list[str]] = []
        try:
            rows.extend(itertools.islice(not_empty, _BATCH_ROWS))
        except csv.Error as error:  # rows has those before
            raise _wrong_row(name, f"row {count + len(rows) + 1} behind the header", error) from error
        if not rows:
            return
        for at, row in enumerate(rows):
            if len(row) != len(schema):
                what = f"row {count + at + 1} behind the header has {len(row)} columns, the header {len(schema)}"
                raise NstraceError(f"{name} cannot be read: {what}", "LOG is a CSV file with a header")
        yield pa.RecordBatch.from_arrays([_texts(column) for column in zip(*rows, strict=True)], schema=schema)
        count += len(rows)


def _wrong_row(name: str, where: str, error: csv.Error) -> NstraceError:
    """where: in which row something is wrong. In a cell whose quote is not closed is all that follows."""
    what = "a quote is not closed" if "unexpected end" in str(error) else str(error)
    hint = 'a quote in a cell is doubled, and the cell is in quotes: "say ""yes"""'
    return NstraceError(f"{name} cannot be read: {what}, in {where}", hint)


def _texts(cells: Sequence[str]) -> pa.Array:
    """Cells as text: bytes that are no UTF-8 as numbers."""
    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError:
        return pa.array([decode(cell.encode(errors="surrogateescape")) for cell in cells], pa.string())


def _pieces(batches: Iterator[pa.RecordBatch], schema: pa.Schema, name: str) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(name, error) from error
        if batch is not None:
            held.append(batch)
        if held and (batch is None or sum(map(len, held)) >= _PIECE_ROWS):
            yield pa.Table.from_batches(held, schema)
            held = []
        if batch is None:
            return


def _unreadable(name: str, error: Exception) -> NstraceError:
    why = str(error).partition("\n")[0]
    return NstraceError(f"{name} cannot be read: {why}", "LOG is a CSV file with a header, or a Parquet file")
