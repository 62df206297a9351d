"""Archives, as archivers make them of what a publisher has sent, without a server; and logs about their processes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq
from publishing import Bench, Memory

from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES
from tracer.fleet.archive_store import Store
from tracer.fleet.archiver import path_of
from tracer.fleet.compaction import compact, files_of
from tracer.fleet.decoder import Delivery
from tracer.fleet.decoder import files_of as decoded
from tracer.fleet.duck import open_tables, translate
from tracer.fleet.log_join import On


def archive_of(bench: Bench, folder: Path, without: Collection[int] = ()) -> Store:
    """An archive of what is in the publisher's folder, in several files, some of which were made one. without: messages
    that did not come, by their place."""
    assert isinstance(bench.server, Memory)
    bench.publish()
    store = Store(fs.LocalFileSystem(), str(folder), str(folder))
    deliveries = [Delivery("test", "web1", message.payload) for message in bench.server.messages]
    deliveries = [one for place, one in enumerate(deliveries) if place not in without]
    for first in range(0, len(deliveries), 2):
        files = decoded(deliveries[first : first + 2])
        assert not files.bad
        for made in files.files:
            store.write(path_of(made), made.data)
        if first == 2:
            compact(store)
    return store


def rows_of(store: Store, table: str) -> pa.Table:
    """All rows of a table, of the files that count."""
    return pa.concat_tables(
        pq.read_table(Path(store.name) / path, partitioning=None) for path in files_of(store, table)
    )


def of_duck(store: Store, logs: pa.Table, on: On) -> list[dict[str, Any]]:
    """The rows of a log with their answers, in the order of their column `line`."""
    with duckdb.connect() as database:
        open_tables(database, {name: rows_of(store, name) for name in (PROCESSES, EVENTS, BATCHES)})
        found = translate(database, logs, logs.column_names, on).sort_by("line").to_pylist()
    return list(found)
