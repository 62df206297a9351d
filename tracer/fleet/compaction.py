"""Small files of an archive -> large ones, whatever is killed meanwhile: the large file is whole before the small ones
go, and until they are gone their names say that they do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from tracer.fleet.archive_names import (
    BATCHES,
    EVENTS,
    PROCESSES,
    Block,
    Merge,
    block_of,
    folder_of,
    host_in,
    merges,
    split,
)
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import BATCHES as BATCH_SCHEMA
from tracer.fleet.archive_tables import EVENTS as EVENT_SCHEMA
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.archive_tables import ParquetFile, combined, in_order

TARGET_BYTES = 128_000_000
_HELD_ROWS = 1 << 17


def compact(
    store: Store,
    target_bytes: int = TARGET_BYTES,
    least_files: int = 2,
    keep_going: Callable[[], bool] = lambda: True,
) -> int:
    """Make files of about this size where that is possible, and remove those that do not count, while keep_going().
    Gives how many files were made. Several may do this at once. Raises OSError."""
    made = 0
    hosts: dict[str, list[Block]] = {}
    for folder in store.folders(BATCHES):  # before the others: what comes later is no part of these messages
        count, _covered = split(store.sizes(folder))
        hosts[host_in(folder)] = [block for file in count if (block := block_of(file))]
    for table in (PROCESSES, EVENTS, BATCHES):
        for folder in store.folders(table):
            if not keep_going():
                return made
            store.remove_stale(folder)
            for merge in _merges_of(store, folder, hosts.get(host_in(folder), []), target_bytes, least_files):
                if not keep_going():
                    return made
                made += _merged(store, table, folder, merge)
    return made


def _merges_of(
    store: Store, folder: str, archived: list[Block], target_bytes: int, least_files: int
) -> Iterable[Merge]:
    """What can be merged in a folder, whose files that do not count are removed."""
    sizes = store.sizes(folder)
    count, covered = split(sizes)
    for file in covered:
        store.remove(f"{folder}/{file}")
    return merges({file: sizes[file] for file in count}, archived, target_bytes, least_files)


def _merged(store: Store, table: str, folder: str, merge: Merge) -> bool:
    """Make a large file, and remove the small ones. False: another one has just done so."""
    try:
        _MERGERS[table](store, folder, merge)
    except FileNotFoundError:
        return False
    for file in merge.files:
        store.remove(f"{folder}/{file}")
    return True


def _merge_events(store: Store, folder: str, merge: Merge) -> None:
    with store.writing(f"{folder}/{merge.block.file}") as out:
        file = ParquetFile(out, EVENT_SCHEMA)
        for table in _ordered(_batches(store, folder, merge)):
            file.write(table)
        file.close()


def _batches(store: Store, folder: str, merge: Merge) -> Iterator[pa.RecordBatch]:
    for name in merge.files:
        with store.reading(f"{folder}/{name}") as source:
            yield from pq.ParquetFile(source).iter_batches(_HELD_ROWS, use_threads=False)


def _ordered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in order of time: messages follow each other but for what CPUs report late, so some rows are held back
    and sorted in."""
    held: list[pa.Table] = []
    rows = 0
    for batch in batches:
        held.append(pa.Table.from_batches([batch]).cast(EVENT_SCHEMA))
        rows += len(batch)
        if rows >= 2 * _HELD_ROWS:
            table = in_order(pa.concat_tables(held))
            yield table.slice(0, rows - _HELD_ROWS)
            held, rows = [table.slice(rows - _HELD_ROWS)], _HELD_ROWS
    if held:
        yield in_order(pa.concat_tables(held))


def _merge_processes(store: Store, folder: str, merge: Merge) -> None:
    _write(store, f"{folder}/{merge.block.file}", combined(_table(store, folder, merge, PROCESS_SCHEMA)))


def _merge_batches(store: Store, folder: str, merge: Merge) -> None:
    table = _table(store, folder, merge, BATCH_SCHEMA)
    _write(store, f"{folder}/{merge.block.file}", table.sort_by([("run", "ascending"), ("message", "ascending")]))


def _table(store: Store, folder: str, merge: Merge, schema: pa.Schema) -> pa.Table:
    tables = []
    for name in merge.files:
        with store.reading(f"{folder}/{name}") as source:
            tables.append(pq.ParquetFile(source).read(use_threads=False))
    columns = pa.concat_tables(
        [schema.empty_table(), *tables], promote_options="default"
    )  # an earlier version had less
    return columns.select(schema.names).cast(schema)


def _write(store: Store, path: str, table: pa.Table) -> None:
    with store.writing(path) as out:
        file = ParquetFile(out, table.schema)
        file.write(table)
        file.close()


_MERGERS: dict[str, Callable[[Store, str, Merge], None]] = {
    EVENTS: _merge_events,
    PROCESSES: _merge_processes,
    BATCHES: _merge_batches,
}


def files_of(store: Store, table: str, host: str = "") -> list[str]:
    """The paths of the files of a table that count, of one host or of all."""
    suffix = folder_of("", host) if host else ""
    found = []
    for folder in store.folders(table):
        if not suffix or folder.endswith(f"/{suffix}"):
            count, _covered = split(store.sizes(folder))
            found += [f"{folder}/{file}" for file in count]
    return found
