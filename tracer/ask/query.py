"""One query over recordings: checked before anything is read, answered while they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracer.ask.ahead import Ahead
from tracer.ask.database import DEFAULT_ROOM, Room, check_names, connect, errors_of, require_text, tree, use_all_cpus
from tracer.ask.lists import as_typed, with_lists_as_text
from tracer.ask.offsets import check_times
from tracer.ask.relations import LISTS, RELATIONS
from tracer.ask.rows import Sources
from tracer.ask.tables import Tables, wanted_names
from tracer.errors import ExitCode, NstraceError
from tracer.system import imports

if TYPE_CHECKING:
    import pyarrow as pa

_READING = ("SELECT", "EXPLAIN", "MULTI")  # MULTI: a PIVOT
_BATCH_ROWS = 1 << 14
USES = ("tracer.recording.some_columns", *imports.OF_READERS)
"""Modules that are used for the first time while a query runs."""


class Query:
    """A query in SQL over RELATIONS. Made while there are privileges; reads nothing before `answer`.

    ahead: has a thread that reads recordings ahead, once threads have begun. Raises NstraceError (usage) where the
    query is wrong, with the place.
    """

    def __init__(self, text: str, room: Room = DEFAULT_ROOM) -> None:
        require_text(text)
        self._text, self._database = text, connect(room)
        self._sources: Sources | None = None
        self.ahead = Ahead()
        self._check_kind()
        found = tree(self._database, text)
        wanted = wanted_names(found)
        self._statement, self._typed_at = with_lists_as_text(self._database, text, found, LISTS)
        self._tables = Tables(self._database, lambda: self._sources() if self._sources else [], wanted)
        named = [name for name in RELATIONS if wanted is None or name in wanted]
        self._names = list(dict.fromkeys(column for name in named for column in RELATIONS[name].facts))
        check_names(found, self._names, text)
        check_times(found, text)
        if not self._is_explained:
            with errors_of(text, self._names, lambda place: self._typed_at(place - len("describe "))):
                self._database.execute(f"describe {self._statement}").fetchall()

    def _check_kind(self) -> None:
        with errors_of(self._text):
            statements = self._database.extract_statements(self._text)
        if len(statements) != 1:
            what = "there is no query" if not statements else f"these are {len(statements)} queries"
            raise NstraceError(what, "for example: select comm, count(*) from events group by comm", ExitCode.USAGE)
        kind = statements[0].type.name
        if kind not in _READING:
            hint = f"nstrace sql only reads; its tables are {', '.join(RELATIONS)}"
            raise NstraceError(f"the query is a {kind} statement, not a SELECT", hint, ExitCode.USAGE)
        self._is_explained = kind != "SELECT"

    def begin_threads(self) -> None:
        """Use all CPUs. Called when there are no privileges that a thread could keep."""
        use_all_cpus(self._database)
        self.ahead.begin()

    def answer(self, sources: Sources) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The result, of these recordings: its columns and its rows. Raises NstraceError, now and while it is read."""
        self._sources = sources
        with self._errors():
            reader = self._database.sql(self._statement).to_arrow_reader(_BATCH_ROWS)
        return as_typed(reader.schema), self._batches(reader)

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            with self._errors():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What ended the reading of a recording comes first: to DuckDB and Arrow it is a text."""
        try:
            with errors_of(self._text, self._names, self._typed_at):
                yield
        except Exception:
            if self._tables.error:
                raise self._tables.error from None
            raise
