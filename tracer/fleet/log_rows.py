"""A log that is a table, in pieces -> its lines in their order, each with the process that it is about, of an archive:
by DuckDB (`tracer.fleet.duck`), and times and numbers as `tracer.ask` reads those of any log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.ask.database import errors_of
from tracer.ask.join import column_of
from tracer.ask.log_numbers import numbers_in
from tracer.ask.log_times import moments_in
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES
from tracer.fleet.archive_store import Store
from tracer.fleet.archive_tables import BATCHES as BATCH_SCHEMA
from tracer.fleet.archive_tables import EVENTS as EVENT_SCHEMA
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.compaction import files_of
from tracer.fleet.duck import answered, make_steps, open_tables
from tracer.fleet.log_join import ADDED, PREFIX, On
from tracer.text.times import year

if TYPE_CHECKING:
    import duckdb

_LINE, _HOST, _PLACE, _NUMBER, _MOMENT = (f"_nstrace_{name}" for name in ("line", "host", "place", "number", "moment"))
_TIMES = (f"{PREFIX}began", f"{PREFIX}ended")
_NO_NS = (1 << 63) - 1


class Columns(NamedTuple):
    """Which columns of a log say who and when. container: ""; the numbers are PIDs of the host."""

    host: str
    container: str
    number: str
    time: str


class LogRows:
    """database: an empty one. lag_ns: how long after it was written a line gets its time, at the most. counts: how many
    lines have an answer (""), and how many not, by why. cluster: whose hosts are meant; None: those of all. Raises
    OSError where the archive cannot be read."""

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        store: Store,
        columns: Columns,
        lag_ns: int,
        cluster: str | None = None,
    ) -> None:
        self._database, self._columns, self._lag_ns = database, columns, lag_ns
        self._width_ns = 0  # that the tables are made for
        self.counts: Counter[str] = Counter()
        schemas = {PROCESSES: PROCESS_SCHEMA, EVENTS: EVENT_SCHEMA, BATCHES: BATCH_SCHEMA}
        rows = {name: store.dataset(files_of(store, name), schema) for name, schema in schemas.items()}
        if cluster is not None:
            rows = {name: table.filter(pc.field("cluster") == cluster) for name, table in rows.items()}
        open_tables(database, rows)
        with errors_of(""):
            ((begin_ns, end_ns),) = database.execute("select min(began), max(ended) from runs").fetchall()
        self._years = range(year(begin_ns or 0), year(end_ns or 0) + 1)

    def joined(self, piece: pa.Table) -> pa.Table:
        """The lines of a piece, with the columns of their processes."""
        piece = piece.combine_chunks()
        asked, width_ns = self._asked(piece)
        parts = [self._answered(asked.filter(pa.array(width_ns == one)), one) for one in np.unique(width_ns).tolist()]
        found = pa.concat_tables(parts or [self._answered(asked, 1)]).sort_by(_LINE)
        self.counts.update(why or "" for why in found[f"{PREFIX}unknown"].to_pylist())
        for name in ADDED:
            column = found[name]
            piece = piece.append_column(name, column.cast(pa.timestamp("ns")) if name in _TIMES else column)
        return piece

    def _asked(self, piece: pa.Table) -> tuple[pa.Table, NDArray[np.int64]]:
        """What is asked of each line; and how many ns its time may mean, from its moment on: where that is of a clock
        which was put back, all from the first meaning to the last."""
        count, moments = len(piece), moments_in(column_of(piece, self._columns.time), self._years)
        begin_ns, end_ns = np.full(count, _NO_NS), np.zeros(count, np.int64)
        np.minimum.at(begin_ns, moments.line, moments.begin_ns)
        np.maximum.at(end_ns, moments.line, moments.end_ns)
        has_time = begin_ns <= end_ns
        asked = {
            _LINE: pa.array(np.arange(count)),
            _HOST: _words_in(column_of(piece, self._columns.host)),
            _NUMBER: pa.array(numbers_in(column_of(piece, self._columns.number))),
            _MOMENT: pa.array(begin_ns, mask=~has_time),
        }
        if self._columns.container:
            asked[_PLACE] = _words_in(column_of(piece, self._columns.container))
        return pa.table(asked), np.where(has_time, end_ns - begin_ns + 1, 1)

    def _answered(self, asked: pa.Table, width_ns: int) -> pa.Table:
        place = _PLACE if self._columns.container else ""
        on = On(_NUMBER, _MOMENT, _HOST, place, width_ns, self._lag_ns)
        if width_ns != self._width_ns:
            make_steps(self._database, on)
            self._width_ns = width_ns
        return answered(self._database, asked, [_LINE], on)


def _words_in(column: pa.Array) -> pa.Array:
    """The names in a column, without blanks around them."""
    return pc.utf8_trim_whitespace(column.cast(pa.string()))
