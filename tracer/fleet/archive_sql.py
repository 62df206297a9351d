"""What is asked of an archive, from the rows in its files: SQL for DuckDB and for Spark. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tracer.fleet.archive_tables import ANY, FIRST, LAST, LEAST, MOST, PROCESS_RULES

_HOW = {
    FIRST: "min_by({0}, first_seen) filter (where {0} is not null)",
    LAST: "max_by({0}, last_seen) filter (where {0} is not null)",
    LEAST: "min({0})",
    MOST: "max({0})",
    ANY: "bool_or({0})",
}
KEY = ("host", "boot", "proc_id")
"""What a process is known by in an archive."""
RUNS = """
select host, boot, run, min(first_time) as began, max(last_time) as ended
from batches where first_time is not null group by host, boot, run"""
"""From when to when each run of nstrace has recorded, from the rows of the table `batches`."""
LOSSES = """
select host, boot, run, event, since, time from events where event in ('gap', 'repair')
union all
select host, boot, run, 'gap' as event, coalesce(_until, _since) as since, _since as time from (
    select host, boot, run, message, lag(message) over (partition by host, boot, run order by message) as _previous,
           max(last_time) over (partition by host, boot, run order by message
                                rows between unbounded preceding and 1 preceding) as _until,
           min(first_time) over (partition by host, boot, run order by message
                                 rows between current row and unbounded following) as _since
    from batches
) where message > coalesce(_previous, 0) + 1 and _since is not null"""
"""Gaps and repairs, from the tables `events` and `batches`: a message that was not archived is a gap, too."""


def of_process(column: str) -> str:
    """How a column of a process is made of the rows that there are of it, grouped by KEY: as
    `tracer.fleet.archive_tables.combined`."""
    return column if column in KEY else _HOW[PROCESS_RULES[column]].format(column)


def processes(columns: Sequence[str], rows: str = "processes") -> str:
    """One row for each process, from the rows of the table `processes`, of which one process may have several. rows: in
    SQL, which of them."""
    made = ", ".join(f"{of_process(name)} as {name}" for name in columns)
    return f"select {made} from {rows} group by {', '.join(KEY)}"
