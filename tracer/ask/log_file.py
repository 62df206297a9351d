"""A log that is a table, CSV or Parquet, read in order and in pieces; of CSV all columns are text, as they came."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tracer.errors import ExitCode, NstraceError

_PIECE_ROWS = 1 << 20
_BLOCK_BYTES = 1 << 22  # of CSV: a line is shorter
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


def begin_threads() -> None:
    """Begin those of Arrow that read CSV: while it can be done. For signals, which are Python's, it would make a pipe
    at each reading."""
    pa.enable_signal_handlers(False)
    pa.set_io_thread_count(1)
    pa.set_cpu_count(1)
    for _ in _csv(b"a\n1\n", io.BufferedReader(io.BytesIO()), "").pieces:
        pass


def read_log(fd: int, name: str) -> LogTable:
    """The log behind a descriptor. Raises NstraceError, now and while it is read."""
    try:
        file = os.fdopen(fd, "rb", closefd=False)
        head = file.read(len(_MAGIC))
        if head == _MAGIC:
            if not file.seekable():
                raise NstraceError("Parquet cannot be read from a pipe", "save it to a file first", ExitCode.USAGE)
            return _parquet(pq.ParquetFile(file), name)
        return _csv(head, file, name)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(name, error) from error


def _parquet(file: pq.ParquetFile, name: str) -> LogTable:
    batches = file.iter_batches(1 << 16, use_threads=False)
    schema = file.schema_arrow.remove_metadata()
    return LogTable(schema, _pieces(batches, schema, name))


class _Behind(io.RawIOBase):
    """A file of which some bytes were read already."""

    def __init__(self, head: bytes, file: io.BufferedReader) -> None:
        self._head, self._file = head, file

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As a raw file does."""
        data = self._head or self._file.read1(len(buffer))
        self._head = data[len(buffer) :]
        data = data[: len(buffer)]
        buffer[: len(data)] = data
        return len(data)


def _csv(head: bytes, file: io.BufferedReader, name: str) -> LogTable:
    first = head + file.readline(_BLOCK_BYTES)
    if not first.strip():
        raise NstraceError(f"{name} is empty", "the first line of a CSV file has the names of its columns")
    if head[:1] == b"{":
        hint = f"nstrace translate --from DIR --pid-key KEY --time-key KEY - < {name}"
        raise NstraceError(f"{name} has lines of JSON, not of CSV", hint, ExitCode.USAGE)
    names = _names(first, name)
    convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    read = pa_csv.ReadOptions(block_size=_BLOCK_BYTES)
    batches = pa_csv.open_csv(io.BufferedReader(_Behind(first, file)), read, parse, convert)
    return LogTable(batches.schema, _pieces(batches, batches.schema, name))


def _names(line: bytes, name: str) -> list[str]:
    """The columns that a header has."""
    names: list[str] = next(csv.reader(line.decode(errors="replace").removeprefix("\ufeff").splitlines()[:1]), [])
    if twice := [one for one in names if names.count(one) > 1]:
        raise NstraceError(f"{name} has the column {twice[0]} twice", "rename one of them", ExitCode.USAGE)
    return names


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
