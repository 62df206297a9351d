"""Recordings as tables of DuckDB, read while a query runs: a batch at a time, and of it the columns that are needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tracer.ask.database import nodes
from tracer.ask.relations import BEGAN, ORDER, RELATIONS, Relation
from tracer.errors import ExitCode, NstraceError
from tracer.recording.schema import FLAT
from tracer.recording.some_columns import some
from tracer.recording.source import RecordedSource
from tracer.stream.batch import Batch, of_kind

if TYPE_CHECKING:
    import duckdb

Sources = Callable[[], list[RecordedSource]]
"""Returns recordings to be read from their beginning: called for each reading."""
_TIME = pa.timestamp("ns")  # with a time zone DuckDB would have microseconds
_OWN = {ORDER: pa.int64(), BEGAN: _TIME}


def wanted_names(found: dict[str, Any] | None) -> frozenset[str] | None:
    """All names and words in a query, in lower case, among them those of the columns that it needs; None: it may need
    any column. found: its syntax tree, None: it has none."""
    if found is None:
        return None
    objects = list(nodes(found))
    tables = {str(one.get(name, "")).lower() for one in objects if "sample" in one for name in ("alias", "table_name")}
    words = {word.lower() for one in objects for value in one.values() for word in _words(value)}
    is_any = any(
        one.get("class") == "STAR"
        or one.get("ref_type") == "NATURAL"
        or (one.get("class") == "COLUMN_REF" and str(one["column_names"][-1]).lower() in tables)
        for one in objects
    )
    return None if is_any else frozenset(words)


def _words(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


class Tables:
    """The tables that a query can name. error: what ended the reading, if anything did."""

    def __init__(self, database: duckdb.DuckDBPyConnection, sources: Sources, wanted: frozenset[str] | None) -> None:
        self.error: BaseException | None = None
        for name, relation in RELATIONS.items():
            columns = [column for column in relation.facts if wanted is None or column.lower() in wanted]
            columns = columns or [next(iter(relation.facts))]  # count(*) needs none, a table has some
            rows = _Rows(self, relation, relation.needs(columns), sources)
            database.register(f"_{name}", rows)
            query = relation.query(columns).replace("from rows", f'from "_{name}"')
            database.execute(f'create temp view "{name}" as {query}').fetchall()


class _Rows:
    """Events of the kinds of a table, with the columns that are needed: what DuckDB reads as a stream of Arrow."""

    def __init__(self, tables: Tables, relation: Relation, needs: Collection[str], sources: Sources) -> None:
        self._tables, self._sources = tables, sources
        self._kinds, self._needs = tuple(relation.kinds), needs
        fields = [_naive(field) for field in FLAT if field.name in needs]
        own = [pa.field(name, type_) for name, type_ in _OWN.items() if name in needs]
        self._schema = pa.schema(fields + own)

    def __arrow_c_schema__(self) -> object:
        """As PyCapsules of Arrow define it."""
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """As PyCapsules of Arrow define it: a new reading of the recordings, which begins when the first batch is asked
        for."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches()).__arrow_c_stream__()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._read()
        except GeneratorExit:  # the query has ended, with an error of its own
            raise
        except BaseException as error:  # Arrow keeps its text alone
            self._tables.error = error
            raise

    def _read(self) -> Iterator[pa.RecordBatch]:
        place = 0
        for source in self._sources():
            host = source.recordings[0].facts.host
            for batch in source.batches(lambda: 0.0):
                chosen = batch.select(of_kind(batch.rows, *self._kinds))
                if len(chosen):
                    yield self._columns(chosen, source, host, place)
                    place += len(chosen)

    def _columns(self, batch: Batch, source: RecordedSource, host: str, place: int) -> pa.RecordBatch:
        offset_ns = source.wall_offset_ns
        arrays = list(some(batch, source.attribution, offset_ns, host, self._needs).columns)
        if ORDER in self._needs:
            arrays.append(pa.array(np.arange(place, place + len(batch))))
        if BEGAN in self._needs:
            arrays.append(pa.array(batch.rows["start_ns"].view(np.int64) + offset_ns))
        pairs = zip(arrays, self._schema, strict=True)
        return pa.RecordBatch.from_arrays([array.cast(field.type) for array, field in pairs], schema=self._schema)


def _naive(field: pa.Field) -> pa.Field:
    return field.with_type(_TIME) if pa.types.is_timestamp(field.type) else field


def readings(
    first: Sequence[RecordedSource], window: Callable[[list[RecordedSource]], list[RecordedSource]]
) -> Sources:
    """A function that returns these recordings, and after the first time others of the same files. window: chooses
    those that have events in it, and sets them to show it alone. Raises NstraceError for a second reading of a pipe."""
    unread = [list(first)]

    def sources() -> list[RecordedSource]:
        if unread:
            return window(unread.pop())
        if any(source.is_stream for source in first):
            raise NstraceError(
                "this query reads the recording twice, and a pipe can be read once",
                "save the recording to a file first",
                ExitCode.USAGE,
            )
        return window([RecordedSource([one.again() for one in source.recordings], source.targets) for source in first])

    return sources
