"""An archive asked by Spark: its processes, and rows of logs joined with the processes of their moments.

    from tracer.fleet import spark as fleet

    path = "s3a://archive/nstrace"
    logs = spark.read.parquet("s3a://logs/2026-11-29")  # host, pid, time
    joined = fleet.translate(
        logs, fleet.processes(spark, path), gaps=fleet.gaps(spark, path), runs=fleet.runs(spark, path)
    )

Times of an archive have nanoseconds, which Spark's timestamps have not: here they are numbers, ns since 1970 (UTC).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.errors import ExitCode, NstraceError
from tracer.fleet.archive_names import BATCHES, EVENTS, PROCESSES, split
from tracer.fleet.archive_sql import LOSSES, RUNS
from tracer.fleet.archive_sql import processes as processes_sql
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.log_join import ADDED, NEEDED, On, answers, steps

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NANOS = "spark.sql.legacy.parquet.nanosAsLong"
"""The setting by which Spark reads times with nanoseconds, as numbers; without, it refuses their file."""
_NS = 10**9


def processes(spark: SparkSession, path: str) -> DataFrame:
    """One row for each process in the archive at `path`: the columns of its table `processes`; times in ns since
    1970."""
    return _asked(spark, processes_sql(PROCESS_SCHEMA.names), {PROCESSES: _rows(spark, path, PROCESSES)})


def runs(spark: SparkSession, path: str) -> DataFrame:
    """From when to when each run of nstrace has recorded: host, boot, run, began, ended; times in ns since 1970."""
    return _asked(spark, RUNS, {BATCHES: _rows(spark, path, BATCHES)})


def gaps(spark: SparkSession, path: str) -> DataFrame:
    """Where events were lost, and where all processes were listed afterwards: host, boot, run, event (gap or repair),
    since, time; times in ns since 1970."""
    return _asked(spark, LOSSES, {name: _rows(spark, path, name) for name in (EVENTS, BATCHES)})


def events(spark: SparkSession, path: str) -> DataFrame:
    """All events, one row each: the columns of the table `events`; times in ns since 1970."""
    return _rows(spark, path, EVENTS)


def translate(
    logs: DataFrame,
    processes: DataFrame,
    *,
    gaps: DataFrame,
    runs: DataFrame,
    pid: str = "pid",
    time: str = "time",
    host: str = "host",
    container: str = "",
    lag_s: float = 0.1,
) -> DataFrame:
    """The rows of the log, each with the process that it is about: who had the number when the row was written.

    pid, time, host: the names of their columns; time is a timestamp, or a number, ns since 1970. container: the column
    with a container's name or ID; then `pid` is a number inside it, else it is one of the host. lag_s: how long after
    it was written a row gets its time, at the most.

    Columns are added, those of `tracer.fleet.log_join.ADDED`: process_id, process_pids, process_comm, ...; where there
    is no answer they are null, and process_unknown says why. comm and args are the last that the process had. Raises
    NstraceError for a column that is not there, or of a type that is no time.
    """
    from pyspark.sql import functions as fn
    from pyspark.sql.types import IntegralType, TimestampType

    if twice := sorted({*logs.columns} & {*ADDED}):
        raise NstraceError(f"the log has a column {twice[0]} already", "rename it", ExitCode.USAGE)
    for name in filter(None, (pid, time, host, container)):
        if name not in logs.columns:
            raise NstraceError(f"the log has no column {name}", f"it has: {', '.join(logs.columns)}", ExitCode.USAGE)
    kind = logs.schema[time].dataType
    if not isinstance(kind, (IntegralType, TimestampType)):
        hint = "make it a timestamp, or a number: ns since 1970"
        raise NstraceError(f"the column {time} is no time: {kind.simpleString()}", hint, ExitCode.USAGE)
    is_stamp = isinstance(kind, TimestampType)
    on = On(pid, _MOMENT, host, container, 1_000 if is_stamp else 1, round(lag_s * _NS))
    moment = fn.unix_micros(fn.col(f"`{time}`")) * 1_000 if is_stamp else fn.col(f"`{time}`").cast("long")
    columns = logs.columns
    spark, dialect = logs.sparkSession, SparkDialect()
    tables = {"processes": processes, "gaps": gaps, "runs": runs}
    given = {name: tables[name].select(*wanted) for name, wanted in NEEDED.items()}
    made = {name: _asked(spark, text, given).localCheckpoint(False) for name, text in steps(on, dialect).items()}
    made["logs"] = logs.withColumn(_MOMENT, moment)
    return _asked(spark, answers(on, dialect, [*columns, _MOMENT]), made).drop(_MOMENT)


_MOMENT = "_nstrace_time"


def _asked(spark: SparkSession, text: str, tables: Mapping[str, DataFrame]) -> DataFrame:
    """What a query gives that calls the tables by these names."""
    given = ", ".join(f"{name} as (select * from {{{name}}})" for name in tables)
    own = text.replace("{", "{{").replace("}", "}}")
    return spark.sql(f"with {given} select * from ({own})", None, **tables)


def _rows(spark: SparkSession, path: str, table: str) -> DataFrame:
    """The rows of a table, of those files that count: a larger one may have the rows of smaller ones that are still
    there. Raises NstraceError."""
    spark.conf.set(NANOS, "true")
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", "*.parquet")
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for row in files.load(f"{path.rstrip('/')}/{table}").select("path").toLocalIterator():
        folder, _slash, name = row["path"].rpartition("/")
        folders[folder].append(name)
    found = [f"{folder}/{name}" for folder, names in sorted(folders.items()) for name in split(names)[0]]
    if not found:
        raise NstraceError(f"{path} has no {table}", "the folder that nstrace fleet archive --to has written")
    return spark.read.parquet(*found)


@dataclass(frozen=True)
class SparkDialect:
    """The SQL of Spark, for `tracer.fleet.log_join`. Lives are joined by buckets of time that they touch: those that
    touch many are joined by larger ones, so that few rows are made of each."""

    bucket_ns: int = 60 * 10**9
    most: int = 60

    def quoted(self, name: str) -> str:
        """The name of a column."""
        return "`" + name.replace("`", "``") + "`"

    def places(self, values: str) -> str:
        """A row for each place of a list."""
        return f"explode(sequence(1, size({values})))"

    def element(self, values: str, place: str) -> str:
        """The value at a place of a list."""
        return f"element_at({values}, {place})"

    def rows_of(self, values: Sequence[str]) -> str:
        """A row for each of these values."""
        return f"explode(array_distinct(array({', '.join(values)})))"

    def last_known(self, value: str) -> str:
        """The last value of a window that is not null."""
        return f"last_value({value}) ignore nulls"

    def as_of(self, rows: str, lives: str, keys: Sequence[str], wanted: Sequence[str]) -> str:
        """Each of the rows, with what is wanted of its life."""
        large_ns = self.bucket_ns * self.most
        found = ", ".join(f"coalesce(short.{name}, long.{name}) as {name}" for name in wanted)
        return f"""
            select rows.*, {found} from {rows} as rows
            {self._joined("short", lives, f"<= {large_ns}", self.bucket_ns, keys, wanted)}
            {self._joined("long", lives, f"> {large_ns}", large_ns, keys, wanted)}"""

    def _joined(
        self, name: str, lives: str, length: str, width_ns: int, keys: Sequence[str], wanted: Sequence[str]
    ) -> str:
        columns = ", ".join([*keys, "_from", "_until", *wanted])
        same = " and ".join(f"rows.{key} = {name}.{key}" for key in keys)
        return f"""left join (
                select {columns}, explode(sequence(_from div {width_ns}, (_until - 1) div {width_ns})) as _bucket
                from {lives} where _until - _from {length}
            ) as {name}
            on {same} and rows._moment div {width_ns} = {name}._bucket
               and {name}._from <= rows._moment and rows._moment < {name}._until"""
