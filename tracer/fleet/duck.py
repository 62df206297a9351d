"""Rows of logs joined with the processes of their moments, by DuckDB: on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracer.ask.database import errors_of
from tracer.fleet.archive_sql import KEY, LOSSES, RUNS, processes
from tracer.fleet.archive_tables import PROCESSES as PROCESS_SCHEMA
from tracer.fleet.log_join import NEEDED, On, answers, steps

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class DuckDialect:
    """The SQL of DuckDB, for `tracer.fleet.log_join`. among: a condition that is true of all lives which rows can mean:
    an as-of join sorts all that it gets."""

    def __init__(self, among: str = "true") -> None:
        self._among = among

    def quoted(self, name: str) -> str:
        """The name of a column."""
        return '"' + name.replace('"', '""') + '"'

    def places(self, values: str) -> str:
        """A row for each place of a list."""
        return f"unnest(range(1, len({values}) + 1))"

    def element(self, values: str, place: str) -> str:
        """The value at a place of a list."""
        return f"{values}[{place}]"

    def rows_of(self, values: Sequence[str]) -> str:
        """A row for each of these values."""
        return f"unnest(list_distinct([{', '.join(values)}]))"

    def last_known(self, value: str) -> str:
        """The last value of a window that is not null."""
        return f"last_value({value} ignore nulls)"

    def as_of(self, rows: str, lives: str, keys: Sequence[str], wanted: Sequence[str]) -> str:
        """Each of the rows, with what is wanted of its life."""
        found = ", ".join(f"case when rows._moment < lives._until then lives.{name} end as {name}" for name in wanted)
        same = " and ".join(f"rows.{key} = lives.{key}" for key in keys)
        return f"""
            select rows.*, {found} from {rows} as rows
            asof left join (select * from {lives} where {self._among}) as lives
            on {same} and rows._moment >= lives._from"""


def open_tables(database: duckdb.DuckDBPyConnection, rows: Mapping[str, Any]) -> None:
    """Make the tables `processes`, `gaps` and `runs` from the rows of an archive. rows: of its tables `processes`,
    `events` and `batches`, as anything that DuckDB can read."""
    for name, table in rows.items():
        database.register(f"rows_of_{name}", table)
    given = ", ".join(f"{name} as (select * from rows_of_{name})" for name in rows)
    with errors_of(""):
        database.execute(f"create temp table several as {_SEVERAL}")
        for name, text in {"processes": _PROCESSES, "gaps": LOSSES, "runs": RUNS}.items():
            columns = ", ".join(map(_as_number, NEEDED[name]))
            database.execute(f"create temp table {name} as with {given} select {columns} from ({text})")
        database.execute("drop table several")


# Nearly all processes have one row, which is left as it is: what makes one of several costs far more. A row that has
# the hash of another process's by accident is made one of one.
_HASH = f"hash({', '.join(KEY)})"
_SEVERAL = f"select {_HASH} as _hash from rows_of_processes group by _hash having count(*) > 1"
_PROCESSES = f"""
select {", ".join(PROCESS_SCHEMA.names)} from processes anti join several on {_HASH} = _hash union all
from ({processes(PROCESS_SCHEMA.names, f"processes semi join several on {_HASH} = _hash")})"""
_QUOTE = "'"
_TIMES = frozenset({"began", "ended", "last_seen", "since", "time"})


def _as_number(column: str) -> str:
    return f"epoch_ns({column}) as {column}" if column in _TIMES else column


def translate(database: duckdb.DuckDBPyConnection, logs: Any, columns: Sequence[str], on: On) -> pa.Table:
    """The rows of the log, in any order, each with the process that it is about, as `tracer.fleet.spark.translate`
    gives them. The tables `processes`, `gaps` and `runs` are in the database. logs: anything that DuckDB can read, with
    these columns; on.time is ns since 1970."""
    make_steps(database, on)
    return answered(database, logs, columns, on)


def make_steps(database: duckdb.DuckDBPyConnection, on: On) -> None:
    """Make the tables that `answered` asks, in place of those for others."""
    with errors_of(""):
        for name, text in steps(on, DuckDialect()).items():
            database.execute(f"create or replace temp table {name} as {text}").fetchall()


def answered(database: duckdb.DuckDBPyConnection, logs: Any, columns: Sequence[str], on: On) -> pa.Table:
    """As `translate`, when `make_steps` was called for the same."""
    database.register("logs", logs)
    with errors_of(""):
        return database.sql(answers(on, DuckDialect(_among(database, on)), columns)).to_arrow_table()


def _among(database: duckdb.DuckDBPyConnection, on: On) -> str:
    """Which lives the rows of `logs` can mean: of their hosts and times, from the first to the last of each."""
    host, time = map(DuckDialect().quoted, (on.host, on.time))
    ends = database.execute(f"select min({time}), max({time}), min({host}), max({host}) from logs").fetchall()
    first, last, *hosts = ends[0]
    if first is None or None in hosts:
        return "false"
    begin, end = (f"'{name.replace(_QUOTE, 2 * _QUOTE)}'" for name in hosts)
    more = on.width_ns - 1
    return f"_from <= {last + more} and _until > {first + more} and _host between {begin} and {end}"
