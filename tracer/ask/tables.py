"""Recordings as tables of DuckDB, read while a query runs: a batch at a time, and of it the columns that are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from tracer.ask.database import nodes
from tracer.ask.processes import Processes
from tracer.ask.relations import RELATIONS
from tracer.ask.rows import Rows, Sources
from tracer.errors import ExitCode, NstraceError
from tracer.recording.filtered import LIVES, check_complete
from tracer.recording.once import give_each_once
from tracer.recording.source import RecordedSource

if TYPE_CHECKING:
    import duckdb


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
        self._readings: list[Reading] = []  # for as long as the views
        for name, relation in RELATIONS.items():
            columns = [column for column in relation.facts if wanted is None or column.lower() in wanted]
            columns = columns or [next(iter(relation.facts))]  # count(*) needs none, a table has some
            read = _complete(sources) if relation.of_lives else sources
            if relation.by_process:
                database.register(name, Reading(self, Processes(read, relation, columns)))
                continue
            self._readings.append(Reading(self, Rows(read, relation.kinds, relation.needs(columns))))
            # the rows have no name: "show tables" lists what a query can name
            made = database.from_arrow(self._readings[-1]).query("rows", relation.query(columns))
            assert made is not None  # it is no statement without a result
            made.create_view(name)


def _complete(sources: Sources) -> Sources:
    """The same sources, of which no event was left out by a condition: else this raises NstraceError."""

    def complete() -> list[RecordedSource]:
        found = sources()
        check_complete(found, LIVES)
        return found

    return complete


class Batches(Protocol):
    """Rows in batches of one schema, as often as they are asked for."""

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


class Reading:
    """Batches as DuckDB reads them: a stream of Arrow."""

    def __init__(self, tables: Tables, batches: Batches) -> None:
        self._tables, self._from = tables, batches

    def __arrow_c_schema__(self) -> object:
        """As PyCapsules of Arrow define it."""
        return self._from.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """As PyCapsules of Arrow define it: a new reading of the recordings, which begins when the first batch is asked
        for."""
        return pa.RecordBatchReader.from_batches(self._from.schema, self._batches()).__arrow_c_stream__()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._from
        except GeneratorExit:  # the query has ended, with an error of its own
            raise
        except BaseException as error:  # Arrow keeps its text alone
            self._tables.error = error
            raise


def readings(
    first: Sequence[RecordedSource], window: Callable[[list[RecordedSource]], list[RecordedSource]]
) -> Sources:
    """A function that returns these recordings, and after the first time others of the same files; what several have
    recorded is in them once. window: chooses those that have events in it, and sets them to show it alone. Raises
    NstraceError for a second reading of a pipe."""
    unread = [list(first)]

    def sources() -> list[RecordedSource]:
        chosen = window(again())
        give_each_once(chosen)
        return chosen

    def again() -> list[RecordedSource]:
        if unread:
            return unread.pop()
        if any(source.is_stream for source in first):
            raise NstraceError(
                "this query reads the recording twice, and a pipe can be read once",
                "save the recording to a file first",
                ExitCode.USAGE,
            )
        return [RecordedSource([one.again() for one in source.recordings], source.targets) for source in first]

    return sources
