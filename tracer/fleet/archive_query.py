"""An archive as tables of DuckDB: read while a query runs, the columns and row groups that it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from tracer.ask.database import DEFAULT_ROOM, Room, check_names, connect, errors_of, require_text, tree, use_all_cpus
from tracer.ask.lists import as_typed, with_lists_as_text
from tracer.ask.offsets import check_times
from tracer.ask.relations import LISTS
from tracer.errors import ExitCode, NstraceError
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES
from tracer.fleet.archive_sql import KEY, of_process
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import BATCHES as BATCH_SCHEMA
from tracer.fleet.archive_tables import EVENTS as EVENT_SCHEMA
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.compaction import files_of

_SAID = pa.schema([field for field in BATCH_SCHEMA if field.name != "payload"])
_SCHEMAS = {EVENTS: EVENT_SCHEMA, PROCESSES: PROCESS_SCHEMA, BATCHES: _SAID}
_BATCH_ROWS = 1 << 14
TABLES = (*_SCHEMAS, "gaps")
"""What a query can name: as docs/fleet.md has them, processes with one row each; and the events that are gaps."""


class ArchiveQuery:
    """A query over the tables of an archive, as of when this is made. Raises NstraceError (usage) where it is wrong,
    OSError where the archive cannot be read."""

    def __init__(self, text: str, store: Store, room: Room = DEFAULT_ROOM) -> None:
        require_text(text)
        self._text, self._database = text, connect(room)
        use_all_cpus(self._database)
        for table, schema in _SCHEMAS.items():
            self._database.register(f"_{table}", store.dataset(files_of(store, table), schema))
            made = of_process if table == PROCESSES else str
            columns = ", ".join(_column(field, made(field.name)) for field in schema)
            groups = f" group by {', '.join(KEY)}" if table == PROCESSES else ""
            self._database.execute(f'create temp view {table} as select {columns} from "_{table}"{groups}').fetchall()
        self._database.execute("create temp view gaps as select * from events where event = 'gap'").fetchall()
        with errors_of(text):
            statements = self._database.extract_statements(text)
        if len(statements) != 1 or statements[0].type.name not in ("SELECT", "EXPLAIN", "MULTI"):
            raise NstraceError("a query is one SELECT", f"its tables are {', '.join(TABLES)}", ExitCode.USAGE)
        found = tree(self._database, text)
        self._names = sorted({name for schema in _SCHEMAS.values() for name in schema.names})
        self._statement, self._typed_at = with_lists_as_text(self._database, text, found, LISTS)
        check_names(found, self._names, text)
        check_times(found, text)
        if statements[0].type.name == "SELECT":
            with errors_of(text, self._names, lambda place: self._typed_at(place - len("describe "))):
                self._database.execute(f"describe {self._statement}").fetchall()

    def answer(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The result: its columns and its rows. Raises NstraceError, now and while it is read."""
        with errors_of(self._text, self._names, self._typed_at):
            reader = self._database.sql(self._statement).to_arrow_reader(_BATCH_ROWS)
        return as_typed(reader.schema), self._batches(reader)

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        with errors_of(self._text, self._names, self._typed_at):
            yield from reader


def _column(field: pa.Field, made: str = "") -> str:
    """A column in SQL: times as those of nstrace sql, without a zone. made: how it is made, if not as it is."""
    made = made or f'"{field.name}"'
    return (
        f'({made})::timestamp_ns as "{field.name}"'
        if pa.types.is_timestamp(field.type)
        else f'{made} as "{field.name}"'
    )
