"""A recorded source -> files for other tools."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tracer.errors import NstraceError
from tracer.recording.export_rows import flat, rows_as_text
from tracer.recording.files import errors_of
from tracer.recording.folder import Folder
from tracer.recording.schema import FLAT
from tracer.recording.source import RecordedSource
from tracer.text.cells import SUSPECT, cell

GROUP_ROWS, GROUP_BYTES = 1 << 17, 1 << 23
_MAX_OPEN, _BYTE_ARRAY_BYTES = 256, 16
_NEVER: Callable[[], float | None] = lambda: 0.0  # noqa: E731
_WORDS = [field.name for field in FLAT if pa.types.is_string(field.type) and not field.name.endswith("_id")]
# Reads the time zone now: what converts strangers' data may open no file.
pa.scalar(0, pa.timestamp("ns", "UTC")).cast(pa.string())
_INTEGERS = [field.name for field in FLAT if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)]


class TableWriter(Protocol):
    """A file that receives tables of FLAT."""

    def write(self, table: pa.Table) -> None:
        """Write the next rows."""

    def close(self) -> None:
        """Finish the file."""


class ParquetTable:
    """Parquet: integers delta-packed, words by dictionary, zstd."""

    def __init__(self, file: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(
            file,
            FLAT,
            compression="zstd",
            use_dictionary=_WORDS,
            column_encoding=dict.fromkeys(_INTEGERS, "DELTA_BINARY_PACKED"),
            sorting_columns=[pq.SortingColumn(FLAT.get_field_index("time"))],
            store_schema=False,
        )

    def write(self, table: pa.Table) -> None:
        """As `TableWriter.write`."""
        self._writer.write_table(table)

    def close(self) -> None:
        """As `TableWriter.close`."""
        self._writer.close()


class CsvTable:
    """CSV with a header; lists as text: 4711>15, and arguments as a shell accepts them. Text is as `cell` writes it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._options = pa.csv.WriteOptions(include_header=True)

    def write(self, table: pa.Table) -> None:
        """As `TableWriter.write`."""
        for batch in table.to_batches():
            text = rows_as_text(batch, shlex.join)
            cells = [_cells(column) if pa.types.is_string(column.type) else column for column in text.columns]
            pa.csv.write_csv(pa.RecordBatch.from_arrays(cells, text.schema.names), self._file, self._options)
            self._options = pa.csv.WriteOptions(include_header=False)

    def close(self) -> None:
        """As `TableWriter.close`."""


TABLES: dict[str, Callable[[IO[bytes]], TableWriter]] = {"parquet": ParquetTable, "csv": CsvTable}


def _cells(texts: pa.Array) -> pa.Array:
    """Texts as cells of a spreadsheet."""
    mask = pc.match_substring_regex(texts, SUSPECT).fill_null(False)
    suspects = texts.filter(mask).to_pylist()
    return pc.replace_with_mask(texts, mask, pa.array(map(cell, suspects), pa.string())) if suspects else texts


def tables(sources: Sequence[RecordedSource]) -> Iterator[pa.Table]:
    """All rows in tables of about GROUP_ROWS, or GROUP_BYTES, in order of time.

    Events of different CPUs and late gaps are slightly out of order: a whole group is held back to sort them in.
    """
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for source in sources:
        host = source.recordings[0].facts.host
        for part in source.batches(_NEVER):
            waiting.append(flat(part, source.attribution, source.wall_offset_ns, host))
            rows, size = rows + len(waiting[-1]), size + _size(waiting[-1])
            if rows >= 2 * GROUP_ROWS or size >= 2 * GROUP_BYTES:
                order = _order(waiting)
                yield _taken(waiting, order[: rows // 2])
                waiting = _taken(waiting, order[rows // 2 :]).to_batches()
                rows, size = rows - rows // 2, sum(map(_size, waiting))
    if waiting:
        yield _taken(waiting, _order(waiting))


def _size(batch: pa.RecordBatch) -> int:
    """How many bytes the rows need while they are written: Parquet's writer adds 16 for each text
    (parquet::ByteArray), and arguments may be empty."""
    size: int = batch.nbytes + _BYTE_ARRAY_BYTES * len(batch.column("args").values)
    return size


def _order(batches: Sequence[pa.RecordBatch]) -> pa.Array:
    """The places of the rows in order of time; rows of the same time as they came."""
    times = pa.chunked_array([batch.column("time") for batch in batches])
    keys = pa.table({"time": times, "place": np.arange(len(times))})
    return pc.sort_indices(keys, [("time", "ascending"), ("place", "ascending")])


def _taken(batches: Sequence[pa.RecordBatch], places: pa.Array) -> pa.Table:
    """The rows at these places, in memory of their own."""
    return pa.Table.from_batches(batches, FLAT).take(places)


class Partitions:
    """A folder with one file for each day and host: date=2026-11-24/host=web1/0.parquet, in the layout of Hive."""

    def __init__(self, folder: Path, suffix: str, make: Callable[[IO[bytes]], TableWriter]) -> None:
        self._suffix, self._make = suffix, make
        self._folder = Folder(folder)
        self._days: dict[str, Folder] = {}
        self._tables: dict[tuple[str, str], tuple[IO[bytes], TableWriter]] = {}

    def write(self, table: pa.Table) -> None:
        """As `TableWriter.write`."""
        days = table["time"].cast(pa.timestamp("ns")).cast(pa.date32())
        for day, host in itertools.product(pc.unique(days).to_pylist(), pc.unique(table["host"]).to_pylist()):
            part = table.filter(pc.and_(pc.equal(days, pa.scalar(day)), pc.equal(table["host"], host)))
            if len(part):
                self._table(str(day), host).write(part)

    def _table(self, day: str, host: str) -> TableWriter:
        if (day, host) not in self._tables:
            if len(self._tables) >= _MAX_OPEN:
                raise NstraceError(
                    f"a partitioned export has at most {_MAX_OPEN} days and hosts",
                    "export fewer recordings at once, or without --partition",
                )
            file = os.fdopen(self._create(f"date={day}", f"host={quote(host, safe='')}"), "wb")
            self._tables[day, host] = (file, self._make(file))
        return self._tables[day, host][1]

    def _create(self, day: str, host: str) -> int:
        with errors_of(Path(day, host)):
            if day not in self._days:
                self._days[day] = self._folder.create_folder(day)
            return self._days[day].create_folder(host).create(f"0{self._suffix}")

    def close(self) -> None:
        """As `TableWriter.close`."""
        for file, table in self._tables.values():
            table.close()
            file.close()
