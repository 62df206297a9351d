"""Recordings -> tables of DuckDB: who had which number from when to when, and what each process was called when.

The rules are those of `tracer.past.history`, for all numbers at once and without the rows in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.ask.database import errors_of
from tracer.past.gaps import NEVER_NS, Gaps
from tracer.past.reports import reporting
from tracer.recording import columns, export_rows
from tracer.recording.questions import facts_alone, span_of
from tracer.recording.source import RecordedSource
from tracer.stream.batch import EVENT, Batch, of_kind
from tracer.stream.known import Known
from tracer.stream.schema import CONTAINER_KINDS, NOTE_KINDS, STREAM_KINDS, TOLD_LATER, Flag, Kind

if TYPE_CHECKING:
    import duckdb

    from tracer.past.translation import Hindsight

_IDS = [("run", pa.int32()), ("tgid", pa.int64()), ("start", pa.int64()), ("ts", pa.int64()), ("place", pa.int64())]
_LIFE = pa.schema([
    *_IDS, ("exits", pa.bool_()), ("is_over", pa.bool_()), ("lived", pa.bool_()), ("listed", pa.bool_()),
    ("pids", pa.list_(pa.int32())), ("inums", pa.list_(pa.int64())), ("gens", pa.list_(pa.int64())),
])  # fmt: skip
_STATE = pa.schema([*_IDS, ("comm", pa.string()), ("tells", pa.bool_()), ("args", pa.list_(pa.string()))])
_LIVES = f"""
create temp table life as
select row_number() over (order by run, start, tgid) - 1 as proc, *,
       least(greatest(coalesce(lived, start), start), exit_ns) as seen
from (select run, tgid, start, min(place) as first_place, coalesce(min(ts) filter (exits), {NEVER_NS}) as exit_ns,
             coalesce(min(ts) filter (is_over), {NEVER_NS}) as over_ns, max(ts) filter (lived) as lived,
             arg_min(listed, place) as listed, arg_min(pids, place) as pids, arg_min(inums, place) as inums,
             arg_min(gens, place) as gens
      from rows_of_lives group by run, tgid, start)
"""
_NUMBERS = f"""
create temp table number as
with entry as (
    select proc, run, start, tgid, exit_ns, over_ns, seen, unnest(pids) as nr, unnest(inums) as inum,
           unnest(list_transform(gens, lambda gen, nth: if(nth = 1, 0, gen))) as gen  -- the host's comes first
    from life),
given as (select *, lead(start) over (partition by run, inum, gen, nr order by start, tgid) as next_start from entry),
limited as (select *, min(next_start) over (partition by proc) as given_ns from given)
select proc, run, start, seen, nr, inum, gen,
       case when exit_ns < {NEVER_NS} then exit_ns
            else least(over_ns, coalesce(given_ns, {NEVER_NS})) end as end_ns
from limited
"""
_STATES = """
create temp table state as
with told as (
    select life.proc, case when life.listed and life.first_place = place then life.start else ts end as since, place,
           comm, case when tells then {'args': args} end as command
    from rows_of_states join life using (run, tgid, start)),
filled as (
    select proc, since, place, last_value(comm ignore nulls) over told_until as comm,
           last_value(command ignore nulls) over told_until as command
    from told
    window told_until as (partition by proc order by since, place rows between unbounded preceding and current row))
select proc, since, comm, command.args as args from (
    select *, lag({'c': comm, 'a': command}) over (partition by proc order by since, place) as before from filled)
where before is distinct from {'c': comm, 'a': command}
"""


class RunOf(NamedTuple):
    """What else is known of a run: its clock, as `Metadata.clock`, from when to when it recorded (boottime), wall clock
    minus boottime, its gaps as `Gaps.in_order` has them, and what it knows of containers."""

    clock: str
    begin_ns: int
    end_ns: int
    offset_ns: int
    lost_since: NDArray[np.int64]
    lost_until: NDArray[np.int64]
    healed: NDArray[np.int64]
    facts: Hindsight


def build(database: duckdb.DuckDBPyConnection, sources: Sequence[RecordedSource]) -> list[RunOf]:
    """Make the tables `life`, `number` and `state` of these recordings, files that can be read again. Returns the runs,
    in their order. Raises NstraceError."""
    lives = _Rows(sources, _LIFE)
    _make(database, lives, "rows_of_lives", (_LIVES, _NUMBERS))
    _make(database, _Rows(sources, _STATE), "rows_of_states", (_STATES,))
    return [_run(source, np.concatenate(notes)) for source, notes in zip(sources, lives.notes, strict=True)]


def _make(database: duckdb.DuckDBPyConnection, rows: _Rows, name: str, statements: Sequence[str]) -> None:
    database.register(name, rows)
    try:
        with errors_of(""):
            for statement in statements:
                database.execute(statement).fetchall()
    except Exception:
        if rows.error:
            raise rows.error from None
        raise
    finally:
        database.unregister(name)


def _run(source: RecordedSource, notes: NDArray[np.void]) -> RunOf:
    span, offset_ns = span_of(source), source.wall_offset_ns
    gaps, facts = Gaps(notes).in_order(), facts_alone(source)
    clock = source.recordings[0].facts.clock
    return RunOf(clock, span.begin_ns - offset_ns, span.end_ns - offset_ns, offset_ns, *gaps, facts)


class _Rows:
    """The rows of processes, with the columns of a schema: what DuckDB reads as a stream of Arrow. notes: of each run
    its rows about losses; error: what ended the reading, if anything did."""

    def __init__(self, sources: Sequence[RecordedSource], schema: pa.Schema) -> None:
        self.error: BaseException | None = None
        self.notes: list[list[NDArray[np.void]]] = [[np.zeros(0, EVENT)] for _source in sources]
        self._sources, self._schema = sources, schema

    def __arrow_c_schema__(self) -> object:
        """As PyCapsules of Arrow define it."""
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """As PyCapsules of Arrow define it."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches()).__arrow_c_stream__()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            place = 0
            for run, source in enumerate(self._sources):
                again = RecordedSource([recording.again() for recording in source.recordings])
                for batch in again.batches(lambda: 0.0):
                    self.notes[run].append(batch.rows[of_kind(batch.rows, *NOTE_KINDS)])
                    about = batch.select(~of_kind(batch.rows, *STREAM_KINDS, *CONTAINER_KINDS))
                    if len(about):
                        yield self._columns(about, run, place)
                        place += len(about)
        except BaseException as error:  # Arrow keeps its text alone
            self.error = error
            raise

    def _columns(self, batch: Batch, run: int, place: int) -> pa.RecordBatch:
        rows = batch.rows
        values = [
            pa.array(np.full(len(rows), run, np.int32)),
            pa.array(rows["tgid"].astype(np.int64)), pa.array(rows["start_ns"].view(np.int64)),
            pa.array(rows["ts_ns"].view(np.int64)), pa.array(np.arange(place, place + len(rows))),
        ]  # fmt: skip
        values += _life(batch) if self._schema is _LIFE else _state(batch)
        pairs = zip(values, self._schema, strict=True)
        return pa.RecordBatch.from_arrays([array.cast(field.type) for array, field in pairs], schema=self._schema)


def _life(batch: Batch) -> list[pa.Array]:
    rows = batch.rows
    is_exit, inferred = rows["kind"] == Kind.EXIT, rows["flags"] & Flag.INFERRED != 0
    is_snapshot = rows["kind"] == Kind.SNAPSHOT
    is_over = (is_exit & inferred) | is_snapshot & (rows["flags"] & Flag.ENDED != 0)
    listed = is_snapshot & (rows["flags"] & Flag.MOVED == 0)
    deep, *_texts = columns._parts(batch)
    lists = columns._chains(rows, deep, Known(rows))
    lived = ~is_over & (rows["flags"] & TOLD_LATER == 0)
    return [pa.array(is_exit & ~inferred), pa.array(is_over), pa.array(lived), pa.array(listed),
            *(lists[name] for name in ("pids", "pidns_chain", "pidns_gens"))]  # fmt: skip


def _state(batch: Batch) -> list[pa.Array]:
    rows, known = batch.rows, Known(batch.rows)
    comm = columns._null_unless(reporting(rows), columns._comm(rows))
    *_others, args = columns._parts(batch)
    return [export_rows.text(comm), pa.array(known("args_truncated")),
            export_rows.split(columns._null_unless(known("args"), args))]  # fmt: skip
